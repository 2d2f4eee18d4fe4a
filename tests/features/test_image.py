import io
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION

from captionrl.features import image as module
from captionrl.features.image import MediaError, check_size, read_still
from captionrl.features.resize import Resize
from captionrl.features.video import sample_frames

DATA = Path(__file__).parents[2].parent / "shared/data"
RED, GREEN, BLACK = (200, 40, 30), (20, 180, 90), (0, 0, 0)


def scene() -> np.ndarray:
    """48 x 64: the left half red, of the right half the upper part black and the lower green."""
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:, :32], pixels[24:, 32:] = RED, GREEN
    return pixels


def read(path: Path, resize: Resize | None = None) -> np.ndarray:
    ((time, image),) = sample_frames(path, 3.0, resize)
    assert time == 0
    assert image.dtype == np.uint8
    return image


def assert_close(image: np.ndarray, expected: np.ndarray, within: int) -> None:
    assert image.shape == expected.shape
    inside = np.abs(image.astype(int) - expected).max(2)[4:-4, 4:-4]  # JPEG rings where colours meet
    assert np.median(inside) <= within
    assert (inside <= within).mean() > 0.6


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp"])
def test_lossless_stills_are_read_exactly(tmp_path, suffix):
    Image.fromarray(scene()).save(tmp_path / f"a{suffix}", lossless=True)
    assert np.array_equal(read(tmp_path / f"a{suffix}"), scene())


def test_the_first_bytes_count_not_the_name(tmp_path):
    Image.fromarray(scene()).save(tmp_path / "a.mp4", format="PNG")
    assert np.array_equal(read(tmp_path / "a.mp4"), scene())


@pytest.mark.parametrize("resize", [Resize(20), Resize(20, shorter=24), Resize(80, shorter=90)], ids=str)
def test_resizing_is_pillows_bilinear_and_a_centre_crop(tmp_path, resize):
    Image.effect_noise((61, 47), 80).convert("RGB").save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        whole = np.asarray(image.resize(resize.scaled(61, 47), Image.Resampling.BILINEAR))
    top, left = (round((side - resize.size) / 2) for side in whole.shape[:2])
    expected = whole[top : top + resize.size, left : left + resize.size]
    assert np.array_equal(read(tmp_path / "a.png", resize), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_photographs_stand_upright(tmp_path, orientation, suffix):
    """All eight ways to hold a camera show the same scene; other tags may be nonsense."""
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the stored picture, by PIL's Transpose: the inverse turn
    upright = Image.fromarray(scene())
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x8827] = (1, 2, 3)
    stored.save(tmp_path / f"a{suffix}", exif=exif, quality=95, subsampling=0)
    image = read(tmp_path / f"a{suffix}")
    assert_close(image, scene(), 3)
    assert read(tmp_path / f"a{suffix}", Resize(24, shorter=24)).shape == (24, 24, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_broken_orientation_is_none(tmp_path, suffix):
    image = Image.fromarray(scene())
    image.save(tmp_path / f"a{suffix}", exif=b"Exif\0\0garbage!", quality=95, subsampling=0, lossless=True)
    assert_close(read(tmp_path / f"a{suffix}"), scene(), 3)


def test_a_grey_picture_of_16_bits_whose_white_is_zero(tmp_path):
    levels = (np.arange(48 * 64).reshape(48, 64) * 21).astype(np.uint16)
    Image.fromarray(levels).save(tmp_path / "a.tif", tiffinfo={PHOTOMETRIC_INTERPRETATION: 0})
    assert (read(tmp_path / "a.tif")[..., 0] == 255 - (levels >> 8)).all()


def test_cmyk(tmp_path):
    Image.fromarray(scene()).convert("CMYK").save(tmp_path / "a.jpg", quality=95, subsampling=0)
    assert Image.open(tmp_path / "a.jpg").mode == "CMYK"
    assert_close(read(tmp_path / "a.jpg"), scene(), 3)


def test_of_16_bits_the_upper_8_are_kept(tmp_path):
    levels = (np.arange(48 * 64).reshape(48, 64) * 21).astype(np.uint16)
    for suffix in (".png", ".tif"):
        Image.fromarray(levels).save(tmp_path / f"a{suffix}")
        assert np.array_equal(read(tmp_path / f"a{suffix}"), np.repeat((levels >> 8)[:, :, None], 3, axis=2))


def test_32_bits_are_refused(tmp_path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(MediaError, match=r"a.tif: no picture .*32 bits a colour"):
        read(tmp_path / "a.tif")


def test_a_jpeg_of_12_bits_is_refused(tmp_path):
    Image.fromarray(scene()).save(tmp_path / "a.jpg")
    data = bytearray((tmp_path / "a.jpg").read_bytes())
    frame = data.index(b"\xff\xc0")
    data[frame + 1], data[frame + 4] = 0xC1, 12  # an extended sequential frame of 12 bits
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(MediaError, match=r"a.jpg: no picture that can be read .*more than 8 bits"):
        read(tmp_path / "a.jpg")


def test_what_is_transparent_is_shown_on_white(tmp_path):
    alpha = np.full((48, 64, 1), 255, np.uint8)
    alpha[24:, 32:], alpha[:24, 32:] = 0, 127
    for suffix in (".png", ".webp"):
        Image.fromarray(np.dstack([scene(), alpha])).save(tmp_path / f"a{suffix}", lossless=True, exact=True)
        image = read(tmp_path / f"a{suffix}")
        assert (tuple(image[10, 10]), tuple(image[40, 50]), tuple(image[10, 50])) == (RED, (255,) * 3, (128,) * 3)


def test_a_transparent_colour_of_a_palette_is_shown_on_white(tmp_path):
    picture = Image.fromarray(scene()).quantize(4)
    picture.save(tmp_path / "a.png", transparency=picture.getpixel((50, 40)))
    image = read(tmp_path / "a.png")
    assert (tuple(image[10, 10]), tuple(image[40, 50]), tuple(image[10, 50])) == (RED, (255,) * 3, BLACK)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    suffix = ".tif" if mode in ("CMYK", "YCbCr") else ".png"
    Image.fromarray(scene()).convert(mode).save(tmp_path / f"a{suffix}")
    assert read(tmp_path / f"a{suffix}").shape == (48, 64, 3)


def encoded(**options: object) -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (99, 99, 3), np.uint8)).save(data, **options)
    return data.getvalue()


