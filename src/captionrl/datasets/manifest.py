"""The files of `downloads.yaml`: what they are, where they come from, whether they are there and whole."""

import errno
import hashlib
import os
import shlex
from collections.abc import Iterable
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, model_validator

from captionrl.config.base import complaint
from captionrl.config.load import read_yaml
from captionrl.datasets.archives import read_member
from captionrl.datasets.corpus import Corpus
from captionrl.errors import UserError
from captionrl.files import check_listing, decode_utf8, digest, read_bytes

PACKAGED = Path(__file__).with_name("downloads.yaml")
VARIABLE = "CAPTIONRL_DOWNLOADS"  # of the environment: the path of a manifest to take instead
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+/\S*$")]
# Below the raw directory and nowhere else; with / at the end it is a folder.
Place = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*/?$")]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+$")]
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f]+$")]
FOLDERS = {"coco-2017": "coco", "coco-server": "coco"}  # of groups whose files lie in another's directory


class Entry(BaseModel):
    """One file (or folder of media) of the manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Line
    what: Line
    licence: Line
    into: Place
    url: Url | None = None
    mirrors: tuple[Url, ...] = ()
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{8,64}$")  # whole, or the prefix its publisher gives
    sha1: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")  # where nobody gives a SHA-256
    md5: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")  # likewise
    git: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")  # likewise, the id of a blob
    recorded: bool = False  # nobody gives any: that of the first transfer is kept in FILE.sha256, and checked after
    bytes: int | None = Field(default=None, gt=0)
    about: int | None = Field(default=None, gt=0)  # bytes, where nobody gives the exact number
    unpack: Place | None = None  # `url` is an archive, of which this folder becomes `into`
    listed: tuple[Place, ...] = ()  # lists of urls, a line each, whose files make up `into`
    shared: Word | None = None  # the group whose file of the same name, in the folder beside this one, is linked here
    accept: Word | None = None  # the licence that a user must accept, whose text is at `terms`
    terms: Url | None = None
    by_hand: bool = False
    source: Line | None = Field(default=None, alias="from")
    instead: tuple[Place | tuple[Place, ...], ...] = ()  # what serves as well; a list: all of it together

    @model_validator(mode="after")
    def _from_one_place(self) -> "Entry":
        if [bool(self.url), self.by_hand, bool(self.listed), bool(self.shared)].count(True) != 1:
            raise ValueError("wants one of `url`, `listed`, `shared` and `by_hand`")
        if self.by_hand and not self.source:
            raise ValueError("by_hand wants `from`")
        if self.url and not (self.sha256 or self.sha1 or self.md5 or self.git or self.recorded):
            raise ValueError("a file to fetch wants `sha256`, or `recorded: true` where nobody gives a checksum")
        if (self.url or self.listed) and self.is_folder != bool(self.unpack or self.listed):
            raise ValueError("`into` ends in / where `unpack` or `listed` says what it holds, and nowhere else")
        if self.accept and not self.terms:
            raise ValueError("accept wants `terms`, the address of the licence")
        return self

    @property
    def is_folder(self) -> bool:
        return self.into.endswith("/")

    @property
    def file(self) -> str:
        """What a transfer brings, below the raw directory: an archive or the file itself."""
        return PurePosixPath(urlsplit(self.url).path).name if self.unpack and self.url else self.into

    @property
    def size(self) -> int:
        """Bytes to transfer, 0 where nobody knows."""
        return self.bytes or self.about or 0

    @property
    def alternatives(self) -> list[tuple[str, ...]]:
        """What serves, each a list of files and folders that must all be there; first what is fetched."""
        return [(self.into,), *((one,) if isinstance(one, str) else one for one in self.instead)]


def manifest() -> dict[str, list[Entry]]:
    """The entries by group: of the package's downloads.yaml, or of the file that VARIABLE names."""
    return read_manifest(Path(os.environ.get(VARIABLE) or PACKAGED))


@cache
def read_manifest(path: Path) -> dict[str, list[Entry]]:
    """Raises UserError with the place of what is no manifest."""
    raw = read_yaml(path)
    try:
        return TypeAdapter(dict[Word, list[Entry]]).validate_python(raw)
    except ValidationError as error:
        raise UserError(f"{path}: {complaint(error, Entry)}") from None


def find(path: str) -> Entry | None:
    """The entry of a file in a raw directory: its own, or that of the folder it lies in."""
    for entry in (entry for group in manifest().values() for entry in group):
        for place in (place for files in entry.alternatives for place in files):
            if path == place or (place.endswith("/") and path.startswith(place)):
                return entry
    return None


def directory_of(group: str) -> Path:
    """Where the workflow looks for the files of a group."""
    return Path("data", FOLDERS.get(group, group))


def source(path: str) -> str:
    """Where a file of a raw directory comes from, in words."""
    entry = find(path)
    return f"{entry.what}; from: {origin(entry)}" if entry else "not in downloads.yaml"


