"""Reading and writing files so that nothing is ever half-written, and every complaint names its file."""

import csv
import errno
import hashlib
import io
import json
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any

from captionrl.errors import UserError


def _host() -> str:
    """This machine, or the container on it whose process numbers are its own, in letters and digits.

    What a container that is gone has left is nobody's, and stays.
    """
    try:
        processes = os.readlink("/proc/self/ns/pid")
    except OSError:  # no Linux
        processes = ""
    return hashlib.sha256(f"{socket.gethostname()} {processes}".encode("utf-8", "surrogateescape")).hexdigest()[:8]


HOST = _host()
LONGEST_NAME = 255  # bytes of a file's name
MUCH = 2**27  # bytes: what is smaller may be as dense as it likes, such as a white page of 40 megapixels
DENSEST = 100  # bytes of text, features or pictures in one that is stored; text has ten
MOST_CHARACTERS = 10_000  # of a caption: what is no word takes tokenising time that grows with its square
SURROGATE = re.compile("[\ud800-\udfff]")  # JSON can spell one alone; UTF-8, and so Parquet, cannot
UNREADABLE = "not JSON that can be read (nested too deep, or a number too long)"


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed over `path`.

    Whatever happens inside, `path` is either what it was before or the whole new file. The temporary name keeps
    the suffixes of `path`, since some writers choose their format by them.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        with writing(path):
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        with suppress(OSError):  # what has gone wrong before says more
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it is renamed to `path`, which must not be there by then."""
    temporary = _beside(path)
    try:
        with writing(path):
            temporary.mkdir(parents=True)
            yield temporary
            os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _beside(path: Path) -> Path:
    start, name = f".{os.getpid()}.{HOST}.", os.fsencode(path.name)
    if len(start) + len(name) > LONGEST_NAME:  # its end, with the suffixes, and what tells it from others
        kept = LONGEST_NAME - len(start) - 9
        name = hashlib.sha256(name).hexdigest()[:8].encode() + b"." + name[-kept:]
    return path.with_name(start + os.fsdecode(name))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Let an error of the disk name `path`: a write that failed names no file, or the temporary one."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and not Path(error.filename).is_relative_to(_beside(path)):
            raise
        number = error.errno or errno.EIO  # what a library says in its own words has none
        raise OSError(number, os.strerror(error.errno) if error.errno else str(error), str(path)) from None


@contextmanager
def damage_named(place: Path | str, fault: str, fix: str) -> Iterator[None]:
    """Let whatever a library raises on a damaged file be a UserError: where, `fault` with the reason, `fix`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{place}: {fault} ({reason}); {fix}") from None


def check_claim(claimed: int, stored: int, much: int = MUCH) -> None:
    """Raise ValueError for many bytes that a file claims to be while it stores so few that they can be no data."""
    if claimed > much and claimed > DENSEST * stored:
        raise ValueError(f"claims to be {claimed:,} bytes, in {stored:,}")


def sweep(directory: Path, names: str = "*") -> None:
    """Remove what processes killed inside `atomic` left of files so named; only where no other can be writing them."""
    for leftover in directory.glob(".[0-9]*"):
        start = re.match(r"\.\d+\.[^.]*\.", leftover.name)
        if start and fnmatchcase(leftover.name[start.end() :], names):
            _remove(leftover)


def sweep_killed(directory: Path) -> None:
    """Likewise of all files there, where others may be writing: of processes of this machine that are gone."""
    for leftover in directory.glob(f".[0-9]*.{HOST}.*"):
        with suppress(PermissionError, ValueError, OverflowError):  # another user's process, or no process's file
            try:
                os.kill(int(leftover.name.split(".")[1]), 0)
            except ProcessLookupError:
                _remove(leftover)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def files_below(folder: Path) -> list[Path]:
    """All files in a folder and in those below it, linked ones, too, but none twice; sorted."""
    found: list[Path] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            folders.clear()
            continue
        seen.add(real)
        found += (path for path in (Path(place, name) for name in names) if path.is_file())
    return sorted(found)


