"""Arrays in files of other programs, opened without reading them: .npy, .npz, HDF5, torch's and safetensors.

A file's first bytes say what it is, not its name. Nothing is unpickled, no name in a file is taken for a path, no link
leads to another file, and a shape is known before memory is taken for it.
"""

import math
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType
from typing import IO, Any, TypeAlias

import h5py
import numpy as np
import torch
from safetensors import safe_open

from captionrl.errors import UserError
from captionrl.features.store import LOCKING
from captionrl.files import check_claim, damage_named

NAMES = ("feat", "features", "x")  # what an item's array is called if nobody says
PICKLES = (".pkl", ".pickle", ".pck", ".p")
FLOATS = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}  # by safetensors' names
TORCH = b"l\xfc\x9cF\xf9 j\xa8P\x19"  # torch.save's magic number, in files that are no zip
FEW = 5  # names in a message
DAMAGED = ("cut off or damaged", "copy or extract it again")
SAVE = "numpy.savez({}, **({{str(name): data[name] for name in data}} if isinstance(data, dict) else {{'feat': data}}))"


@dataclass(frozen=True)
class Array:
    """An array that has not been read yet."""

    shape: tuple[int, ...]
    dtype: str  # numpy's name of it, or bfloat16
    load: Callable[[int | EllipsisType], np.ndarray]  # one row, or all (...); of bfloat16 as float32
    by_row: bool = True  # whether a row can be read alone

    def row(self, number: int) -> "Array":
        return Array(self.shape[1:], self.dtype, lambda _: self.load(number))


def in_memory(array: np.ndarray) -> Array:
    return Array(array.shape, array.dtype.name, lambda index: array[index])


class Group(Mapping[str, Any]):
    """A group of an HDF5 file: the datasets and groups that are in it, not what it links to."""

    def __init__(self, path: Path, group: h5py.Group) -> None:
        self.path, self.group = path, group

    def __getitem__(self, name: str) -> "Node":
        if subgroup := self.subgroup(name):
            return subgroup
        if not self._has(name):
            raise KeyError(name)
        found = self.group[name]
        if not isinstance(found, h5py.Dataset) or found.is_virtual or found.external:
            raise UserError(f"{self.path}: {name}: no data set with its data in this file; copy them into it")
        check_claim(found.nbytes, self.path.stat().st_size)
        return Array(found.shape or (), found.dtype.name, lambda index: np.asarray(found[index]))

    def __iter__(self) -> Iterator[str]:
        """Names that are not UTF-8 with their bytes as surrogates, as in file names."""
        return (name if isinstance(name, str) else name.decode(errors="surrogateescape") for name in self.group)

    def __len__(self) -> int:
        return len(self.group)

    def subgroup(self, name: str) -> "Group | None":
        is_group = self._has(name) and self.group.get(name, getclass=True) is h5py.Group
        return Group(self.path, self.group[name]) if is_group else None

    def _has(self, name: str) -> bool:
        """Whether it is in this very group; h5py can ask for no name with surrogates, which are not printable."""
        plain = name.isprintable() and "/" not in name and name in self.group
        return plain and isinstance(self.group.get(name, getlink=True), h5py.HardLink)


