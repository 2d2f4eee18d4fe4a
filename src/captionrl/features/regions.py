"""Region features that a user already has (Bottom-Up attention's 10 to 100 boxes an image), as a feature store.

Read are the two forms in which they go round: a directory with a file an image (.npz or .npy), and the tsv files of
Anderson et al. 2018 (https://github.com/peteanderson80/bottom-up-attention). Items and images find each other by the
number at the end of their names: COCO_val2014_000000391895, 000000391895 and 391895 are the same image.
"""

import itertools
import re
from binascii import a2b_base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from captionrl.datasets.archives import BAD_ZIP
from captionrl.errors import UserError
from captionrl.features.store import check_item_ids, write_store
from captionrl.files import write_json
from captionrl.progress import progress

ARRAYS = ("feat", "features", "x")  # what the array may be called in an .npz
TSV = re.compile(r".+\.tsv(\.\d+)?")  # the training images come in parts, .tsv.0 and .tsv.1
LONGEST_LINE = 2**26  # bytes of a tsv; 100 boxes of 2048 numbers take 1.1 MB
SHOWN = 5  # items without features

T = TypeVar("T")
Images = Iterable[tuple[str, Callable[[], np.ndarray]]]  # the key of an image, and how to read its features


def store_regions(
    items: Sequence[str], source: Path, out: Path, manifest: Path, *, code_version: str
) -> dict[str, Any]:
    """Write the region features of `items` to the store `out`, float16 [regions, dim] each, and its manifest.

    source: a directory of <image>.npz or .npy files that hold floats [regions, dim]; or a tsv file, or a directory of
    them, whose lines are an image's id, anything, and last the number of boxes, the boxes and the features (float32 in
    base64), so LXMERT's too. Of an image in several lines the first counts; other images and the boxes are passed
    over. As nobody knows the weights that made them, `weights_sha256` is the digest of the store's contents.

    Raises UserError, and writes nothing, where items have no features or what they have is malformed.
    """
    check_item_ids(items)
    arrays = _read(_by_key((item, item) for item in items), source)
    first = next(arrays)
    attributes = {
        "backbone": "bottomup",
        "fps": 0.0,
        "transform": "the user's own",
        "code_version": code_version,
        "dim": first[1].shape[1],
        "grid": 0,
    }
    summary = {**write_store(out, itertools.chain([first], arrays), attributes), "failures": {}}
    write_json(manifest, summary)
    return summary


def key(name: str) -> str:
    """What an image is known by: the number at the end of its name, else its name."""
    number = re.fullmatch(r"(?:.*_)?0*(\d+)", name)
    return number[1] if number else name


def _by_key(named: Iterable[tuple[str, T]]) -> dict[str, T]:
    found: dict[str, T] = {}
    for name, value in named:
        if (twin := found.setdefault(key(name), value)) is not value:
            raise UserError(f"{twin} and {value} have the same number {key(name)}; rename one of them")
    return found


def _read(items: Mapping[str, str], source: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (item, float16 [regions, dim]) of every item of {key: item}: in this order, or in that of tsv files."""
    missing, dim = dict(items), None
    with progress(total=len(items), title="region features", unit="item") as bar:
        for image, read in _images(items, source):
            if (item := missing.pop(image, None)) is None:
                continue
            array = _checked(read(), f"{source}: image {image}", dim)
            dim = array.shape[1]
            yield item, array
            bar.update()
    _complain(missing, items, source)


def _images(items: Mapping[str, str], source: Path) -> Images:
    if source.is_file():
        return _tsv(source)
    if not source.is_dir():
        raise UserError(f"{source}: no such file or directory; name that of your .npz or .npy files, or a .tsv")
    if tables := sorted(path for path in source.iterdir() if TSV.fullmatch(path.name)):
        return itertools.chain.from_iterable(map(_tsv, tables))
    files = _by_key((path.stem, path) for path in sorted(source.iterdir()) if path.suffix in (".npz", ".npy"))
    _complain({image: item for image, item in items.items() if image not in files}, items, source)
    return ((image, partial(_load, files[image])) for image in items)


def _complain(missing: Mapping[str, str], items: Mapping[str, str], source: Path) -> None:
    if missing:
        some = ", ".join([*itertools.islice(missing.values(), SHOWN), *(["..."] if len(missing) > SHOWN else [])])
        raise UserError(f"{source}: {len(missing)} of {len(items)} items have no features there ({some}); add theirs")


def _checked(array: np.ndarray, where: str, dim: int | None) -> np.ndarray:
    if array.ndim != 2 or not array.size or array.dtype.kind != "f":
        raise UserError(f"{where}: {array.dtype} {list(array.shape)}; features must be floats [regions, dim]")
    if dim not in (None, array.shape[1]):
        raise UserError(f"{where}: {array.shape[1]} numbers a region, but others have {dim}; take one extractor's")
    with np.errstate(over="ignore"):
        array = array.astype(np.float16)
    if not np.isfinite(array).all():
        raise UserError(f"{where}: not finite, or beyond float16 (65504); extract it again")
    return array


def _load(path: Path) -> np.ndarray:
    """The array of an .npy, or of the .npz that calls it by one of ARRAYS. Nothing is unpickled."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            name = next((name for name in ARRAYS if name in loaded), None)
            if name is None:
                raise UserError(f"{path}: holds {', '.join(loaded)}; features must be called {' or '.join(ARRAYS)}")
            array: np.ndarray = loaded[name]
            return array
    except (*BAD_ZIP, ValueError, MemoryError):
        raise UserError(f"{path}: not a whole .npz or .npy of plain numbers; copy or extract it again") from None


def _tsv(path: Path) -> Images:
    with open(path, "rb") as file:
        for number in itertools.count(1):
            line = file.readline(LONGEST_LINE)
            if not line:
                return
            fields = line.rstrip(b"\r\n").split(b"\t")
            if len(fields) < 6:
                raise UserError(f"{path}: line {number}: {len(fields)} of 6 columns; cut off, or no tsv of features")
            yield key(fields[0].decode(errors="replace")), partial(_decode, fields, f"{path}: line {number}")


def _decode(fields: list[bytes], where: str) -> np.ndarray:
    try:
        return np.frombuffer(a2b_base64(fields[-1], strict_mode=True), "<f4").reshape(int(fields[-3]), -1)
    except ValueError:
        rows = fields[-3][:20].decode(errors="replace")
        raise UserError(f"{where}: features are not {rows} rows of float32 in base64; copy it again") from None
