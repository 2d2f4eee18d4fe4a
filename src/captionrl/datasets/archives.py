"""Archives from the internet: members are read by name; unpacking trusts neither names, links, sizes nor counts."""

import errno
import fcntl
import gzip
import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from captionrl.errors import UserError
from captionrl.files import writing

# All that zipfile raises on a damaged, encrypted or exotically compressed file; and tarfile.
BAD_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, EOFError, OSError, ValueError, struct.error)
BAD_TAR = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, ArithmeticError)
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)  # no fault of the archive
# What an archive may hold. COCO's largest has 118,287 members; captions shrink to a fifth, media not at all.
MEMBERS = 400_000
DIRECTORY = 40_000_000  # bytes of a zip's list of members, which is read as a whole
RATIO = 50  # bytes unpacked for each byte of the archive,
SMALL = 1 << 26  # but these in any case
BLOCK = 1 << 20
HEADER = 1 << 24  # bytes read at once
PART = "part of a file"  # the name of one that is not whole


def members(archive: Path) -> list[str]:
    """The names of the files in a zip, without directories and macOS's `__MACOSX/` shadows."""
    try:
        with _open_zip(archive) as file:
            names = [info.filename for info in file.infolist() if not info.filename.endswith("/")]
    except BAD_ZIP as error:
        raise UserError(f"{archive}: not a readable zip ({error}); fetch it again") from None
    return [name for name in names if not name.startswith("__MACOSX/")]


def read_member(archive: Path, name: str) -> bytes:
    """The bytes of the one member called `name`, in whatever folder of the zip; nothing is written to disk."""
    found = [member for member in members(archive) if member == name or PurePosixPath(member).name == name]
    if len(found) != 1:
        raise UserError(f"{archive}: must hold one {name}, but holds {len(found) or 'none'}; fetch it again")
    try:
        with _open_zip(archive) as file:
            _check_size(archive, file.getinfo(found[0]).file_size)
            return file.read(found[0])
    except BAD_ZIP as error:
        raise UserError(f"{archive}: {name}: cannot be unpacked ({error}); fetch the archive again") from None


def unpack(archive: Path, into: Path, folder: str = "") -> None:
    """Unpack a zip or tar, or only `folder/` of it, as the new directory `into`: wholly, or not at all.

    What an earlier call could not finish is gone on with, in a hidden directory beside `into`. Raises UserError for
    absolute paths, `..`, links, devices, repeated names, and for more or larger members than an archive of that size
    may have, before `into` is visible.
    """
    if into.exists():
        raise UserError(f"{into}: exists already; remove it to unpack {archive} again")
    temporary = into.with_name(f".unpacking.{into.name}")
    with open(archive, "rb") as lock:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        if into.exists():
            return  # another process has just unpacked it
        temporary.mkdir(parents=True, exist_ok=True)
        try:
            _unpack(archive, temporary, PurePosixPath(folder))
        except (*BAD_ZIP, *BAD_TAR) as error:
            if isinstance(error, OSError) and error.errno in OF_THE_DISK:
                raise
            shutil.rmtree(temporary, ignore_errors=True)
            raise UserError(f"{archive}: cannot be unpacked ({error}); fetch it again") from None
        except UserError:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        os.rename(temporary, into)


def _unpack(archive: Path, out: Path, folder: PurePosixPath) -> None:
    seen: set[PurePosixPath] = set()
    total = count = 0
    for name, size, content in _contents(archive):
        path = PurePosixPath(name)
        # A backslash or a drive letter is a path only on Windows; no archive we know has either.
        if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name:
            raise UserError(f"{archive}: {name!r}: points outside the archive; do not use this file")
        if (count := count + 1) > MEMBERS:
            raise UserError(f"{archive}: has more than {MEMBERS:,} members; do not use this file")
        _check_size(archive, total := total + size)
        if content is None or not path.is_relative_to(folder):
            continue
        if path in seen:
            raise UserError(f"{archive}: {name!r}: is in the archive twice; do not use this file")
        seen.add(path)
        target = out / path.relative_to(folder)
        if target.is_file() and target.stat().st_size == size:
            continue  # of an earlier call: a file gets its name when it is whole
        target.parent.mkdir(parents=True, exist_ok=True)
        part = out / PART
        with content() as source, writing(target), open(part, "wb") as file:
            shutil.copyfileobj(source, file, BLOCK)
        os.replace(part, target)
    if not seen:
        raise UserError(f"{archive}: holds no file in {folder}; fetch it again")


def _check_size(archive: Path, size: int) -> None:
    if size > max(SMALL, RATIO * archive.stat().st_size):
        raise UserError(f"{archive}: unpacks to more than {RATIO} times its size; do not use this file")


def _contents(archive: Path) -> Iterator[tuple[str, int, Callable[[], IO[bytes]] | None]]:
    """Name, bytes and content of each member, in order; the content of a directory is None."""
    if zipfile.is_zipfile(archive):
        with _open_zip(archive) as file:
            for info in file.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise UserError(f"{archive}: {info.filename!r}: a link or a device; do not use this file")
                yield info.filename, info.file_size, None if info.filename.endswith("/") else partial(file.open, info)
        return
    with open(archive, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        stream = _Bounded(gzip.GzipFile(fileobj=raw) if packed else raw)
        tar = tarfile.TarFile(fileobj=stream)  # type: ignore[arg-type]
        while (member := tar.next()) is not None:
            if not (member.isreg() or member.isdir()):
                raise UserError(f"{archive}: {member.name!r}: a link or a device; do not use this file")
            yield member.name, member.size, partial(_member, tar, member) if member.isreg() else None
            tar.members.clear()  # type: ignore[attr-defined] # of which it keeps every one


def _member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member)
    assert content is not None
    return content


def _open_zip(archive: Path) -> zipfile.ZipFile:
    """The zip; UserError where its list of members would fill the memory. Raises one of BAD_ZIP."""
    with open(archive, "rb") as file:
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined] # what ZipFile goes by, None of no zip
        if end and end[zipfile._ECD_SIZE] > DIRECTORY:  # type: ignore[attr-defined]
            raise UserError(f"{archive}: has more than {MEMBERS:,} members; do not use this file")
    return zipfile.ZipFile(archive)


class _Bounded:
    """A stream for tarfile: a tar's header can ask for any number of bytes at once."""

    def __init__(self, stream: Any):
        self.seek, self.tell, self._read = stream.seek, stream.tell, stream.read

    def read(self, size: int) -> bytes:
        if not 0 <= size <= HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        data: bytes = self._read(size)
        return data