class Members(Mapping[str, Any]):
    """The arrays of an .npz; the header of one is read when it is asked for."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path, self.archive = path, archive
        infos = (info for info in archive.infolist() if info.filename.endswith(".npy"))
        self.infos = {info.filename.removesuffix(".npy"): info for info in infos}

    def __getitem__(self, name: str) -> Array:
        info = self.infos[name]

        def load(index: int | EllipsisType) -> np.ndarray:
            with self.archive.open(info) as file:
                shape, order, dtype = _header(file)
                array: np.ndarray = np.frombuffer(file.read(), dtype).reshape(shape, order=order)[index]
            return array

        with damage_named(f"{self.path}: {name}", *DAMAGED), self.archive.open(info) as file:
            shape, _, dtype = _header(file)
            if dtype.hasobject:
                open_it = f"import numpy; data = numpy.load({str(self.path)!r}, allow_pickle=True)"
                arrays = "**{name: numpy.asarray(data[name].tolist()) for name in data}"
                raise _refusal(self.path, open_it, f"numpy.savez({str(self.path)!r}, {arrays})")
            check_claim(info.file_size, info.compress_size)
            if info.file_size != file.tell() + _bytes(shape, dtype):
                raise ValueError(f"{dtype.name} {list(shape)} in {info.file_size} bytes")
        return Array(shape, dtype.name, load, by_row=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self.infos)

    def __len__(self) -> int:
        return len(self.infos)


Node: TypeAlias = Array | Mapping[str, Any]  # an array; or nodes by name


def open_arrays(path: Path, stack: ExitStack) -> Node:
    """What a file holds; it stays open as long as `stack`.

    Raises UserError for a file that is empty, damaged or none of these, and for a pickle, with two lines of Python that
    make an .npz of it.
    """
    with damage_named(path, *DAMAGED):
        with open(path, "rb") as file:
            start = file.read(32)
        if not start:
            raise UserError(f"{path}: an empty file; copy or extract it again")
        if start.startswith(np.lib.format.MAGIC_PREFIX):
            return _npy(path)
        if start.startswith(b"PK"):
            archive = stack.enter_context(zipfile.ZipFile(path))
            is_torch = any(name.split("/")[-1] == "data.pkl" for name in archive.namelist())
            return _torch(path) if is_torch else Members(path, archive)
        if start.startswith(b"\x89HDF"):
            return Group(path, stack.enter_context(h5py.File(path, "r", locking=LOCKING)))
        if TORCH in start:
            return _torch(path)
        if (start[0] == 0x80 and 2 <= start[1] <= 5) or path.suffix.lower() in PICKLES:
            open_it = f"import numpy, pickle; data = pickle.load(open({str(path)!r}, 'rb'))"
            raise _refusal(path, open_it, _save(path))
        if start[8:9] == b"{":
            return _safetensors(stack.enter_context(safe_open(path, framework="pt")))
    raise UserError(
        f"{path}: neither .npy, .npz, HDF5, torch's, safetensors nor a .tsv of features; convert it to .npz"
    )


def pick(node: Node, key: str | None, place: str) -> Array:
    """The one array of `node`: that called `key`, by default one of NAMES or the only one."""
    if isinstance(node, Array):
        return node
    names = list(node)
    name = next((name for name in ([key] if key else NAMES) if name in names), None)
    if name is None and key is None and len(names) == 1:
        (name,) = names
    found = None if name is None else node[name]
    if not isinstance(found, Array):
        raise UserError(f"{place}: holds {listed(names) or 'nothing'}; say with --key which array the features are")
    return found


def listed(names: Sequence[str]) -> str:
    return ", ".join([*names[:FEW], *(["..."] if len(names) > FEW else [])])


def refuse_pickles(folder: Path, suffix: str) -> UserError:
    """Of a folder of pickles, a file an item."""
    files = f"pathlib.Path({str(folder)!r}).rglob({'*' + suffix!r})"
    save = SAVE.format("file.with_suffix('.npz')")
    each = f"for file in {files}: data = pickle.load(open(file, 'rb')); {save}"
    return _refusal(folder, "import numpy, pathlib, pickle", each)


def _save(path: Path) -> str:
    return SAVE.format(repr(str(path.with_suffix(".npz"))))


def _refusal(path: Path, *lines: str) -> UserError:
    what = "a pickle, which runs whatever code is in it when it is read"
    how = "if you trust it, make an .npz of it with these two lines of Python"
    return UserError(f"{path}: {what}; {how}:", *lines)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], Any, np.dtype]:
    """Shape, order and dtype of the array that follows in an .npy."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of .npy, which is of tables")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if any(length < 0 for length in shape):
        raise ValueError(f"shape {list(shape)}")
    return shape, "F" if fortran else "C", dtype


def _bytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    return math.prod(shape) * dtype.itemsize


def _npy(path: Path) -> Array:
    with open(path, "rb") as file:
        shape, order, dtype = _header(file)
        offset = file.tell()
    if dtype.hasobject:
        open_it = f"import numpy; data = numpy.load({str(path)!r}, allow_pickle=True).tolist()"
        raise _refusal(path, open_it, _save(path))
    lacking = offset + _bytes(shape, dtype) - path.stat().st_size
    if lacking > 0:
        raise ValueError(f"{dtype.name} {list(shape)} lacks {lacking} bytes")
    return Array(shape, dtype.name, lambda index: np.asarray(np.memmap(path, dtype, "r", offset, shape, order)[index]))


def _torch(path: Path) -> Node:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError:
        open_it = f"import numpy, torch; data = torch.load({str(path)!r}, map_location='cpu', weights_only=False)"
        raise _refusal(path, open_it, _save(path)) from None
    except Exception as error:  # whatever torch's unpickler stumbles over: KeyError, struct.error, AssertionError ...
        raise ValueError(str(error)) from None
    node = _tensors(loaded, path.stat().st_size)
    if node is None:
        raise UserError(f"{path}: holds a {type(loaded).__name__}; features are a tensor, or tensors by name")
    return node


def _tensors(value: Any, stored: int) -> Node | None:
    """`stored`: the bytes of their file; an expanded tensor has fewer numbers than it shows."""
    if isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_quantized:
        check_claim(value.nbytes, stored)
        return Array(tuple(value.shape), str(value.dtype).removeprefix("torch."), lambda index: _numpy(value[index]))
    if isinstance(value, dict):
        nodes = {str(name): _tensors(part, stored) for name, part in value.items()}
        return {name: node for name, node in nodes.items() if node is not None}
    return None


def _safetensors(file: Any) -> Mapping[str, Array]:
    def opened(name: str) -> Array:
        part = file.get_slice(name)
        dtype = FLOATS.get(part.get_dtype(), part.get_dtype())

        def load(index: int | EllipsisType) -> np.ndarray:
            return _numpy(file.get_tensor(name) if index is ... else part[index : index + 1][0])

        return Array(tuple(part.get_shape()), dtype, load)

    return {name: opened(name) for name in file.keys()}  # noqa: SIM118 - it is no dict


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach()
    array: np.ndarray = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return array
