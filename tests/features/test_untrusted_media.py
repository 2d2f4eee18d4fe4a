"""What files from the internet claim of themselves: titles, codecs, lengths, geometry, names."""

import io
import os
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from captionrl.features import image as module
from captionrl.features import video
from captionrl.features.backbones import Backbone
from captionrl.features.frame_sampler import FrameSampler
from captionrl.features.image import MAX_FRAMES
from captionrl.features.resize import Resize
from captionrl.features.video import MediaError, read_clip, sample_frames

CASES = Path(__file__).parents[2].parent / "shared/cases"
QUARTERS = np.repeat(np.repeat(np.array([[40, 90], [150, 220]], np.uint8), 24, 0), 32, 1)  # [48, 64]


def film(path: Path, times: list[float], *, title: str = "", aspect: Fraction | None = None) -> Path:
    """QUARTERS in grey at these seconds, multiples of 0.1; a keyframe every five seconds."""
    with av.open(str(path), "w") as container:
        container.metadata["title"] = title
        options = {"bf": "0", "g": "50", "crf": "10", "threads": "1"}
        stream = container.add_stream("libx264", rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 10)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for time in times:
            frame = av.VideoFrame.from_ndarray(np.stack([QUARTERS] * 3, -1), format="rgb24")
            frame.pts, frame.time_base = round(10 * time), Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


SECOND = [k / 10 for k in range(10)]


def patched(path: Path, old: bytes, new: bytes) -> Path:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    return path


@pytest.mark.parametrize(("suffix", "between"), [(".mpg", 0), (".mpg", 2), (".m2v", 0)])
def test_films_joined_end_to_end_are_read_to_the_end(tmp_path, suffix, between):
    """Their clock begins anew in the middle, as where a camera's parts are joined by `cat`."""
    data = b""
    for grey, seconds in ((60, 1), (200, 2)):
        path = tmp_path / f"{grey}{suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg2video", rate=25, options={"bf": str(between), "threads": "1"})
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for _ in range(25 * seconds):
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), grey, np.uint8), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        data += path.read_bytes()
    (tmp_path / f"both{suffix}").write_bytes(data)
    greys = [int(frame.mean()) for _, frame in sample_frames(tmp_path / f"both{suffix}", 3)]
    assert [round(grey, -1) for grey in greys] == [60] * 3 + [200] * 6


def refusal(path: Path) -> str:
    with pytest.raises(MediaError) as error:
        list(sample_frames(path))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    return error.value.cause


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".mov"])
def test_a_title_in_another_encoding_hides_no_film(tmp_path, suffix):
    path = patched(film(tmp_path / f"cafe{suffix}", SECOND, title="CafX de Paris"), b"CafX", b"Caf\xe9")
    assert len(list(sample_frames(path))) == 3


@pytest.mark.parametrize("entry", [b"encv", b"zzzz"])
def test_a_codec_that_nobody_knows_is_named_as_such(tmp_path, entry):
    path = patched(film(tmp_path / "locked.mp4", SECOND), b"avc1", entry)
    assert "cannot be decoded (an unknown or protected codec" in refusal(path)


def test_an_unknown_fourcc_likewise(tmp_path):
    path = film(tmp_path / "odd.avi", SECOND)
    assert "cannot be decoded (an unknown or protected codec" in refusal(patched(path, b"H264", b"ZyGo"))


@pytest.mark.parametrize(
    "fault", [RuntimeError("odd"), AttributeError("'NoneType'"), UnicodeDecodeError("x", b"", 0, 1, "")]
)
def test_whatever_a_library_raises_is_that_files_fault(tmp_path, monkeypatch, fault):
    def decode(*_: object) -> None:
        raise fault

    path = film(tmp_path / "a.mp4", SECOND)
    monkeypatch.setattr(video, "_sample", decode)
    assert refusal(path).startswith(f"cannot be read ({type(fault).__name__}: ")


def test_memory_that_runs_out_is_no_files_fault(tmp_path, monkeypatch):
    """Else `allowed_failures` would leave a whole clip out."""

    def decode(*_: object) -> None:
        raise MemoryError

    path = film(tmp_path / "a.mp4", SECOND)
    monkeypatch.setattr(video, "_sample", decode)
    with pytest.raises(MemoryError):
        list(sample_frames(path))