@pytest.mark.parametrize(
    "options",
    [{"format": "JPEG"}, {"format": "JPEG", "progressive": True}, {"format": "PNG"}, {"format": "WEBP"}],
    ids=str,
)
@pytest.mark.parametrize("lost", [0.9, 0.5, 0.01, 2, 1])
def test_a_picture_that_was_cut_is_refused(tmp_path, options, lost):
    """A share of it, or a few bytes: none becomes a picture that is grey below."""
    data = encoded(**options)
    (tmp_path / "a").write_bytes(data)
    assert read(tmp_path / "a").shape == (99, 99, 3)
    (tmp_path / "a").write_bytes(data[: -(lost if lost >= 1 else int(lost * len(data)))])
    with pytest.raises(MediaError, match=rf"{tmp_path}/a: (truncated|no picture that can be read)"):
        read(tmp_path / "a")


def test_a_download_that_ends_in_zeros_is_refused(tmp_path):
    """Pillow decodes zeros; the JPEG's end marker is looked for where it must be, not in its thumbnail."""
    exif = b"Exif\0\0" + encoded(format="JPEG")  # a thumbnail with an end of its own
    data = encoded(format="JPEG")
    data = data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]
    half = len(exif) + (len(data) - len(exif)) // 2
    (tmp_path / "a.jpg").write_bytes(data[:half] + bytes(len(data) - half))
    with pytest.raises(MediaError, match="truncated"):
        read(tmp_path / "a.jpg")


def test_a_jpeg_of_more_scans_than_encoders_write_is_refused(tmp_path):
    """Each is a pass over the whole picture. Those here repeat the last one."""
    Image.effect_noise((64, 48), 80).convert("RGB").save(tmp_path / "a.jpg", progressive=True)
    data = (tmp_path / "a.jpg").read_bytes()
    before, last = data.count(b"\xff\xda"), data[data.rindex(b"\xff\xda") : -2]
    assert before == 10  # what libjpeg writes
    for number, path in ((100, tmp_path / "many.jpg"), (101, tmp_path / "more.jpg")):
        path.write_bytes(data[:-2] + (number - before) * last + data[-2:])
    assert read(tmp_path / "many.jpg").shape == (48, 64, 3)
    with pytest.raises(MediaError, match=r"more\.jpg: more than 100 scans, each of the whole picture; save it anew$"):
        read(tmp_path / "more.jpg")


def test_what_telephones_append_to_a_jpeg_does_no_harm(tmp_path):
    data = encoded(format="JPEG")
    (tmp_path / "a.jpg").write_bytes(data)
    (tmp_path / "moving.jpg").write_bytes(data + b"\0\0\0\x18ftypmp42" + bytes(5000))
    assert np.array_equal(read(tmp_path / "moving.jpg"), read(tmp_path / "a.jpg"))
    pictures = [Image.open(io.BytesIO(data)), Image.new("RGB", (9, 9))]
    pictures[0].save(tmp_path / "both.jpg", format="MPO", save_all=True, append_images=pictures[1:])
    assert read(tmp_path / "both.jpg").shape == (99, 99, 3)


