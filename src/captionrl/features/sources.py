"""Which array of a user's files is of which item.

Forms: a folder with a file an item, also in folders of their own (one a split, say); one file, or a few in a folder,
with an array or a group of arrays an item; the rows of one array, with a list of their ids; tsv files of Bottom-Up
attention, also in parts (Anderson et al. 2018, https://github.com/peteanderson80/bottom-up-attention).
"""

import itertools
import re
from binascii import a2b_base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np

from captionrl.errors import UserError
from captionrl.features.arrays import PICKLES, Array, Group, Node, in_memory, listed, open_arrays, pick, refuse_pickles
from captionrl.files import decode_utf8, files_below, read_bytes

SUFFIXES = (".npy", ".npz", ".h5", ".hdf5", ".pt", ".pth", ".safetensors")
TSV = re.compile(r".+\.tsv(\.\d+)?")  # the training images come in parts, .tsv.0 and .tsv.1
LONGEST_LINE = 2**26  # bytes of a tsv; 100 boxes of 2048 numbers take 1.1 MB
FILES = 20  # of many items each, in a folder
DEEPEST = 4  # groups in groups

Open: TypeAlias = Callable[[], AbstractContextManager[Array]]


class Found:
    """What a source has of the items that are wanted."""

    def __init__(self, items: Sequence[str], source: Path, by_number: bool) -> None:
        self.items, self.source, self.key = items, source, number_of if by_number else str
        self.places: dict[str, str] = {}  # by item
        self.others, self.other = 0, ""  # names that are no item's: how many, and the first
        self.by_key: dict[str, str] = {}
        for item in items:
            if (twin := self.by_key.setdefault(self.key(item), item)) != item:
                raise UserError(
                    f"{twin} and {item} have the same number {self.key(item)}; import them with --ids exact"
                )

    def wants(self, name: str) -> bool:
        return self.key(name) in self.by_key

    def item(self, name: str, inside: str = "") -> str | None:
        """The item that a name in the source is of; of none it is counted, and said to be `inside` something."""
        item = self.by_key.get(self.key(name))
        if item is None:
            self.other = self.other if self.others else inside + name
            self.others += 1
        return item

    def add(self, item: str, place: str) -> None:
        if item in self.places:
            raise UserError(f"{self.places[item]} and {place} are both of item {item}; remove one of them")
        self.places[item] = place

    def missing(self) -> list[str]:
        return [item for item in self.items if item not in self.places]

    def complain(self, allowed: int) -> None:
        """Raises UserError if more items than allowed, or all of them, have no features."""
        missing = self.missing()
        if len(missing) > allowed or len(missing) == len(self.items):
            others = f", or rename them (others there are called like {self.other!r})" if self.others else ""
            what = f"{len(missing)} of {len(self.items)} items have no features there ({listed(missing)})"
            raise UserError(f"{self.source}: {what}; add theirs{others}, or allow as many failures")


def number_of(name: str) -> str:
    """The number at the end of a name, else the name: COCO_val2014_000000391895, 000000391895 and 391895 are equal."""
    number = re.fullmatch(r"(?:.*_)?(\d+)", name)
    return number[1].lstrip("0") or "0" if number else name


def list_arrays(found: Found, key: str | None, stack: ExitStack) -> Iterator[tuple[str, Open]]:
    """Yield each item that files have an array of, and how to open it; those with many items stay open in `stack`."""
    source = found.source
    if source.is_file():
        node = open_arrays(source, stack)
        if isinstance(node, Array):
            raise UserError(f"{source}: one array {list(node.shape)} without ids; give its rows' with --ids-file")
        yield from _named(found, node, source, "", key)
        return
    paths = files_below(source)
    files = [path for path in paths if path.suffix.lower() in SUFFIXES]
    pickles = [path for path in paths if path.suffix.lower() in PICKLES and not path.with_suffix(".npz").exists()]
    if len(files) + len(pickles) <= FILES and not any(found.wants(path.stem) for path in [*files, *pickles]):
        for path in [*files, *pickles]:
            node = open_arrays(path, stack)
            if isinstance(node, Array):
                found.item(path.stem)
            else:
                yield from _named(found, node, path, "", key)
        return
    for path in files:
        if item := found.item(path.stem):
            found.add(item, str(path))
            yield item, partial(_alone, path, key)
    missing = set(map(found.key, found.missing()))
    for path in pickles:
        if found.key(path.stem) in missing:
            raise refuse_pickles(source, path.suffix)


