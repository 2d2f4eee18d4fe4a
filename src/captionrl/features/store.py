"""The feature store: one HDF5 file per corpus and backbone, for each item an array [frames, dim].

    items                 the ids, in order (fixed-length UTF-8)
    features/<item>       float16 [frames, dim], in one piece of the file; uint8 where it is frames (features/frames.py)
    attributes            backbone, weights_sha256, fps, transform, code_version, dim; grid

With `grid` cells a side (0 or none: pooled features) a frame is grid x grid rows, its cells row by row: policies attend
to cells just as they do to frames.
Equal contents give equal bytes: the HDF5 version is pinned and no times are recorded.
"""

import hashlib
import io
import math
import os
import re
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from captionrl.errors import UserError
from captionrl.files import SURROGATE, atomic, check_claim, damage_named

LIBVER = ("v110", "v110")  # pinned, since "latest" changes its bytes from release to release
LOCKING = "best-effort"  # network file systems without locks are common on clusters
HEAP = 2**20  # bytes at the end of a store, in which its attributes lie: they are written last
DAMAGED = ("not a whole feature store", "extract (or fetch) it again")
ATTRIBUTES = ("backbone", "weights_sha256", "fps", "transform", "code_version", "dim")
BYTES_OF_NAME = 64  # in memory, of an item's name
WIDEST = {"dim": 2**24, "grid": 1000}


class FeatureStore:
    """Reads a store. Worker processes may share one object: each opens the file for itself at its first read."""

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self._opened: tuple[int, h5py.File, h5py.h5g.GroupID, int] | None = None  # by which process; file descriptor
        if not self.path.is_file():
            beside = self.path.with_suffix(".json")
            fix = f"; if {beside} was made with it, delete that and run Snakemake again" if beside.exists() else ""
            raise UserError(f"{self.path}: no such feature store{fix}")
        with damage_named(self.path, *DAMAGED):
            _check_heap(self.path)
            with h5py.File(self.path, "r", locking=LOCKING) as file:
                self.attributes = {name: file.attrs[name] for name in ATTRIBUTES}
                grid = file.attrs.get("grid", 0)
                _check_attributes({**self.attributes, "grid": grid})
                self.grid, self.dim = int(grid), int(self.attributes["dim"])
                items = _within(file.id, "items")
                check_claim(items.shape[0] * BYTES_OF_NAME, self.path.stat().st_size)
                self.items: list[str] = [item.decode() for item in h5py.Dataset(items)[()]]
        try:
            check_item_ids(self.items)
        except UserError as error:
            raise UserError(f"{self.path}: {error}; {DAMAGED[1]}") from None
        self._known = frozenset(self.items)

    def __contains__(self, item: str) -> bool:
        return item in self._known

    def __len__(self) -> int:
        return len(self.items)

    def read(self, item: str) -> np.ndarray:
        """float16 [frames, dim], with a grid [frames * grid * grid, dim]; of frames uint8 [frames, bytes]."""
        if item not in self._known:
            raise UserError(f"{self.path}: no item {item!r} (its clip may have failed: see the manifest)")
        with damage_named(f"{self.path}: {item}", *DAMAGED):
            return self._read(item)

    def _read(self, item: str) -> np.ndarray:
        if self._opened is None or self._opened[0] != os.getpid():  # an HDF5 handle does not survive a fork
            file = h5py.File(self.path, "r", locking=LOCKING)
            self._opened = os.getpid(), file, _within(file.id, "features"), file.id.get_vfd_handle()
        _, _, features, descriptor = self._opened
        dataset = _within(features, item)
        check_claim(math.prod(dataset.shape) * dataset.dtype.itemsize, os.fstat(descriptor).st_size)
        if dataset.dtype.kind not in "fiu":  # objects above all: the bytes of a file are no pointers
            raise ValueError(f"numbers of type {dataset.dtype}")
        array = np.empty(dataset.shape, dataset.dtype)
        offset = dataset.get_offset()  # None unless it lies in one piece
        plain = offset is not None and dataset.get_storage_size() == array.nbytes
        if plain and os.preadv(descriptor, [array.data], offset) == array.nbytes:  # half of what h5py takes
            return array
        stored: np.ndarray = h5py.Dataset(dataset)[()]
        return stored

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