def test_filling_bytes_take_linear_time(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (8, 8)).save(path)
    data = path.read_bytes()
    start = time.monotonic()
    path.write_bytes(data[:-2] + b"\xff" * 2_000_000)
    with pytest.raises(MediaError, match="truncated"):
        read_still(path, None)
    path.write_bytes(data[:-2] + b"\xff" * 2_000_000 + data[-2:])
    assert read_still(path, None).shape == (8, 8, 3)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_several_pictures_in_a_file_are_refused(tmp_path, suffix):
    pictures = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    pictures[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=pictures[1:])
    with pytest.raises(MediaError, match=rf"a{suffix}: holds 3 pictures; make it a GIF or a video"):
        read(tmp_path / f"a{suffix}")


def test_bombs(tmp_path, monkeypatch):
    """A small file that claims to be huge: refused for its size alone."""
    data = bytearray(encoded(format="BMP"))
    data[18:26] = (60000).to_bytes(4, "little") * 2
    (tmp_path / "a.bmp").write_bytes(data)
    with pytest.raises(MediaError, match=r"a.bmp: more than \d+ pixels"):
        read(tmp_path / "a.bmp")
    Image.new("RGB", (100, 100)).save(tmp_path / "a.png")
    monkeypatch.setattr(module, "MAX_PIXELS", 9999)
    with pytest.raises(MediaError, match=r"a.png: 100 x 100 pixels, not 1 to 9999; scale it down"):
        read(tmp_path / "a.png")


def test_a_line_does_not_grow_beyond_all_bounds(tmp_path):
    Image.new("L", (1_000_000, 1)).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png", Resize(64)).shape == (64, 64, 3)
    with pytest.raises(MediaError, match=r"a.png: 256000000 x 256 pixels, not 1 to \d+"):
        read(tmp_path / "a.png", Resize(224, shorter=256))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0junkjunk", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"])
def test_broken_exif_breaks_no_picture(tmp_path, exif):
    data = encoded(format="JPEG")
    (tmp_path / "a.jpg").write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    assert read(tmp_path / "a.jpg").shape == (99, 99, 3)


def test_damage_is_a_media_error_and_nothing_else(tmp_path):
    generator = np.random.default_rng(0)
    kinds = [{"format": "JPEG"}, {"format": "PNG"}, {"format": "WEBP"}, {"format": "BMP"}, {"format": "GIF"}]
    causes = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for whole in (encoded(**kind) for kind in kinds):
            for _ in range(60):
                data = bytearray(whole)
                for place in generator.integers(0, 300, 4):
                    data[place] = generator.integers(256)
                (tmp_path / "a").write_bytes(data)
                try:
                    list(sample_frames(tmp_path / "a", 3.0, Resize(8, shorter=9)))
                except MediaError as error:
                    causes.append(error.cause)
    assert len(causes) > 60
    assert not any("\n" in cause for cause in causes)


def photographs() -> list[Path]:
    return sorted([*(DATA / "coco/images").glob("*.jpg"), *(DATA / "flickr8k/images").glob("*.jpg")])


def test_real_photographs_are_read():
    """Their sizes are those of the upright picture; every tenth's pixels are Pillow's."""
    files = photographs()[::4]
    if not files:
        pytest.skip("the real photographs (../shared/data/coco/images, flickr8k/images) are not on this machine")
    for number, path in enumerate(files):
        with Image.open(path) as image:
            turned = image.getexif().get(0x0112, 1) > 4
            assert read(path, Resize(64)).shape == (64, 64, 3)
            if number % 10 == 0:
                upright = ImageOps.exif_transpose(image).convert("RGB")
                assert upright.size == (image.size[::-1] if turned else image.size)
                assert np.array_equal(read(path), np.asarray(upright))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_shown_on_white_beyond_one_strip(tmp_path, mode):
    generator = np.random.default_rng(0)
    picture = Image.fromarray(generator.integers(0, 256, (600, 5, 4), dtype=np.uint8))
    options = {"transparency": 3} if mode == "P" else {}
    (picture.convert("RGB").quantize(8) if mode == "P" else picture.convert(mode)).save(tmp_path / "a.png", **options)
    with Image.open(tmp_path / "a.png") as image:
        whole = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA")).convert("RGB")
    np.testing.assert_array_equal(read_still(tmp_path / "a.png", None), np.asarray(whole))


def test_many_pixels_in_a_small_file_are_refused(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(bytes(1000))
    check_size(path, 6000, 6000)
    with pytest.raises(MediaError, match=r"7000 x 7000 pixels: claims to be 147,000,000 bytes, in 1,000; scale it"):
        check_size(path, 7000, 7000)
