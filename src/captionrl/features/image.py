"""Pictures as media: stills by Pillow, GIFs by FFmpeg at the times that their own delays say.

FFmpeg turns no mirrored photograph upright and forgets alpha, so stills are Pillow's. Pillow paints what a GIF clears
in the colour that stands for "transparent", so frames of GIFs are FFmpeg's; but not their times, which change with its
release. Both are scaled as RGB, exactly as `PIL.Image.resize` does it.
"""

import io
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.format import VideoFormat
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION, TiffImageFile

from captionrl.errors import UserError
from captionrl.features.resize import Resize
from captionrl.files import DENSEST, check_claim

MAX_PIXELS = 2**27  # a 100-megapixel photograph, 400 MB as RGB; what claims to be larger is taken for a bomb
MAX_FRAMES = 10_000  # sampled of a file: an hour at 3 a second; what claims more has a corrupt time stamp, or is a film
MUCH_TOGETHER = 2**29  # bytes of the frames of a file, which resemble each other: fewer may be as dense as they like
DENSEST_TOGETHER = 1000  # bytes of them in one that is stored
MUCH_DECODED = 2**30  # bytes that a decoder may take for a small file
REFERENCES = 16  # pictures that H.264 and HEVC may refer to, in memory at once
MAX_SCANS = 100  # of a JPEG; encoders write a dozen
STRIP = 256  # rows
HEAD = 2**12  # bytes that tell what a file is
STILLS = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP|BM|II\*\0|MM\0\*", re.DOTALL)  # their first bytes
PICTURES = {  # brands of HEIF (ISO/IEC 23008-12) that films do not list
    *(b"mif1", b"mif2", b"msf1", b"miaf", b"1pic", b"heic", b"heim", b"heis", b"heix", b"hevc", b"hevm", b"hevs"),
    *(b"hevx", b"avci", b"avcs", b"avif", b"avis", b"jpeg", b"jpgs", b"j2ki", b"j2is", b"vvic", b"vvis"),
}
# FFmpeg's names of what it may open: no playlist, stream description or pattern of names, which lead to other files.
CONTAINERS = (
    "asf,av1,avi,dhav,dirac,dv,flv,gif,gxf,h261,h263,h264,hevc,ivf,kux,live_flv,m4v,matroska,mjpeg,mov,mpeg,mpegts,"
    "mpegvideo,mxf,nsv,nut,nuv,obu,ogg,rm,vc1,vc1test,vvc,wtv,yuv4mpegpipe,"
    "aac,ac3,aiff,amr,ape,caf,flac,mp3,wav"  # sound, to be named as such
)
JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
WHITE_IS_ZERO = 0  # of TIFF's photometric interpretations
BROKEN = (OSError, SyntaxError, ValueError, TypeError, ArithmeticError, LookupError, struct.error)  # of Pillow
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "AVIF")
JPEG_MARKER = re.compile(rb"\xff([^\0\xff\xd0-\xd7])", re.DOTALL)  # neither stuffing, filling nor a restart
UPRIGHT = {  # EXIF orientation -> how to turn the picture
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
CUT = "truncated: its end marker is missing"
PNG_END = b"IEND\xaeB`\x82"


class MediaError(UserError):
    """A media file that cannot be read to its end. `cause` is one line, without the file's name."""

    def __init__(self, path: Path | str, cause: str):
        super().__init__(f"{path}: {cause}")
        self.cause = cause


def is_still(path: Path, head: bytes) -> bool:
    """Whether a file that begins with these HEAD bytes is a picture for `read_still`.

    Raises MediaError for a picture of another kind: FFmpeg would take one tile of a HEIC for a film.
    """
    if head.startswith(JPEG_XL):
        raise MediaError(path, "a JPEG XL picture; convert it to JPEG")
    brands = _brands(head)
    if brands & PICTURES:
        if b"avif" not in brands:
            raise MediaError(path, "a HEIC picture; convert it to JPEG")
        return True
    return STILLS.match(head) is not None


def _brands(head: bytes) -> set[bytes]:
    """What an ISO file (MP4, HEIF) says that it is: major brand, compatible ones and a version."""
    at, kind = 0, b"free"
    while kind in (b"free", b"skip", b"wide"):
        size, kind, start = int.from_bytes(head[at : at + 4], "big"), head[at + 4 : at + 8], at + 8
        if size == 1:  # the size proper follows
            size, start = int.from_bytes(head[start : start + 8], "big"), start + 8
        if kind == b"ftyp":
            return {head[place : place + 4] for place in range(start, min(at + size, len(head)), 4)}
        at = max(at + size, start)
    return set()


def open_container(path: Path) -> InputContainer:
    """A file for FFmpeg to decode.

    Raises MediaError for what is none of CONTAINERS, and where a header, which is small, asks for too much memory.
    """
    options = {"format_whitelist": CONTAINERS}
    try:  # "12:30.gif" alone would be a protocol called 12
        return av.open(f"file:{path}", options=options, metadata_errors="ignore")
    except av.ArgumentError:
        what = "no video of a kind that is read (such as a playlist, a picture of another format, or a corrupt header)"
        raise MediaError(path, f"{what}; convert it to MP4, or a picture to JPEG") from None
    except av.MemoryError:
        raise MediaError(path, "corrupt: its header claims more than fits in memory") from None


def check_length(path: Path, seconds: float, fps: float) -> None:
    """Raises MediaError for more than MAX_FRAMES."""
    if seconds * fps > MAX_FRAMES:
        what = f"{seconds:.0f} s, more than {MAX_FRAMES} frames at {fps:g} a second"
        raise MediaError(path, f"it claims to last {what}; cut it, or repair its time stamps")


def read_still(path: Path, resize: Resize | None) -> np.ndarray:
    """A JPEG, PNG, WebP, BMP, TIFF or AVIF as uint8 RGB [H, W, 3], turned upright as its EXIF orientation says.

    What is transparent is shown on white; of 16 bits the upper 8 are kept; CMYK becomes RGB by the plain formula, and
    colour profiles are not looked at. Raises MediaError for what is cut off, corrupt, animated, larger than
    MAX_PIXELS, or of 12 or 32 bits a colour.
    """
    data = path.read_bytes()
    if data.startswith(b"\xff\xd8"):
        _check_jpeg(path, data)
    elif data.startswith(b"\x89") and PNG_END not in data:
        raise MediaError(path, CUT)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            check_size(path, *image.size)
            pictures = getattr(image, "n_frames", 1)
            if pictures > 1 and image.format != "MPO":  # a telephone's JPEG and its preview
                raise MediaError(path, f"holds {pictures} pictures; make it a GIF or a video")
            image.load()
            turn = UPRIGHT.get(_orientation(image))
            picture = _eight_bits(image)
            return scale(path, picture if turn is None else picture.transpose(turn), resize)
    except Image.DecompressionBombError:
        raise MediaError(path, f"more than {MAX_PIXELS} pixels; scale it down") from None
    except UnidentifiedImageError:
        raise MediaError(path, "no picture that can be read (corrupt, or of more than 8 bits a colour)") from None
    except BROKEN as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise MediaError(path, f"no picture that can be read ({reason})") from None


def _orientation(image: Image.Image) -> int:
    """By EXIF; 1, upright, where that is broken."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except BROKEN:
        return 1


def _check_jpeg(path: Path, data: bytes) -> None:
    """Raises MediaError for more than MAX_SCANS, and where no end marker comes: Pillow takes zeros for pixels.

    Telephones append a film or a preview to it.
    """
    at, scans = 2, 0
    while found := JPEG_MARKER.search(data, at):
        if found[1] == b"\xd9":
            return
        scans += found[1] == b"\xda"
        if scans > MAX_SCANS:
            raise MediaError(path, f"more than {MAX_SCANS} scans, each of the whole picture; save it anew")
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    raise MediaError(path, CUT)


def check_size(path: Path, width: int, height: int) -> None:
    """Raises MediaError for no pixel, for more than MAX_PIXELS, and for many in a small file."""
    if not 0 < width * height <= MAX_PIXELS:
        raise MediaError(path, f"{width} x {height} pixels, not 1 to {MAX_PIXELS}; scale it down")
    try:
        check_claim(3 * width * height, path.stat().st_size)
    except ValueError as error:
        raise MediaError(path, f"{width} x {height} pixels: {error}; scale it down") from None


def check_decoder(path: Path, width: int, height: int, pixels: VideoFormat) -> None:
    """Raises MediaError where pictures that are kept for reference take too much memory for a small file."""
    size = width * height * pixels.padded_bits_per_pixel // 8 * REFERENCES
    stored = path.stat().st_size
    if size > MUCH_DECODED and size > DENSEST * stored:
        what = f"{width} x {height} pixels of {pixels.name}: to decode them may take {size:,} bytes, in {stored:,}"
        raise MediaError(path, f"{what}; scale it down")


def check_together(path: Path, frames: int, width: int, height: int, *, kept: bool = True) -> None:
    """Raises MediaError for frames that together are too many bytes in a small file; where none is kept, twice that."""
    size = 3 * frames * width * height
    if size > MUCH_TOGETHER * (1 if kept else 2) and size > DENSEST_TOGETHER * path.stat().st_size:
        what = f"{frames} frames of {width} x {height} pixels: {size:,} bytes, in {path.stat().st_size:,}"
        raise MediaError(path, f"{what}; cut it into shorter ones")


def _eight_bits(image: Image.Image) -> Image.Image:
    """RGB of any mode that Pillow reads."""
    if image.mode.startswith("I;16"):  # Pillow would cut at 255 what lies above it
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        if isinstance(image, TiffImageFile) and image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO:
            grey = 255 - grey
        return Image.fromarray(grey).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError("32 bits a colour: convert it to 8")
    if image.has_transparency_data:
        return _on_white(image)
    return image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    """A picture with transparency as RGB, a strip at a time: the whole would be in memory four times."""
    width, height = image.size
    shown = Image.new("RGB", image.size)
    for top in range(0, height, STRIP):
        strip = image.crop((0, top, width, min(height, top + STRIP))).convert("RGBA")
        shown.paste(Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip).convert("RGB"), (0, top))
    return shown


def scale(path: Path, image: Image.Image, resize: Resize | None) -> np.ndarray:
    """The pixels of an RGB picture, as `resize` wants them; `path` is for the message of a MediaError."""
    if resize is None:
        return np.asarray(image)
    size = resize.scaled(*image.size)
    check_size(path, *size)  # a line of one pixel's height becomes very long
    return resize.crop(np.asarray(image.resize(size, Image.Resampling[resize.interpolation.upper()])))


def sample_gif(path: Path, fps: float, resize: Resize | None) -> Iterator[tuple[float, np.ndarray]]:
    """Yield (time, uint8 RGB [H, W, 3]) at 0, 1/fps, 2/fps, ... seconds of one turn of a GIF.

    Frames are composed as browsers do it, on white; one frame alone is a still, however long it may stand.
    """
    delays = gif_delays(path)
    check_length(path, sum(delays) / 100 if len(delays) > 1 else 0, fps)
    with open_container(path) as container:
        container.streams.video[0].thread_type = "NONE"  # as for videos: files are decoded side by side
        frames = container.decode(video=0)
        end = sampled = 0
        for number, delay in enumerate(delays):
            try:
                frame = next(frames)
            except (av.FFmpegError, StopIteration):
                raise MediaError(path, f"corrupt after frame {number} of {len(delays)}") from None
            end += delay if len(delays) > 1 else 0
            image = None
            while sampled == 0 or 100 * sampled < end * fps:
                if image is None:
                    image = scale(path, Image.fromarray(frame.to_ndarray(format="rgb24")), resize)
                yield sampled / fps, image
                sampled += 1


def gif_delays(path: Path) -> list[int]:
    """For how many hundredths of a second each frame of a GIF is on show; 10 where it says 0 or 1, as in all browsers.

    Raises MediaError where the file is no chain of blocks up to its end marker, or claims more than MAX_PIXELS
    or too many of them together.
    """
    data = path.read_bytes()
    delays: list[int] = []
    delay = 0
    try:
        at = 13 + _palette(data[10])
        size = struct.unpack("<HH", data[6:10])
        check_size(path, *size)
        while data[at] != 0x3B:
            if data[at] == 0x21:  # an extension; 0xF9 is the one that holds the next frame's delay
                if data[at + 1] == 0xF9:
                    delay = int.from_bytes(data[at + 4 : at + 6], "little")
                at += 2
            elif data[at] == 0x2C:
                delays.append(delay if delay > 1 else 10)
                delay = 0
                at += 11 + _palette(data[at + 9])
            else:
                raise MediaError(path, f"corrupt after frame {len(delays)}: a block of unknown kind")
            while data[at]:
                at += 1 + data[at]
            at += 1
    except IndexError:
        raise MediaError(path, CUT) from None
    if not delays:
        raise MediaError(path, "no frame in it")
    check_together(path, len(delays), *size, kept=False)
    return delays


def _palette(flags: int) -> int:
    """Bytes of the colour table that a block's flags announce."""
    return 3 * 2 ** (1 + (flags & 7)) if flags & 0x80 else 0
