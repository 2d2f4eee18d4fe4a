"""Getting the files of `downloads.yaml`: fetched where we may, else checked where the user put them."""

import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, model_validator
from tqdm import tqdm

from captionrl.datasets.corpus import Corpus
from captionrl.errors import UserError
from captionrl.files import digest, read_bytes

Url = Annotated[str, StringConstraints(pattern=r"^https?://")]


class Entry(BaseModel):
    """One file (or folder of media) of the manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    what: str
    licence: str
    into: str
    url: Url | None = None
    mirrors: tuple[Url, ...] = ()
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{8,64}$")  # whole, or the prefix its publisher tells
    sha1: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")  # where nobody tells a SHA-256
    bytes: int | None = Field(default=None, gt=0)
    by_hand: bool = False
    source: str | None = Field(default=None, alias="from")
    instead: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fetched_or_by_hand(self) -> "Entry":
        if self.by_hand and (not self.source or self.url):
            raise ValueError("by_hand wants `from`, not `url`")
        if not self.by_hand and not (self.url and (self.sha256 or self.sha1)):
            raise ValueError("a file to fetch wants `url` and `sha256`")
        return self


@cache
def manifest() -> dict[str, list[Entry]]:
    """The entries of downloads.yaml by group."""
    text = Path(__file__).with_name("downloads.yaml").read_text(encoding="utf-8")
    return TypeAdapter(dict[str, list[Entry]]).validate_python(yaml.safe_load(text))


def find(path: str) -> Entry | None:
    """The entry of a file in a raw directory: its own, or that of the folder it lies in."""
    for entry in (entry for group in manifest().values() for entry in group):
        if path == entry.into or path in entry.instead or (entry.into[-1] == "/" and path.startswith(entry.into)):
            return entry
    return None


def source(path: str) -> str:
    """Where a file of a raw directory comes from, in words."""
    entry = find(path)
    return f"{entry.what}; from: {entry.source or entry.url}" if entry else "not in downloads.yaml"


def annotation(raw: Path, name: str) -> bytes:
    """What an annotation file of a raw directory holds; UserError says where to get it."""
    if not (raw / name).is_file():
        raise UserError(f"{raw / name}: no such file; put it there by hand ({source(name)})")
    return read_bytes(raw / name)


def verify(entry: Entry, path: Path) -> str | None:
    """What is wrong with the file at `path`, by the size and checksum we know; None if nothing."""
    if entry.bytes is not None and (size := path.stat().st_size) != entry.bytes:
        return f"has {size:,} bytes, not {entry.bytes:,}"
    for algorithm, wanted in (("sha256", entry.sha256), ("sha1", entry.sha1)):
        if wanted is not None and not (found := digest(path, algorithm)).startswith(wanted):
            return f"has SHA-{algorithm.removeprefix('sha')} {found[: len(wanted)]}, not {wanted}"
    return None


def require(corpus: Corpus, raw: Path) -> dict[str, int]:
    """The size in bytes of every file the corpus needs, annotation first, then media in the corpus' order.

    Raises one UserError for all that is missing: the first file, where it comes from, where to put it, and how many
    others. Annotation of a known checksum is checked against it.
    """
    sizes = present([*corpus.files, *(item.media for item in corpus.items if item.media is not None)], raw)
    for path in corpus.files:
        entry = find(path)
        if entry and path == entry.into and (wrong := verify(entry, raw / path)):
            raise UserError(f"{raw / path}: {wrong}; put the official file there ({source(path)})")
    return sizes


def present(files: Iterable[str], raw: Path) -> dict[str, int]:
    """The size in bytes of every file below `raw`; UserError names the first that is missing or empty."""
    sizes = {path: _size(raw / path) for path in files}
    if missing := [path for path, size in sizes.items() if not size]:
        others = f" (and {len(missing) - 1:,} more)" if len(missing) > 1 else ""
        fault = "missing" if not (raw / missing[0]).exists() else "empty"
        raise UserError(f"{raw / missing[0]}: {fault}{others}; put it there by hand ({source(missing[0])})")
    return sizes


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def fetch(entry: Entry, directory: Path, *, opener: Callable[..., Any] = urllib.request.urlopen) -> Path:
    """Bring a file of the manifest below `directory`; return its path.

    A file already there is verified, not fetched again. A cut transfer leaves `FILE.part`, from which the next
    attempt, or the next mirror, goes on. The file gets its name only once size and checksum are right.
    """
    target = directory / entry.into
    if target.exists():
        if fault := verify(entry, target):
            raise UserError(f"{target}: {fault}; remove it to fetch it again ({source(entry.into)})")
        return target
    if entry.url is None:
        raise UserError(f"{target}: missing; put it there by hand ({source(entry.into)})")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    faults = []
    for url in (entry.url, *entry.mirrors):
        try:
            _fetch_from(url, entry, part, opener)
        except (OSError, http.client.HTTPException) as error:
            faults.append(f"{url}: {' '.join(str(error).split()) or type(error).__name__}")
            continue
        os.replace(part, target)
        return target
    raise UserError(f"{target}: could not be fetched ({'; '.join(faults)}); put {entry.url} there by hand")


def _fetch_from(url: str, entry: Entry, part: Path, opener: Callable[..., Any]) -> None:
    """Fill `part` from `url` until it is whole and right; OSError says why it cannot be."""
    inherited = _size(part) > 0
    while True:
        before = _size(part)
        try:
            _transfer(url, entry, part, opener)
        except (OSError, http.client.HTTPException):
            if _size(part) > before:  # a connection that brought something is worth another try
                continue
            raise
        if not (fault := verify(entry, part)):
            return
        part.unlink()
        if not inherited:
            raise OSError(f"what came {fault}")
        inherited = False  # the bytes of an earlier attempt may be at fault: once more, from nothing


def _transfer(url: str, entry: Entry, part: Path, opener: Callable[..., Any]) -> None:
    """One request, which goes on where `part` ends if the server can; OSError if the body is cut short."""
    offset = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={offset}-"} if offset else {})
    try:
        response = opener(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is left to send: `part` is whole, or wrong, and verify() will tell
            return
        raise
    with response:
        resumed = response.status == 206
        if resumed and not re.match(rf"bytes {offset}-", response.headers.get("Content-Range") or ""):
            raise OSError("the server sent another range than the one asked for")
        length = response.headers.get("Content-Length")
        end = (offset if resumed else 0) + int(length) if length else entry.bytes
        if entry.bytes and end != entry.bytes:
            raise OSError(f"the server offers {end:,} bytes, not {entry.bytes:,}")
        with (
            open(part, "ab" if resumed else "wb") as file,
            tqdm(total=end, initial=file.tell(), desc=entry.name, unit="B", unit_scale=True, disable=None) as bar,
        ):
            while block := response.read(1 << 16):
                if end is not None and file.tell() + len(block) > end:
                    raise OSError(f"the server sends more than the {end:,} bytes it announced")
                file.write(block)
                bar.update(len(block))
            file.flush()
            os.fsync(file.fileno())
            if end is not None and file.tell() < end:
                raise OSError(f"the connection was cut at {file.tell():,} of {end:,} bytes")