@contextmanager
def _alone(path: Path, key: str | None) -> Iterator[Array]:
    """The array of a file of one item."""
    with ExitStack() as stack:
        yield pick(open_arrays(path, stack), key, str(path))


def _named(
    found: Found, node: Mapping[str, Node], path: Path, inside: str, key: str | None
) -> Iterator[tuple[str, Open]]:
    """Likewise of what is in a file of many items, `inside` the named groups."""
    for name in node:
        place = f"{path}: {inside}{name}"
        below = None if found.wants(name) or inside.count("/") == DEEPEST else _below(node, name)
        if below is not None:
            yield from _named(found, below, path, f"{inside}{name}/", key)
        elif item := found.item(name, f"{path.name}: {inside}"):
            found.add(item, place)
            yield item, partial(_one, node, name, key, place)


def _one(node: Mapping[str, Node], name: str, key: str | None, place: str) -> AbstractContextManager[Array]:
    return _given(pick(node[name], key, place))


def _given(array: Array) -> AbstractContextManager[Array]:
    return nullcontext(array)


def _below(node: Mapping[str, Node], name: str) -> Mapping[str, Node] | None:
    """What has arrays in it, by that name; nothing else is opened for it."""
    if isinstance(node, Group):
        return node.subgroup(name)
    below = node[name] if isinstance(node, dict) else None
    return below if isinstance(below, dict) else None


def list_rows(found: Found, ids_file: Path, key: str | None, stack: ExitStack) -> dict[str, Open]:
    """The rows of an array, whose ids are the lines of a file, by item."""
    source = found.source
    if not source.is_file():
        raise UserError(f"{source}: no file; --ids-file is for the rows of one array, in a file")
    array = pick(open_arrays(source, stack), key, str(source))
    if not array.by_row:
        raise UserError(f"{source}: an .npz cannot be read row by row; save the array as .npy, with numpy.save")
    ids = decode_utf8(read_bytes(ids_file), ids_file).splitlines()
    if len(ids) != (array.shape or (0,))[0]:
        raise UserError(f"{ids_file}: {len(ids)} ids, but {source} is {list(array.shape)}; give one for each row")
    arrays: dict[str, Open] = {}
    for number, name in enumerate(ids):
        if item := found.item(name):
            found.add(item, f"{source}: row {number} ({name})")
            arrays[item] = partial(_given, array.row(number))
    return arrays


def tables(source: Path) -> list[Path]:
    """The tsv files of a source, if it has any."""
    paths = sorted(source.iterdir()) if source.is_dir() else [source]
    return [path for path in paths if TSV.fullmatch(path.name)]


def read_table(found: Found, path: Path) -> Iterator[tuple[str, Open]]:
    """What a tsv has of the items, one line in memory; of an item in several lines the first counts.

    Columns are an id, anything, and last the number of boxes, the boxes and the features (float32 in base64): LXMERT's
    files, too.
    """
    with open(path, "rb") as file:
        for number in itertools.count(1):
            line = file.readline(LONGEST_LINE)
            if not line:
                return
            fields, place = line.rstrip(b"\r\n").split(b"\t"), f"{path}: line {number}"
            if len(fields) < 6:
                raise UserError(f"{place}: {len(fields)} of 6 columns; cut off, or no tsv of features")
            item = found.item(fields[0].decode(errors="surrogateescape"))
            if item is not None and item not in found.places:
                found.add(item, place)
                yield item, partial(_given, in_memory(_decode(fields, place)))


def _decode(fields: list[bytes], place: str) -> np.ndarray:
    try:
        return np.frombuffer(a2b_base64(fields[-1], strict_mode=True), "<f4").reshape(int(fields[-3]), -1)
    except ValueError:
        rows = fields[-3][:20].decode(errors="replace")
        raise UserError(f"{place}: features are not {rows} rows of float32 in base64; copy it again") from None