def test_a_gap_of_a_day_is_refused_with_what_is_claimed(tmp_path):
    assert refusal(film(tmp_path / "gap.mkv", [*SECOND, 95443.0])) == (
        "it claims to last 95443 s, more than 10000 frames at 3 a second; cut it, or repair its time stamps"
    )


def test_a_gif_that_lasts_for_hours_too(tmp_path):
    images = [Image.new("L", (8, 8), level) for level in range(0, 240, 40)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=655_350)
    assert refusal(tmp_path / "a.gif").startswith("it claims to last 3932 s, more than 10000 frames")


def test_what_stands_for_long_costs_one_picture(tmp_path):
    images = [Image.new("L", (8, 8), level) for level in (0, 100, 200)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=[200_000, 300_000, 500])
    frames, shown = read_clip(tmp_path / "a.gif", 3.0, Resize(8))
    assert frames[:, 0, 0, 0].tolist() == [0, 100, 200]
    assert np.bincount(shown).tolist() == [600, 900, 2]
    assert len(shown) < MAX_FRAMES
    whole = torch.from_numpy(np.stack([image for _, image in sample_frames(tmp_path / "a.gif", 3.0, Resize(8))]))
    assert torch.equal(torch.from_numpy(frames[shown]), whole)


def test_a_clip_of_more_frames_than_fit_in_memory_is_refused(tmp_path, monkeypatch):
    """Unless it is large itself: an hour of video may take 1.5 GB."""
    monkeypatch.setattr(module, "MUCH_TOGETHER", 300_000)
    monkeypatch.setattr(module, "DENSEST_TOGETHER", 10)
    path = film(tmp_path / "a.mp4", SECOND)
    stored = path.stat().st_size
    assert len(read_clip(path, 10.0, Resize(100))[0]) == 10
    with pytest.raises(MediaError) as error:
        read_clip(path, 10.0, Resize(200))
    assert error.value.cause == f"3 frames of 200 x 200 pixels: 360,000 bytes, in {stored:,}; cut it into shorter ones"
    path.write_bytes(path.read_bytes() + (2**17).to_bytes(4, "big") + b"free" + bytes(2**17 - 8))
    assert len(read_clip(path, 10.0, Resize(200))[0]) == 10


