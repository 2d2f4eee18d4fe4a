"""Archives from the internet: members are read by name; unpacking trusts nothing."""

import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from captionrl.errors import UserError
from captionrl.files import check_claim

# All that zipfile raises on a damaged, encrypted or exotically compressed file; and tarfile.
BAD_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, EOFError, OSError, ValueError, struct.error)
BAD_TAR = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, ArithmeticError)


def members(archive: Path) -> list[str]:
    """The names of the files in a zip, without directories and macOS's `__MACOSX/` shadows."""
    try:
        with zipfile.ZipFile(archive) as file:
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
        with zipfile.ZipFile(archive) as file:
            info = file.getinfo(found[0])
            check_claim(info.file_size, info.compress_size)
            return file.read(info)
    except BAD_ZIP as error:
        raise UserError(f"{archive}: {name}: cannot be unpacked ({error}); fetch the archive again") from None


def unpack(archive: Path, into: Path) -> None:
    """Unpack a zip or tar as the new directory `into`: wholly, or not at all.

    Raises UserError for absolute paths, `..`, links, devices and repeated names, before anything is visible.
    """
    if into.exists():
        raise UserError(f"{into}: exists already; remove it to unpack {archive} again")
    into.parent.mkdir(parents=True, exist_ok=True)
    temporary = into.with_name(f".{os.getpid()}.{into.name}")
    temporary.mkdir()
    try:
        claimed = 0
        for name, size, content in _contents(archive):
            claimed += size
            check_claim(claimed, archive.stat().st_size)
            path = PurePosixPath(name)
            # A backslash or a drive letter is a path only on Windows; no archive we know has either.
            if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name:
                raise UserError(f"{archive}: {name!r}: points outside the archive; do not use this file")
            target = temporary / path
            if content is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                raise UserError(f"{archive}: {name!r}: is in the archive twice; do not use this file")
            with content, open(target, "wb") as file:
                shutil.copyfileobj(content, file, 1 << 20)
        os.rename(temporary, into)
    except (*BAD_ZIP, *BAD_TAR) as error:
        raise UserError(f"{archive}: cannot be unpacked ({error}); fetch it again") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _contents(archive: Path) -> Iterator[tuple[str, int, IO[bytes] | None]]:
    """Name, size and content of each member, in order; the content of a directory is None."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise UserError(f"{archive}: {info.filename!r}: a link or a device; do not use this file")
                yield info.filename, info.file_size, None if info.filename.endswith("/") else file.open(info)
        return
    if not tarfile.is_tarfile(archive):
        raise UserError(f"{archive}: cannot be unpacked (neither a zip nor a tar, or one cut off); fetch it again")
    with tarfile.open(archive) as tar:
        for member in tar:
            if not (member.isreg() or member.isdir()):
                raise UserError(f"{archive}: {member.name!r}: a link or a device; do not use this file")
            yield member.name, member.size, tar.extractfile(member) if member.isreg() else None
