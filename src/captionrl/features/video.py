"""Frames of a video, GIF or still image at a fixed rate: every frame is decoded, only the sampled ones become RGB."""

import struct
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import SideData
from av.stream import Disposition
from av.video.reformatter import Interpolation, VideoReformatter
from PIL import Image

from captionrl.features.image import (
    HEAD,
    MediaError,
    check_decoder,
    check_length,
    check_size,
    check_together,
    is_still,
    open_container,
    read_still,
    sample_gif,
    scale,
)
from captionrl.features.resize import Resize

# Containers round timestamps (Matroska: to the millisecond), so a frame due at t may be stamped a little after it.
TOLERANCE = 1e-3
# Where a keyframe is so many seconds before the last frame, the clock begins anew: films were joined end to end.
BACK = 0.5

NO_DECODER = "its video cannot be decoded (an unknown or protected codec, or a header that is cut off); convert it"

# Bilinear with the kernel widened to the scale, as PIL and torchvision (antialias=True) do it; exact rounding.
SCALING = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


def sample_frames(
    path: Path | str, fps: float = 3.0, resize: Resize | None = None
) -> Iterator[tuple[float, np.ndarray]]:
    """Yield (time, uint8 RGB [H, W, 3]) at times 0, 1/fps, 2/fps, ... seconds from the first frame.

    Each is the frame on show at that time: the last one whose presentation time is not after it. Clips of any or
    varying frame rate give duration x fps frames to +-1; one shorter than 1/fps gives one, as do stills and GIFs of
    one frame. The first bytes decide what a file is, not its name.
    Raises MediaError for what is missing, empty, no video, corrupt or truncated, if need be after the last frame:
    use no frame of a clip before all have come.
    """
    path = Path(path)
    try:
        if path.is_fifo():
            raise MediaError(path, "a named pipe, which would be waited for; give a file")
        with open(path, "rb") as file:
            head = file.read(HEAD)
        if not head:
            raise MediaError(path, "the file is empty")
        if is_still(path, head):
            yield 0.0, read_still(path, resize)
            return
        if head.startswith(b"GIF"):
            yield from sample_gif(path, fps, resize)
            return
        with open_container(path) as container:
            yield from _sample(path, container, fps, resize)
    except (MediaError, MemoryError):  # the latter is no fault of the file, whose size is bounded
        raise
    except av.InvalidDataError:
        raise MediaError(path, "no video that can be read (another kind of file, or its index is cut off)") from None
    except (OSError, av.FFmpegError) as error:
        raise MediaError(path, f"cannot be read ({error.strerror})") from None
    except Exception as error:  # whatever else a library makes of a corrupt file
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise MediaError(path, f"cannot be read ({type(error).__name__}: {reason})") from None


def read_clip(path: Path | str, fps: float, resize: Resize | None) -> tuple[np.ndarray, np.ndarray]:
    """The different frames uint8 RGB [M, H, W, 3] of a clip, in order, and for each sample [N] which of them it shows.

    A frame that stands for long is there once. Raises MediaError, as `sample_frames` does.
    """
    pixels = bytearray()  # grows in place: a list of frames and the array of them would be all of it twice
    shown: list[int] = []
    last = None
    shape: tuple[int, ...] = ()
    number = 0
    for _, image in sample_frames(path, fps, resize):
        if image is not last:
            if number and image.shape != shape:
                raise MediaError(path, "its pictures change their size, and this backbone needs one; convert it")
            last, shape, number = image, image.shape, number + 1
            check_together(Path(path), number, shape[1], shape[0])
            pixels += image.tobytes()
        shown.append(number - 1)
    return np.frombuffer(pixels, np.uint8).reshape(number, *shape), np.array(shown)


