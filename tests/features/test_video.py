from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from captionrl.features.resize import Resize
from captionrl.features.video import MediaError, sample_frames


def expect_right_frames(path, times, end, fps=3.0):
    """Every sample must be the last frame shown at or before its time, and their number duration x fps."""
    sampled = list(sample_frames(path, fps))
    relative = np.asarray(times) - times[0]
    for k, (time, image) in enumerate(sampled):
        assert time == pytest.approx(k / fps)
        shown = relative[relative <= time + 1e-3].max()
        brightness = image.astype(float).mean()
        assert (brightness - 10) * 0.05 == pytest.approx(shown, abs=0.11), f"sample {k} at {time:.3f} s"
    assert abs(len(sampled) - (end - times[0]) * fps) <= 1


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
@pytest.mark.parametrize("rate", [15, 24, Fraction(30000, 1001), 30, 2])
def test_the_frame_on_show_is_taken_at_any_frame_rate(clip, tmp_path, rate, suffix):
    times = [float(k / rate) for k in range(round(4 * rate))]
    expect_right_frames(clip(tmp_path / f"clip{suffix}", times, rate), times, end=4.0)


def test_exact_count_on_a_whole_number_of_seconds(clip, tmp_path):
    path = clip(tmp_path / "clip.mp4", [k / 30 for k in range(60)])
    assert [time for time, _ in sample_frames(path, 3.0)] == pytest.approx([0, 1 / 3, 2 / 3, 1, 4 / 3, 5 / 3])
    assert len(list(sample_frames(path, 30.0))) == 60


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_frame_rate(clip, tmp_path, suffix):
    """Frames of the first second are dense, then one is held for 2.5 s, then dense again: counting would go wrong."""
    times = [k / 30 for k in range(30)] + [3.5 + k / 10 for k in range(20)]
    expect_right_frames(clip(tmp_path / f"clip{suffix}", times), times, end=5.5)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_first_pts_other_than_zero(clip, tmp_path, suffix):
    times = [5.2 + k / 24 for k in range(72)]
    path = clip(tmp_path / f"clip{suffix}", times, rate=24)
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).time == pytest.approx(5.2, abs=2e-3)
    expect_right_frames(path, times, end=8.2)


def test_gif_delays_are_its_clock(tmp_path):
    images = [Image.new("RGB", (32, 24), (level,) * 3) for level in (0, 60, 120, 180)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=[100, 1000, 400, 500])
    brightness = [round(image.mean() / 60) for _, image in sample_frames(tmp_path / "a.gif")]
    assert brightness == [0, 1, 1, 1, 2, 3]  # at 0, .33, .67, 1, 1.33, 1.67 s; frames start at 0, .1, 1.1, 1.5 s


def test_shorter_than_a_period_gives_one_frame(clip, tmp_path):
    assert len(list(sample_frames(clip(tmp_path / "clip.mp4", [0.0, 0.1])))) == 1
    Image.new("RGB", (40, 30)).save(tmp_path / "still.jpg")
    ((time, image),) = sample_frames(tmp_path / "still.jpg")
    assert time == 0
    assert image.shape == (30, 40, 3)


def test_real_clip(real_clip):
    with av.open(str(real_clip)) as container:
        duration = sum(1 for _ in container.decode(video=0)) / container.streams.video[0].average_rate
    assert abs(len(list(sample_frames(real_clip))) - duration * 3) <= 1


@pytest.mark.parametrize("resize", [Resize(64), Resize(224, shorter=256)], ids=str)
def test_resize_is_pil_bilinear_up_to_colour_rounding(real_clip, resize):
    _, full = next(sample_frames(real_clip))
    _, small = next(sample_frames(real_clip, resize=resize))
    height, width = full.shape[:2]
    reference = Image.fromarray(full).resize(resize.scaled(width, height), Image.Resampling.BILINEAR)
    difference = small.astype(int) - resize.crop(np.asarray(reference))
    assert small.shape == (resize.size, resize.size, 3)
    assert abs(difference).mean() < 2
    assert abs(np.roll(small, 2, axis=1).astype(int) - resize.crop(np.asarray(reference))).mean() > 2  # it can fail


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.85])
def test_truncated(noise, tmp_path, suffix, share):
    """Cut anywhere, a file is an error, never a shorter clip. (`faststart` puts the index of an mp4 at its front.)"""
    options = {"movflags": "faststart"} if suffix == ".mp4" else {}
    path = noise(tmp_path / f"clip{suffix}", 4.0, **options)
    assert len(list(sample_frames(path))) == 12
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(MediaError, match=r"truncated: decoded \d\.\d s of \d\.\d s$"):
        list(sample_frames(path))


def test_hole_in_the_middle(noise, tmp_path):
    path = noise(tmp_path / "clip.mp4", 4.0)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + len(data) // 10] = bytes(len(data) // 10)
    path.write_bytes(data)
    with pytest.raises(MediaError, match=r"corrupt after \d\.\d s of 4\.0 s"):
        list(sample_frames(path))


def make_bad_files(folder: Path, noise) -> dict[str, Path]:
    (folder / "empty.mp4").touch()
    (folder / "page.mp4").write_text("<html>404 Not Found</html>\n" * 50)
    whole = noise(folder / "whole.mp4", 1.0).read_bytes()
    (folder / "no_index.mp4").write_bytes(whole[: len(whole) // 2])
    Image.effect_noise((200, 200), 80).save(folder / "whole.jpg")
    still = (folder / "whole.jpg").read_bytes()
    (folder / "half.jpg").write_bytes(still[: len(still) // 2])
    noise_images = [Image.effect_noise((64, 48), 80) for _ in range(6)]
    noise_images[0].save(folder / "whole.gif", save_all=True, append_images=noise_images[1:], duration=500)
    gif = (folder / "whole.gif").read_bytes()
    (folder / "half.gif").write_bytes(gif[: len(gif) // 2])
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    return {path.name: path for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("empty.mp4", "empty"),
        ("page.mp4", "no video that can be read"),
        ("no_index.mp4", "no video that can be read"),
        ("half.jpg", "truncated"),
        ("half.gif", "truncated"),
        ("sound.mp4", "no video stream"),
        ("missing.mp4", "No such file"),
        (".", "Is a directory"),
    ],
)
def test_what_is_no_video_says_why_in_one_line(noise, tmp_path, name, cause):
    make_bad_files(tmp_path, noise)
    with pytest.raises(MediaError) as raised:
        list(sample_frames(tmp_path / name))
    assert cause in raised.value.cause
    assert "\n" not in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_the_whole_files_beside_the_bad_ones_are_read(noise, tmp_path):
    make_bad_files(tmp_path, noise)
    assert [len(list(sample_frames(tmp_path / f"whole{suffix}"))) for suffix in (".mp4", ".jpg", ".gif")] == [3, 1, 9]
