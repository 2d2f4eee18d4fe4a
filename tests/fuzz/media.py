"""Videos, stills and GIFs, and archives of what is not changed."""

import io
import tarfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from files import Files, folder_of, zipped


def film(codec: str, **options: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        import av
        import numpy as np

        with av.open(str(path), "w") as container:
            container.metadata["title"] = "a title"
            stream = container.add_stream(codec, rate=10, options={"threads": "1", **options})
            stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
            stream.codec_context.time_base = Fraction(1, 10)
            for k in range(12):
                pixels = np.full((24, 32, 3), 20 * k, np.uint8)
                pixels[k : k + 8, k : k + 8] = 255
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = k, Fraction(1, 10)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())

    return write


def videos() -> list[Files]:
    h264 = film("libx264", crf="30", g="6")
    writers = dict.fromkeys(("a.mp4", "a.mkv", "a.avi", "a.mov", "a.ts", "a.flv"), h264)
    writers |= {
        "b.mp4": film("mpeg4"),
        "b.avi": film("msmpeg4v3"),
        "b.webm": film("libvpx-vp9"),
        "b.mpg": film("mpeg2video"),
    }
    return [folder_of(lambda folder, name=name, write=write: write(folder / name)) for name, write in writers.items()]


def stills() -> list[Files]:
    import numpy as np
    from PIL import Image

    ramp = np.arange(24 * 32 * 3, dtype=np.uint32).reshape(24, 32, 3).astype(np.uint8)
    colour = Image.fromarray(ramp)
    exif = Image.Exif()
    exif[0x0112] = 6
    alpha = colour.copy()
    alpha.putalpha(128)
    palette = colour.quantize(16)
    pictures = {
        "a.jpg": (colour, {"exif": exif}),
        "b.jpg": (colour.convert("CMYK"), {"progressive": True}),
        "a.png": (colour, {}),
        "b.png": (alpha, {}),
        "c.png": (palette, {"transparency": 1}),
        "d.png": (Image.fromarray(ramp[..., 0].astype(np.uint16) * 257), {}),
        "a.webp": (colour, {}),
        "b.webp": (alpha, {"lossless": True, "exif": exif}),
        "a.bmp": (colour, {}),
        "b.bmp": (palette, {}),
        "a.tif": (colour, {"compression": "tiff_deflate"}),
        "b.tif": (colour, {"compression": "jpeg"}),
        "c.tif": (alpha, {"exif": exif}),
        "a.avif": (colour, {}),
    }
    return [
        folder_of(lambda folder, name=name, save=save: save[0].save(folder / name, **save[1]))
        for name, save in pictures.items()
    ]


def gifs() -> list[Files]:
    import numpy as np
    from PIL import Image

    frames = [Image.fromarray(np.full((12, 16), 40 * k, np.uint8)) for k in range(5)]
    clear = {"transparency": 0, "disposal": 2}
    writers: tuple[dict[str, Any], ...] = (
        {"append_images": frames[1:], "duration": 120},
        {"append_images": frames[1:], "duration": [0, 100, 1000, 10, 500], "loop": 0, **clear},
        {},
    )
    return [
        folder_of(lambda folder, options=options: frames[0].save(folder / "a.gif", save_all=True, **options))
        for options in writers
    ]


def read_media(folder: Path, out: Path) -> None:
    from captionrl.features.resize import Resize
    from captionrl.features.video import read_clip

    for path in folder.iterdir():
        read_clip(path, 3.0, Resize(32, shorter=36))


def archives() -> list[Files]:
    files = {"videos/a.mp4": b"a" * 600, "videos/deep/b.mp4": b"b", "readme.txt": b"read me"}

    def tar(mode: str) -> bytes:
        new = io.BytesIO()
        with tarfile.open(fileobj=new, mode=mode) as archive:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return new.getvalue()

    return [{"a.zip": zipped(files)}, {"a.tar": tar("w")}, {"a.tgz": tar("w:gz")}]


def read_archive(folder: Path, out: Path) -> None:
    from captionrl.datasets.archives import members, read_member, unpack

    (path,) = folder.iterdir()
    unpack(path, out / "unpacked")
    if path.suffix == ".zip":
        members(path)
        read_member(path, "readme.txt")