def _sample(
    path: Path, container: InputContainer, fps: float, resize: Resize | None
) -> Iterator[tuple[float, np.ndarray]]:
    stream = _video(path, container)
    stream.thread_type = "NONE"  # clips are decoded side by side; threads within a clip would only compete
    stream.codec_context.thread_count = 1
    period = 1 / float(stream.average_rate or stream.guessed_rate or 25)
    stated = _stated_seconds(container, stream, period)

    to_rgb = _Converter(path, resize, float(stream.sample_aspect_ratio or 1))
    first = 0.0  # seconds: the time of the first frame
    offset = 0.0  # of its clock: likewise, until the clock begins anew
    time = end = reached = 0.0  # from there: the last frame's time, the video's and the file's end
    shown: av.VideoFrame | None = None
    sampled = 0
    for packet in container.demux():  # all streams: the others show how far the file reaches
        if packet.pts is not None and packet.time_base:
            reached = max(reached, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream.index != stream.index:
            continue
        if packet.is_corrupt:  # the demuxer's word for "cut off within this packet"
            raise MediaError(path, f"truncated: decoded {end:.1f} s of {stated:.1f} s")
        try:
            frames = packet.decode()
        except PermissionError:  # FFmpeg's word for a codec that it has no decoder for
            raise MediaError(path, NO_DECODER) from None
        except av.FFmpegError as error:
            raise MediaError(path, f"corrupt after {end:.1f} s of {stated:.1f} s ({error.strerror})") from None
        for frame in frames:
            assert isinstance(frame, av.VideoFrame)
            if frame.pts is None:  # a bare stream without timestamps
                time = end
            elif shown is None:
                first = offset = frame.time
            else:
                if frame.key_frame and frame.time - offset < time - BACK:
                    offset = frame.time - end
                time = frame.time - offset
            check_length(path, time, fps)
            while shown is not None and sampled / fps < time - TOLERANCE:
                yield sampled / fps, to_rgb(shown)
                sampled += 1
            shown = frame
            end = time + (float(frame.duration * frame.time_base) if frame.duration and frame.time_base else period)

    if shown is None:
        raise MediaError(path, "no frame in its video stream")
    # Some stop early without a complaint: Matroska cut at a packet, AVI with a hole. What comes before the first frame
    # that can be decoded is not lost.
    begin = float(stream.start_time * stream.time_base) if stream.start_time and stream.time_base else 0.0
    lost = stated - (end + max(0.0, first - begin) if stream.duration else reached)
    if lost > 1 / fps:  # less cannot change the number of samples by more than one, and headers do round
        raise MediaError(path, f"truncated: decoded {end:.1f} s of {end + lost:.1f} s")
    check_length(path, end, fps)
    while sampled == 0 or sampled / fps < end - TOLERANCE:
        yield sampled / fps, to_rgb(shown)
        sampled += 1


def _video(path: Path, container: InputContainer) -> av.VideoStream:
    """The video stream to show; a cover is none, nor a tile of a picture."""
    others = Disposition.attached_pic | Disposition.dependent
    videos = [stream for stream in container.streams.video if not stream.disposition & others]
    if not videos:
        raise MediaError(path, "no video stream")
    best = container.streams.best("video")
    stream = best if best in videos else videos[0]
    assert isinstance(stream, av.VideoStream)
    if stream.codec_context is None:
        raise MediaError(path, NO_DECODER)
    context = stream.codec_context
    if context.width:
        check_size(path, context.width, context.height)
        if context.format:
            check_decoder(path, context.width, context.height, context.format)
    return stream


def _stated_seconds(container: InputContainer, stream: av.VideoStream, period: float) -> float:
    """How long the file says that it is: its video, or (Matroska) the longest of its streams. 0 if it does not say."""
    if container.format.name == "avi":  # FFmpeg shortens the duration of a cut AVI, but not the header's frames
        return stream.frames * period
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


class _Converter:
    """Frame to RGB: colour conversion and bilinear scaling in one pass; a frame sampled twice is converted once.

    Any other interpolation is Pillow's, as of stills: FFmpeg's bicubic has another kernel. `aspect`: a pixel's width
    over its height.
    """

    def __init__(self, path: Path, resize: Resize | None, aspect: float):
        self.path, self.resize, self.aspect = path, resize, aspect
        self.at_once = resize if resize and resize.interpolation == "bilinear" else None
        self.scaler = VideoReformatter()  # one for a clip: setting it up costs more than a conversion
        self.frame: av.VideoFrame | None = None
        self.image: np.ndarray

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        if frame is not self.frame:
            size = max(1, round(self.aspect * frame.width)), frame.height
            check_size(self.path, *size)
            if self.at_once:
                size = self.at_once.scaled(*size)
                check_size(self.path, *size)
            rgb = self.scaler.reformat(frame, *size, format="rgb24", interpolation=SCALING, threads=1)
            image = upright(rgb.to_ndarray(), frame)
            if self.at_once:
                self.image = self.at_once.crop(image)
            else:
                self.image = scale(self.path, Image.fromarray(image), self.resize)
            self.frame = frame
        return self.image


def upright(image: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """The picture [H, W, 3] as its frame's display matrix says: telephones film sideways, front cameras mirrored."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData):
        return image
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])  # x' = a x + c y, y' = b x + d y
    if abs(b) > abs(a):
        image, a, d = image.swapaxes(0, 1), c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
