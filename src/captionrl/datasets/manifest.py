"""The files of `downloads.yaml`: what they are, where they come from, whether they are there and whole."""

import errno
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from captionrl.config.base import complaint
from captionrl.config.load import read_yaml
from captionrl.datasets.archives import read_member
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
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{8,64}$")  # whole, or the prefix its publisher gives
    sha1: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")  # where nobody gives a SHA-256
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
    return read_manifest(Path(__file__).with_name("downloads.yaml"))


def read_manifest(path: Path) -> dict[str, list[Entry]]:
    raw = read_yaml(path)
    try:
        return TypeAdapter(dict[str, list[Entry]]).validate_python(raw)
    except ValidationError as error:
        raise UserError(f"{path}: {complaint(error, Entry)}") from None


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


def read_annotation(raw: Path, name: str, archive: str) -> tuple[bytes, str, str]:
    """The annotation file `name` of `raw`, or else the member of that name of `archive`.

    Returns its bytes, its name for messages, and the file it came from relative to `raw`.
    """
    if (raw / name).is_file():
        return read_bytes(raw / name), str(raw / name), name
    if (raw / archive).is_file():
        return read_member(raw / archive, name), f"{raw / archive}: {name}", archive
    raise UserError(f"{raw / name}: no such file, nor {archive}; put either into {raw} ({source(name)})")


def verify(entry: Entry, path: Path) -> str | None:
    """What is wrong with the file at `path`, by the size and checksum we know; None if nothing."""
    if entry.bytes is not None and (size := path.stat().st_size) != entry.bytes:
        return f"has {size:,} bytes, not {entry.bytes:,}"
    for algorithm, wanted in (("sha256", entry.sha256), ("sha1", entry.sha1)):
        if wanted is not None and not (found := digest(path, algorithm)).startswith(wanted):
            return f"has SHA-{algorithm.removeprefix('sha')} {found[: len(wanted)]}, not {wanted}"
    return None


def require(corpus: Corpus, raw: Path, allowed_failures: int = 0) -> dict[str, int]:
    """The size in bytes of every file the corpus needs, annotation first, then media in the corpus' order.

    Raises one UserError for all that is missing, unless it is no more than `allowed_failures` media: the first file,
    where it comes from, where to put it, and how many others. Annotation of a known checksum is checked against it.
    """
    media = [item.media for item in corpus.items if item.media is not None]
    sizes = {**present(corpus.files, raw), **present(media, raw, allowed_failures)}
    for path in corpus.files:
        entry = find(path)
        if entry and path == entry.into and (wrong := verify(entry, raw / path)):
            raise UserError(f"{raw / path}: {wrong}; put the official file there ({source(path)})")
    return sizes


def present(files: Iterable[str], raw: Path, allowed_failures: int = 0) -> dict[str, int]:
    """The size in bytes of every file below `raw` that is there and not empty.

    UserError, which names the first of them, if more than `allowed_failures` are not.
    """
    sizes = {path: file_size(raw / path) for path in files}
    missing = [path for path, size in sizes.items() if not size]
    if len(missing) > allowed_failures:
        others = f" (and {len(missing) - 1:,} more)" if len(missing) > 1 else ""
        allowed = f", {allowed_failures:,} may be" if allowed_failures else ""
        fault = "missing" if not (raw / missing[0]).exists() else "empty"
        raise UserError(f"{raw / missing[0]}: {fault}{others}{allowed}; put it there by hand ({source(missing[0])})")
    return {path: size for path, size in sizes.items() if size}


def file_size(path: Path) -> int:
    """In bytes; 0 where there is none, nor can be one of such a name."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return 0