def test_what_a_decoder_keeps_counts_in_its_own_format_of_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MUCH_DECODED", 2**24)
    for name, pixels in (("plain", "yuv420p"), ("deep", "yuv444p10le")):
        with av.open(str(tmp_path / f"{name}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"threads": "1"})
            stream.width, stream.height, stream.pix_fmt = 640, 480, pixels
            black = av.VideoFrame.from_ndarray(np.zeros((480, 640, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(black))
            container.mux(stream.encode())
    assert len(list(sample_frames(tmp_path / "plain.mp4"))) == 1
    stored = (tmp_path / "deep.mp4").stat().st_size
    assert refusal(tmp_path / "deep.mp4") == (
        f"640 x 480 pixels of yuv444p10le: to decode them may take 29,491,200 bytes, in {stored:,}; scale it down"
    )


def test_a_clip_whose_pictures_change_their_size_is_refused_where_that_matters(tmp_path):
    path = tmp_path / "both.h264"
    for size in ((64, 48), (32, 32)):
        with av.open(str(tmp_path / "one.h264"), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"threads": "1"})
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            for _ in range(20):
                black = np.zeros((*size[::-1], 3), np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(black, format="rgb24")))
            container.mux(stream.encode())
        with open(path, "ab") as file:
            file.write((tmp_path / "one.h264").read_bytes())
    assert read_clip(path, 3.0, Resize(16))[0].shape[1:] == (16, 16, 3)
    with pytest.raises(MediaError, match=r"both.h264: its pictures change their size, .+; convert it"):
        read_clip(path, 3.0, Resize(640, native=True))


@pytest.mark.parametrize("grid", [0, 2])
def test_samples_that_show_one_frame_have_its_features(grid):
    """And a sampler of frames takes of them what it takes of all."""
    frames = torch.randint(0, 256, (3, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    shown = torch.tensor([0, 0, 1, 2, 2, 2])
    cells = max(1, grid**2)
    backbone = object.__new__(Backbone)
    backbone.__dict__.update(name="x", dim=3, grid=grid, device=torch.device("cpu"))
    backbone.__dict__["_batch"] = lambda batch: batch[:, :cells, 0].reshape(-1, 3).to(torch.float16)
    assert torch.equal(backbone.forward(frames, shown), backbone.forward(frames[shown]))
    sampler = FrameSampler("x", 4, 3, Resize(8))
    assert torch.equal(sampler.forward(frames, shown), sampler.forward(frames[shown], torch.arange(6)))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_a_film_that_begins_between_keyframes_is_read_from_the_first_one(tmp_path, suffix):
    whole, late = film(tmp_path / "whole.mp4", [k / 10 for k in range(100)]), tmp_path / f"late{suffix}"
    with av.open(str(whole)) as source, av.open(str(late), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if number >= 20 and packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    assert len(list(sample_frames(late))) == 15  # 50 of 100 frames, 5 s


@pytest.mark.parametrize("name", ["2024-05-01T12:30:00.mp4", "concat:a|b.mp4", "12%3A30 #1.mp4"])
def test_a_name_is_no_url(tmp_path, name):
    assert len(list(sample_frames(film(tmp_path / "a.mp4", SECOND).rename(tmp_path / name)))) == 3
    Image.new("L", (8, 8)).save(tmp_path / "12:30.gif")
    assert len(list(sample_frames(tmp_path / "12:30.gif"))) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("live.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nseg.ts\n"),
        ("film.mp4", "ffconcat version 1.0\nfile seg.ts\n"),
        ("call.mp4", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"),
        ("seg%d.jpg", "x"),
    ],
)
def test_a_list_of_other_files_is_not_followed(tmp_path, name, text):
    film(tmp_path / "seg.ts", SECOND)
    Image.new("L", (8, 8)).save(tmp_path / "seg0.jpg")
    (tmp_path / name).write_text(text)
    assert refusal(tmp_path / name).startswith("no video of a kind that is read (such as a playlist")


KINDS = "3gp asf avi flv h264 hevc ivf m2v m4v mkv mov mp4 mpg mxf nut ogv rm ts vob webm wmv wtv y4m"


@pytest.mark.parametrize("suffix", KINDS.split())
def test_every_usual_kind_of_video_is_read(tmp_path, suffix):
    path = tmp_path / f"film.{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(container.default_video_codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 176, 144, "yuv420p"
        stream.codec_context.thread_count = 1
        for number in range(25):
            frame = av.VideoFrame.from_ndarray(np.full((144, 176, 3), 120, np.uint8), format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    images = [image for _, image in sample_frames(path)]
    assert len(images) in (3, 4)
    assert abs(images[-1].mean() - 120) < 3


def test_a_named_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    assert refusal(tmp_path / "pipe.mp4") == "a named pipe, which would be waited for; give a file"


def test_pixels_that_are_no_squares(tmp_path):
    path = film(tmp_path / "wide.mp4", SECOND, aspect=Fraction(2, 1))
    _, whole = next(sample_frames(path))
    assert whole.shape == (48, 128, 3)
    for resize in (Resize(24, shorter=24), Resize(24, shorter=24, interpolation="bicubic")):
        _, middle = next(sample_frames(path, resize=resize))
        np.testing.assert_allclose(middle[3, [3, 20], 0], QUARTERS[0, [0, -1]], atol=4)
        assert middle.shape == (24, 24, 3)


MATRICES = [
    *((a, 0, 0, d) for a, d in product((1, -1), repeat=2)),
    *((0, b, c, 0) for b, c in product((1, -1), repeat=2)),
]


@pytest.mark.parametrize("matrix", MATRICES, ids=str)
def test_the_whole_display_matrix_holds(tmp_path, matrix):
    """Of a film it maps the point (x, y), y downwards, to (a x + c y, b x + d y)."""
    a, b, c, d = matrix
    path = film(tmp_path / "turned.mp4", SECOND)
    plain = b"".join(value.to_bytes(4, "big", signed=True) for value in (1 << 16, 0, 0, 0, 1 << 16))
    data = path.read_bytes()
    at = data.index(plain, data.index(b"tkhd"))
    turned = b"".join((value << 16).to_bytes(4, "big", signed=True) for value in (a, b, 0, c, d))
    path.write_bytes(data[:at] + turned + data[at + len(plain) :])
    _, image = next(sample_frames(path))
    height, width = (48, 64) if a else (64, 48)
    assert image.shape == (height, width, 3)
    for y, x in product((-1, 1), repeat=2):
        right, down = a * x + c * y, b * x + d * y
        found = image[height // 2 + down * height // 4, width // 2 + right * width // 4, 0]
        assert abs(int(found) - int(QUARTERS[24 + 12 * y, 32 + 16 * x])) < 5


def test_an_avif_is_one_picture(tmp_path):
    Image.fromarray(QUARTERS).convert("RGB").save(tmp_path / "still.avif", quality=95)
    ((_, image),) = sample_frames(tmp_path / "still.avif")
    np.testing.assert_allclose(image[..., 0], QUARTERS, atol=12)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypisom\0\0\0\0mif1miaf", "HEIC"),
        (b"\0\0\0\x14ftypavci\0\0\0\0miaf", "HEIC"),
        (b"\0\0\0\x10ftyp1pic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x08free\0\0\0\x18ftypmif2\0\0\0\0mif1miaf", "HEIC"),
        (b"\0\0\0\x58ftypisom\0\0\0\0" + b"iso2" * 16 + b"heixmiaf", "HEIC"),
        (b"\xff\x0a", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    ],
)
def test_pictures_that_would_be_taken_for_films_are_refused(tmp_path, head, kind):
    (tmp_path / "still").write_bytes(head + bytes(100))
    assert refusal(tmp_path / "still") == f"a {kind} picture; convert it to JPEG"


def test_a_film_that_names_no_brand_of_pictures_is_read(tmp_path):
    data = film(tmp_path / "a.mp4", SECOND).read_bytes()
    size = int.from_bytes(data[:4], "big")
    assert data[4:8] == b"ftyp"
    for name, brands in {"heic.mp4": b"qt  \0\0\0\0qt  mp42", "none.mp4": b""}.items():
        begin = (8 + len(brands)).to_bytes(4, "big") + b"ftyp" + brands if brands else b""
        free = (size - len(begin)).to_bytes(4, "big") + b"free" + b"mif1" * size
        (tmp_path / name).write_bytes(begin + free[: size - len(begin)] + data[size:])
        assert len(list(sample_frames(tmp_path / name))) == 3


def test_an_mp3_with_a_cover_is_no_film(tmp_path):
    """What every shop's songs have: an ID3 tag with a JPEG before the sound."""
    with av.open(str(tmp_path / "plain.mp3"), "w") as container:
        stream = container.add_stream("libmp3lame", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((2, 44100), np.float32), format="fltp", layout="stereo")
        sound.sample_rate = 44100
        for frame in (sound, None):
            container.mux(stream.encode(frame))
    picture = io.BytesIO()
    Image.new("RGB", (16, 16)).save(picture, "JPEG")
    body = b"\0image/jpeg\0\x03\0" + picture.getvalue()  # Latin-1, its type, a front cover, no description
    frame = b"APIC" + len(body).to_bytes(4, "big") + b"\0\0" + body
    size = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    sound = (tmp_path / "plain.mp3").read_bytes()
    (tmp_path / "song.mp3").write_bytes(b"ID3\x03\0\0" + size + frame + sound[sound.index(b"\xff\xfb") :])
    assert refusal(tmp_path / "song.mp3") == "no video stream"


@pytest.mark.skipif(not CASES.is_dir(), reason="no ../shared/cases beside the project")
@pytest.mark.parametrize("name", ["song.m4a", "song.mp3"])
def test_a_song_with_a_cover_is_no_film(name):
    assert refusal(CASES / "audio-with-cover" / name) == "no video stream"
