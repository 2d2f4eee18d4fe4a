from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captionrl.features import image as module
from captionrl.features.image import MediaError, gif_delays
from captionrl.features.resize import Resize
from captionrl.features.video import sample_frames

COLOURS = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 9, 9)], np.uint8)
KEEP, BACKGROUND, PREVIOUS = 1, 2, 3  # what becomes of a frame when its time is over
TRANSPARENT = 3
SIZE = (8, 6)
Part = tuple[int, int, np.ndarray]  # where a frame's upper left corner is, and its colours


def write_gif(path: Path, frames: Sequence[tuple[int, int, Part]]) -> Path:
    """A GIF of (delay in hundredths, disposal, part); colour 3 is transparent. Its LZW codes are all of 3 bits."""
    data = b"GIF89a" + b"".join(side.to_bytes(2, "little") for side in SIZE) + b"\xf1\1\0" + COLOURS.tobytes()
    for delay, disposal, (x, y, pixels) in frames:
        data += b"\x21\xf9\x04" + bytes([disposal << 2 | 1]) + delay.to_bytes(2, "little") + bytes([TRANSPARENT, 0])
        data += b"," + b"".join(number.to_bytes(2, "little") for number in (x, y, *pixels.shape[::-1])) + b"\0\2"
        codes = [code for pixel in pixels.ravel() for code in (4, int(pixel))] + [5]  # 4 clears the table, 5 ends
        bits = sum(code << 3 * place for place, code in enumerate(codes)).to_bytes(-(-3 * len(codes) // 8), "little")
        data += b"".join(bytes([len(bits[at : at + 255])]) + bits[at : at + 255] for at in range(0, len(bits), 255))
        data += b"\0"
    path.write_bytes(data + b";")
    return path


def compose(frames: Sequence[tuple[int, int, Part]]) -> list[np.ndarray]:
    """What a browser shows: RGB on white."""
    canvas, shown = np.full(SIZE[::-1], -1), []
    for _, disposal, (x, y, pixels) in frames:
        before = canvas.copy()
        area = canvas[y : y + pixels.shape[0], x : x + pixels.shape[1]]
        area[pixels != TRANSPARENT] = pixels[pixels != TRANSPARENT]
        shown.append(np.where(canvas[..., None] < 0, 255, COLOURS[canvas]).astype(np.uint8))
        if disposal == BACKGROUND:
            area[:] = -1
        elif disposal == PREVIOUS:
            canvas = before
    return shown


def plain(colour: int) -> Part:
    return 0, 0, np.full(SIZE[::-1], colour)


def pillows_delays(path: Path) -> list[int]:
    """Hundredths of a second."""
    with Image.open(path) as image:
        delays = []
        for number in range(image.n_frames):
            image.seek(number)
            delays.append(image.info["duration"] // 10)
        return delays


@pytest.mark.parametrize("fps", [1.0, 3.0, 10.0, 12.5, 100.0])
def test_uneven_delays_are_the_clock(tmp_path, fps):
    """Sample k is the frame on show at k / fps: the one that the delays, as Pillow reads them, have reached by then."""
    delays = [7, 33, 2, 110, 0, 1, 34, 50, 3]
    path = write_gif(tmp_path / "a.gif", [(delay, KEEP, plain(k % 3)) for k, delay in enumerate(delays)])
    assert pillows_delays(path) == delays
    starts = np.cumsum([0, *(delay if delay > 1 else 10 for delay in delays)])
    sampled = list(sample_frames(path, fps))
    assert [time for time, _ in sampled] == [k / fps for k in range(int(np.ceil(starts[-1] * fps / 100)))]
    for time, image in sampled:
        shown = np.searchsorted(starts, 100 * time + 1e-9, side="right") - 1
        assert np.array_equal(image[0, 0], COLOURS[shown % 3]), time


def test_no_delay_and_the_shortest_are_a_tenth_of_a_second_as_in_browsers(tmp_path):
    path = write_gif(tmp_path / "a.gif", [(delay, KEEP, plain(0)) for delay in (0, 1, 2, 3, 65535)])
    assert gif_delays(path) == [10, 10, 2, 3, 65535]


@pytest.mark.parametrize("delay", [0, 5, 500])
def test_one_frame_is_a_still(tmp_path, delay):
    ((time, image),) = sample_frames(write_gif(tmp_path / "a.gif", [(delay, KEEP, plain(1))]), 3.0)
    assert time == 0
    assert np.array_equal(image, np.broadcast_to(COLOURS[1], (6, 8, 3)))


@pytest.mark.parametrize("seed", range(5))
def test_frames_are_composed_on_white(tmp_path, seed):
    """Parts of the picture with holes, each way to dispose of them; the first is one too."""
    generator = np.random.default_rng(seed)
    frames = []
    for disposal in generator.permutation([0, KEEP, BACKGROUND, PREVIOUS] * 3):
        x, y = generator.integers(0, 4, 2).tolist()
        frames.append((10, int(disposal), (x, y, generator.integers(0, 4, (3, 4)))))
    sampled = [image for _, image in sample_frames(write_gif(tmp_path / "a.gif", frames), 10.0)]
    assert np.array_equal(sampled, compose(frames))


def test_gifs_and_stills_are_scaled_alike(tmp_path):
    noise = Image.effect_noise((61, 47), 80)
    noise.save(tmp_path / "a.gif")
    noise.save(tmp_path / "a.png")
    for resize in (Resize(20), Resize(20, shorter=24)):
        ((_, gif),), ((_, png),) = (sample_frames(tmp_path / f"a.{kind}", 3.0, resize) for kind in ("gif", "png"))
        assert np.array_equal(gif, png)


def test_what_pillow_writes_is_read(tmp_path):
    """Local palettes, interlacing, comments, a loop count."""
    images = [Image.effect_noise((40, 30), 80).quantize(32) for _ in range(4)]
    images[0].save(
        tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=[100, 1000, 400, 500], loop=3, comment="x"
    )
    sampled = [image for _, image in sample_frames(tmp_path / "a.gif", 3.0)]
    expected = [np.asarray(images[k].convert("RGB")) for k in (0, 1, 1, 1, 2, 3)]
    assert np.array_equal(sampled, expected)


def test_every_cut_is_refused(tmp_path):
    path = write_gif(tmp_path / "a.gif", [(20, KEEP, plain(k)) for k in range(3)])
    data = path.read_bytes()
    for length in range(6, len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(MediaError, match=r"a.gif: truncated: its end marker is missing"):
            list(sample_frames(path))


def test_many_frames_of_many_pixels_in_a_small_file_are_refused(tmp_path):
    """Each of one pixel, on a canvas of 43 megapixels."""
    pixel = bytes.fromhex("21f90400 0a00 0000 2c 00000000 01000100 00 02 02 4401 00")
    for number in (1, 30):
        head = b"GIF89a" + 2 * (6600).to_bytes(2, "little") + bytes.fromhex("80 00 00 000000 ffffff")
        (tmp_path / f"{number}.gif").write_bytes(head + number * pixel + b";")
    assert gif_delays(tmp_path / "1.gif") == [10]
    with pytest.raises(
        MediaError, match=r"30.gif: 30 frames of 6600 x 6600 pixels: 3,920,400,000 bytes, in 710; cut it into"
    ):
        gif_delays(tmp_path / "30.gif")


def test_what_follows_the_end_does_no_harm(tmp_path):
    path = write_gif(tmp_path / "a.gif", [(50, KEEP, plain(k)) for k in range(3)])
    before = list(sample_frames(path))
    path.write_bytes(path.read_bytes() + b"\nnot of this picture" * 100)
    assert np.array_equal([image for _, image in sample_frames(path)], [image for _, image in before])


def test_damage_is_named(tmp_path, monkeypatch):
    path = write_gif(tmp_path / "a.gif", [(20, KEEP, plain(k)) for k in range(3)])
    data = path.read_bytes()
    second = data.index(b",", data.index(b",") + 1)
    for at, byte, cause in (
        (second - 8, 0x77, "corrupt after frame 1: a block of unknown kind"),
        (second + 10, 15, "corrupt after frame 1 of 3"),  # LZW codes of 15 bits
    ):
        path.write_bytes(data[:at] + bytes([byte]) + data[at + 1 :])
        with pytest.raises(MediaError, match=rf"a.gif: {cause}$"):
            list(sample_frames(path))
    path.write_bytes(data[:25] + b";")
    with pytest.raises(MediaError, match=r"a.gif: no frame in it"):
        list(sample_frames(path))
    path.write_bytes(data)
    monkeypatch.setattr(module, "MAX_PIXELS", 47)
    with pytest.raises(MediaError, match=r"a.gif: 8 x 6 pixels, not 1 to 47"):
        list(sample_frames(path))
