"""Archives from the internet: members are read by name; unpacking trusts nothing."""

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from captionrl.errors import UserError
from captionrl.files import atomic_folder

# All that zipfile raises on a damaged, encrypted or exotically compressed file.
BAD_ZIP = (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, OSError)
MOST = 2**30  # bytes of a member that is read into memory; the largest of a data set's is a fifth of it
BAD_TAR = (tarfile.TarError, zlib.error, EOFError, OSError)


def members(archive: Path) -> list[str]:
    """The names of the files in a zip, without directories and macOS's `__MACOSX/` shadows."""
    try:
        with zipfile.ZipFile(archive) as file:
            names = [info.filename for info in file.infolist() if not info.is_dir()]
    except BAD_ZIP as error:
        raise UserError(f"{archive}: not a readable zip ({error}); fetch it again") from None
    return [name for name in names if not name.startswith("__MACOSX/")]


def read_member(archive: Path, name: str) -> bytes:
    """The bytes of the one member called `name`, in whatever folder of the zip; nothing is written to disk.

    Raises UserError where there is not just one, where it cannot be unpacked, and for more than MOST bytes.
    """
    found = [member for member in members(archive) if member == name or PurePosixPath(member).name == name]
    if len(found) != 1:
        raise UserError(f"{archive}: must hold one {name}, but holds {len(found) or 'none'}; fetch it again")
    try:
        with zipfile.ZipFile(archive) as file:
            if (size := file.getinfo(found[0]).file_size) > MOST:  # zipfile reads no more than what it says
                raise UserError(f"{archive}: {name}: claims {size:,} bytes, more than {MOST:,}; do not use this file")
            return file.read(found[0])
    except BAD_ZIP as error:
        raise UserError(f"{archive}: {name}: cannot be unpacked ({error}); fetch the archive again") from None


def unpack(archive: Path, into: Path) -> None:
    """Unpack a zip or tar as the new directory `into`: wholly, or not at all.

    Raises UserError for absolute paths, `..`, links, devices and repeated names, before anything is visible.
    """
    if into.exists():
        raise UserError(f"{into}: exists already; remove it to unpack {archive} again")
    with atomic_folder(into) as temporary:
        try:
            _unpack(archive, temporary)
        except (*BAD_ZIP, *BAD_TAR) as error:
            if isinstance(error, OSError) and error.errno:  # the disk's
                raise
            raise UserError(f"{archive}: cannot be unpacked ({error}); fetch it again") from None


def _unpack(archive: Path, into: Path) -> None:
    for name, content in _contents(archive):
        path = PurePosixPath(name)
        # A backslash or a drive letter is a path only on Windows; no archive we know has either.
        if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name:
            raise UserError(f"{archive}: {name!r}: points outside the archive; do not use this file")
        target = into / path
        if content is None:
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            raise UserError(f"{archive}: {name!r}: is in the archive twice; do not use this file")
        with content, open(target, "wb") as file:
            shutil.copyfileobj(content, file, 1 << 20)


def _contents(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Name and content of each member, in order; the content of a directory is None."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise UserError(f"{archive}: {info.filename!r}: a link or a device; do not use this file")
                yield info.filename, None if info.is_dir() else file.open(info)
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            if not (member.isreg() or member.isdir()):
                raise UserError(f"{archive}: {member.name!r}: a link or a device; do not use this file")
            yield member.name, tar.extractfile(member) if member.isreg() else None