def write_text(path: Path | str, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Write JSON with sorted keys, so that equal values give equal bytes."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    # Names of files that are not UTF-8 have half characters, which JSON can spell.
    write_text(path, text.encode("utf-8", "backslashreplace").decode())


def check_listing(path: Path, fits: Callable[[dict[str, Any]], bool]) -> None:
    """Raise UserError for a file in the place of a list {name: what} that is no such list: it is a user's.

    `fits`: whether a JSON object can be one.
    """
    if not path.exists():
        return
    with suppress(UserError):
        found = read_json(path)
        if isinstance(found, dict) and fits(found):
            return
    raise UserError(f"{path}: not the list that captionrl writes there; move it to another place")


def decode_utf8(data: bytes, name: Path | str) -> str:
    """Decode UTF-8, or raise a UserError that names the line of the first byte that is not."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{name}: line {line}: not UTF-8 (byte 0x{data[error.start]:02x}); convert the file to UTF-8"
        ) from None


def parse_json(data: bytes, name: Path | str) -> Any:
    """Parse JSON from bytes; every fault is a UserError that names `name` and the line."""
    try:
        return json.loads(decode_utf8(data, name))
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise UserError(f"{name}: {place}: not JSON ({error.msg}); correct it, or fetch it again") from None
    except (RecursionError, ValueError):
        raise UserError(f"{name}: {UNREADABLE}") from None


def unique_keys(place: Path | str) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    """An object_pairs_hook of json's: a key that stands twice in an object is a UserError; json keeps the last."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys: dict[str, Any] = {}
        for key, value in pairs:
            if key in keys:
                raise UserError(f"{place}: {key!r} stands twice in one object; keep one")
            keys[key] = value
        return keys

    return unique


def strict_csv(path: Path | str) -> tuple[list[str], Iterator[tuple[str, dict[str, str]]]]:
    """The names in a CSV file's first line; and its rows by them, each with a field for every name, after "line N".

    Every fault is a UserError that names the line.
    """
    reader = csv.DictReader(io.StringIO(decode_utf8(read_bytes(path), path), newline=""), strict=True)
    with _csv_faults(reader, path):
        names = _names(reader, path)

    def rows() -> Iterator[tuple[str, dict[str, str]]]:
        with _csv_faults(reader, path):
            for row in reader:
                at = f"line {reader.line_num}"
                if None in row or None in row.values():
                    fix = 'write "…" around a caption that holds a comma'
                    raise UserError(f"{path}: {at}: not {len(names)} fields; {fix}")
                yield at, row

    return names, rows()


def read_csv(path: Path | str) -> list[dict[str, str]]:
    """The rows of a CSV file by its first line's names; every fault is a UserError that names the line."""
    reader = csv.DictReader(io.StringIO(decode_utf8(read_bytes(path), path), newline=""), restval="")
    with _csv_faults(reader, path):
        _names(reader, path)
        rows = list(reader)
    for number, row in enumerate(rows, start=1):
        if None in row:
            raise UserError(f"{path}: row {number}: more fields than the first line has names; correct it")
    return rows


@contextmanager
def _csv_faults(reader: "csv.DictReader[str]", path: Path | str) -> Iterator[None]:
    try:
        yield
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.reader.line_num}: not CSV ({error}); correct it") from None


def _names(reader: "csv.DictReader[str]", path: Path | str) -> list[str]:
    """Raises UserError for a name that stands twice: csv keeps the last of its fields."""
    names = list(reader.fieldnames or ())
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{path}: line 1: the name {name!r} stands twice; keep one")
    return names


def read_bytes(path: Path | str) -> bytes:
    with _opened(path) as file:
        return file.read()


def check_readable(path: Path | str) -> None:
    """Raises UserError for a file that is not there, and for one that may not be read: libraries mix them up.

    And for a pipe: who opens it again waits for ever.
    """
    with suppress(OSError):  # opening says it better
        if Path(path).is_fifo():
            raise UserError(f"{path}: a pipe, which cannot be read here; write it to a file first")
    _opened(path).close()


def _opened(path: Path | str) -> IO[bytes]:
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (IsADirectoryError, PermissionError) as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def read_json(path: Path | str) -> Any:
    return parse_json(read_bytes(path), path)


def sha256(path: Path | str) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    return digest(path, "sha256")


def digest(path: Path | str, algorithm: str) -> str:
    """A file's content in a digest that hashlib knows, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def fingerprint(value: Any) -> str:
    """A short hash of any JSON value, equal for equal values whatever the order of their keys."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:16]