def remedy(raw: Path, path: str, put: str = "put it there") -> str:
    """What to do about a file that is not in a raw directory: the command that fetches it, if one does, or by hand."""
    entry = find(path)
    into = entry.into if entry else None
    holds = {name: [e for e in entries if e.into == into and not e.by_hand] for name, entries in manifest().items()}
    groups = [
        name for name, entries in holds.items() if any(not e.shared for e in entries)
    ]  # or links, of others' files
    group = raw.name if holds.get(raw.name) else next(iter(groups), None)
    elsewhere = group is not None and raw != directory_of(group) and not raw.name.endswith("-mini")
    into_it = f" --into {shlex.quote(str(raw))}" if elsewhere and (holds.get(raw.name) or len(groups) == 1) else ""
    way = f"`captionrl download {group}{into_it}`, or {put}" if group else f"{put} by hand"
    return f"{way} ({source(path)})"


def origin(entry: Entry) -> str:
    """Where it comes from."""
    return (
        entry.source or entry.url or (f"the urls in {', '.join(entry.listed)}" if entry.listed else f"{entry.shared}")
    )


def annotation(raw: Path, name: str) -> bytes:
    """What an annotation file of a raw directory holds; UserError says where to get it."""
    if not (raw / name).is_file():
        raise UserError(f"{raw / name}: no such file; {remedy(raw, name)}")
    return read_bytes(raw / name)


def read_annotation(raw: Path, name: str, archive: str) -> tuple[bytes, str, str]:
    """The annotation file `name` of `raw`, or else the member of that name of `archive`.

    Returns its bytes, its name for messages, and the file it came from relative to `raw`.
    """
    if (raw / name).is_file():
        return read_bytes(raw / name), str(raw / name), name
    if (raw / archive).is_file():
        return read_member(raw / archive, name), f"{raw / archive}: {name}", archive
    raise UserError(f"{raw / name}: no such file, nor {archive}; {remedy(raw, name, f'put either into {raw}')}")


def verify(entry: Entry, path: Path, record: Path | None = None) -> str | None:
    """What is wrong with the file at `path`, by the size and checksum we know; None if nothing.

    `record`: where the checksum of the first transfer is kept, by default beside the file.
    """
    if entry.bytes is not None and (size := path.stat().st_size) != entry.bytes:
        return f"has {size:,} bytes, not {entry.bytes:,}"
    for name, algorithm, wanted in (
        ("SHA-256", "sha256", entry.sha256 or recorded(record or record_of(path)) if entry.recorded else entry.sha256),
        ("SHA-1", "sha1", entry.sha1),
        ("MD5", "md5", entry.md5),
    ):
        if wanted is not None and not (found := digest(path, algorithm)).startswith(wanted):
            return f"has {name} {found[: len(wanted)]}, not {wanted}"
    if entry.git is not None and (found := _git_blob(path)) != entry.git:
        return f"has the git blob id {found}, not {entry.git}"
    return None


def record_of(path: Path) -> Path:
    """Where the checksum of a file's first transfer is kept, in the form of `sha256sum`."""
    return path.with_name(f"{path.name}.sha256")


def recorded(record: Path) -> str | None:
    if not record.is_file():
        return None
    words = decode_utf8(read_bytes(record), record).split()
    if not words:
        raise UserError(f"{record}: holds no checksum; remove it")
    return words[0]


def _git_blob(path: Path) -> str:
    with open(path, "rb") as file:
        header = b"blob %d\0" % path.stat().st_size
        return hashlib.file_digest(file, lambda: hashlib.sha1(header)).hexdigest()


def check_raw(raw: Path, *, gone: bool = False) -> None:
    """Raise UserError for a raw.json that is no list of files below `raw` with their bytes: it is a user's.

    `gone`: whether those files may all be gone, as where only what was made of them is kept.
    """

    def fits(found: dict[str, Any]) -> bool:
        plain = all(type(size) is int for size in found.values())
        return not found or (plain and (gone or any((raw / name).exists() for name in found)))

    check_listing(raw / "raw.json", fits)


def require(corpus: Corpus, raw: Path, allowed_failures: int = 0) -> dict[str, int]:
    """The size in bytes of every file the corpus needs, annotation first, then media in the corpus' order.

    Raises one UserError for all that is missing, unless it is no more than `allowed_failures` media: the first file,
    where it comes from, where to put it, and how many others. Annotation of a known checksum is checked against it.
    """
    media = [item.media for item in corpus.items if item.media is not None]
    sizes = {**present(corpus.files, raw), **present(media, raw, allowed_failures)}
    for path in corpus.files:
        entry = find(path)
        if entry and path == entry.file and (wrong := verify(entry, raw / path)):
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
        raise UserError(f"{raw / missing[0]}: {fault}{others}{allowed}; {remedy(raw, missing[0])}")
    return {path: size for path, size in sizes.items() if size}


def file_size(path: Path) -> int:
    """In bytes; 0 where there is none, nor can be one of such a name."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return 0