def _within(place: Any, name: str) -> Any:
    """What a group of an HDF5 file, or the file, has of this name. Raises ValueError where it lies in another file."""
    if place.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise ValueError(f"{name} is a link")
    found = h5py.h5o.open(place, name.encode())
    if isinstance(found, h5py.h5d.DatasetID) and found.get_offset() is None:  # not in one piece of this file
        made = found.get_create_plist()
        if made.get_layout() == h5py.h5d.VIRTUAL or made.get_external_count():
            raise ValueError(f"{name} has its data in another file")
    return found


def _check_attributes(attributes: Mapping[str, Any]) -> None:
    """Raise ValueError for a value that is not of its attribute's kind."""
    for name, value in attributes.items():
        match name:
            case "fps":
                fits = isinstance(value, Real) and 0 <= float(value) < math.inf
            case "dim" | "grid":
                fits = isinstance(value, Integral) and 0 <= int(value) <= WIDEST[name]
            case _:
                fits = isinstance(value, str) and not SURROGATE.search(value)
        if not fits:
            raise ValueError(f"{name} is {value!r}")


def _check_heap(path: Path) -> None:
    """Raise ValueError for a heap of attributes (GCOL) in which zeros stand for an object: HDF5 would read for ever.

    Zeros are what a file ends with that was being written when the power failed. The heap's layout is that of the HDF5
    File Format Specification, III.E.
    """
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - HEAP))
        end = file.read()
    for heap in re.finditer(rb"GCOL\x01\x00\x00\x00(.{8})", end, re.DOTALL):
        at, stop = heap.end(), heap.start() + int.from_bytes(heap[1], "little")
        while at + 16 <= min(stop, len(end)):
            free = end[at : at + 2] == b"\0\0"
            size = int.from_bytes(end[at + 8 : at + 16], "little")
            if free and not size:
                raise ValueError("its attributes are cut off")
            at += size if free else 16 + (size + 7) // 8 * 8


def write_store(
    path: Path | str, arrays: Iterable[tuple[str, np.ndarray]], attributes: Mapping[str, Any]
) -> dict[str, Any]:
    """Write a store (or a shard of one) item by item; `path` appears only when whole.

    Returns its manifest: the attributes, the numbers of items and frames, a SHA-256 of the contents. The
    latter stands for the weights where the attributes name none.
    """
    items, frames, digest = [], 0, hashlib.sha256()
    with atomic(path) as temporary, _Disk(temporary) as disk:
        with h5py.File(disk, "w", libver=LIBVER) as file:
            features = file.create_group("features")
            for item, array in arrays:
                array = array if array.dtype == np.uint8 else array.astype(np.float16, copy=False)
                features.create_dataset(item, data=array, track_times=False)
                disk.complain()
                items.append(item.encode())
                frames += len(array)
                digest.update(f"{item}\0{array.shape}\0".encode())
                digest.update(array.tobytes())
            file.create_dataset("items", data=np.array(items, dtype="S" if items else "S1"), track_times=False)
            if "weights_sha256" not in attributes:
                attributes = {**attributes, "weights_sha256": digest.hexdigest()}
            file.attrs.update(attributes)
        disk.complain()
    return {**attributes, "items": len(items), "frames": frames, "sha256": digest.hexdigest()}


class _Disk(io.FileIO):
    """A file that keeps its errors from HDF5, which crashes when it cannot write what it holds back until the end."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """All of `data`: HDF5 does not look at how much of it a nearly full disk took."""
        view = memoryview(data).cast("B")
        size = len(view)
        try:
            while view:
                view = view[super().write(view) :]
        except OSError as error:
            self.error = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = error
            return size or 0

    def complain(self) -> None:
        if self.error:
            raise self.error


def check_item_ids(items: Iterable[str]) -> None:
    """HDF5 reads `/` and `.` as paths, and NUL as the end of a name."""
    seen = set()
    for item in items:
        if not item or "/" in item or "\0" in item or item in (".", ".."):
            raise UserError(f"item id {item!r}: cannot name a data set of a feature store (empty, '/', NUL or dots)")
        if item in seen:
            raise UserError(f"item id {item!r} occurs twice")
        seen.add(item)


def sample_uniformly(frames: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of `frames` [N, ...], evenly spaced: the middles of `most` equal stretches."""
    if len(frames) <= most:
        return frames
    return frames[((np.arange(most) + 0.5) * len(frames) / most).astype(int)]
