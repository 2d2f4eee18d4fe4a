"""A corpus of a user's own: a folder with videos, GIFs and pictures, and one list of their captions.

`captions.jsonl` has a line an item, `{"id": …, "media": …, "captions": [...], "split": …}`; `captions.csv` has a line a
caption, with the columns id, media, caption and split. `media` is a file, relative to the folder. `id` may be left out:
then it is the file's name without its suffix. `split` may be left out of all items: then a hash of its id decides which
part an item is in, so that items added later move no other. `media` may be left out where there is an id, for items of
which there are features only.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from captionrl.config.base import Strict, complaint
from captionrl.datasets.corpus import Corpus, Item
from captionrl.datasets.manifest import file_size
from captionrl.datasets.records import PLAIN, lines
from captionrl.errors import UserError
from captionrl.files import read_bytes, strict_csv, unique_keys

JSONL, CSV = "captions.jsonl", "captions.csv"
COLUMNS = ("id", "media", "caption", "split")
SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}  # of items that are given no split
SHOWN = 10  # missing files that are named; beyond that a count


class Entry(Strict):
    """An item as it is listed."""

    id: str | None = None
    media: str | None = None
    captions: list[str] = Field(min_length=1)
    split: Literal["train", "val", "test"] | None = None

    @model_validator(mode="after")
    def _check(self) -> "Entry":
        if self.media is None and self.id is None:
            raise ValueError("media: is missing; add the item's file, or an id where there are features only")
        if self.media is not None:
            if self.media.startswith("/") or ".." in self.media.split("/") or not PurePosixPath(self.media).name:
                raise ValueError(f"media: {self.media!r}; must be a file of this folder, by its path relative to it")
            if not self.media.isprintable():  # a line of a split list holds it
                raise ValueError(f"media: {self.media!r}; a name may hold no tab and no line break; rename the file")
        if not all(caption.strip() for caption in self.captions):
            raise ValueError("captions: one is empty; write it or take it out")
        return self


def captions_file(raw: Path) -> Path | None:
    """The list of captions in the folder `raw`, if it has one. Raises UserError where it has two."""
    found = [raw / name for name in (JSONL, CSV) if (raw / name).is_file()]
    if len(found) > 1:
        raise UserError(f"{raw}: holds both {JSONL} and {CSV}; keep one")
    return found[0] if found else None


def read(name: str, path: Path) -> Corpus:
    """Read a list of captions, JSONL or CSV. Items stand in its order.

    Raises UserError with file and line for anything malformed and for what is listed twice, and one for all media that
    are missing or empty.
    """
    entries = list(_jsonl(path) if path.name == JSONL else _csv(path))
    if not entries:
        raise UserError(f"{path}: lists no item; write a line for each")
    given = entries[0][1].split is not None
    by_id: dict[str, str] = {}  # where it is listed
    by_media: dict[str, str] = {}
    items: list[Item] = []
    captions: dict[str, list[str]] = {}
    for at, entry in entries:
        if (entry.split is not None) != given:
            what = f"has {'no' if given else 'a'} split, but {entries[0][0]} has {'one' if given else 'none'}"
            raise UserError(f"{at}: {what}; give every item a split, or none")
        media = None if entry.media is None else str(PurePosixPath(entry.media))
        id = _id_of(str(media)) if entry.id is None else entry.id
        if not PLAIN.fullmatch(id):
            raise UserError(f"{at}: id: {id!r}; may hold only letters, digits and - _ . ; give another one")
        if media in by_media:
            raise UserError(f"{at}: media: {media} is listed already ({by_media[media]}); keep one")
        if id in by_id:
            raise UserError(f"{at}: id: {id} is listed already ({by_id[id]}); give them ids that differ")
        by_id[id] = at
        if media is not None:
            by_media[media] = at
        items.append(Item(id, entry.split or split_of(id), media))
        captions[id] = entry.captions
    _check_files(path, list(by_media))
    shares = ", ".join(f"{100 * share:.0f} % {split}" for split, share in SHARES.items())
    how = "split as given" if given else f"split by a hash of the ids ({shares})"
    return Corpus(name, items, captions, f"{path.name}, {how}", (path.name,))


def split_of(id: str) -> str:
    """The split of an item that is given none: its id's SHA-256 as a number below 1, cut at the sums of SHARES."""
    number = int.from_bytes(hashlib.sha256(id.encode()).digest()[:8], "big") / 2**64
    if number < SHARES["train"]:
        return "train"
    return "val" if number < SHARES["train"] + SHARES["val"] else "test"


def _id_of(media: str) -> str:
    """The name of a media file without its suffix, with a - for what an id may not hold."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", PurePosixPath(media).stem).lstrip(".")


def _jsonl(path: Path) -> Iterator[tuple[str, Entry]]:
    """Every item after its place."""
    for at, line in lines(read_bytes(path), str(path)):
        try:
            value = json.loads(line, object_pairs_hook=unique_keys(at))
        except (ValueError, RecursionError) as error:
            where = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
            raise UserError(f"{at}: not JSON ({where}); correct the line") from None
        yield at, _entry(value, at)


def _csv(path: Path) -> Iterator[tuple[str, Entry]]:
    """Every item after the place of its first line; lines of the same id, or else of the same media, are one item's."""
    header, rows = strict_csv(path)
    if not {"caption"} <= set(header) <= set(COLUMNS):
        what = f"columns {', '.join(header) or 'none'}; must be {', '.join(COLUMNS)}, with commas between them"
        raise UserError(f"{path}: line 1: {what} (id and split may be left out)")
    grouped: dict[str | None, tuple[str, dict[str, str | None], list[str]]] = {}
    for line, row in rows:
        at = f"{path}: {line}"
        if not row["caption"].strip():
            raise UserError(f"{at}: caption: is empty; write it or take the line out")
        facts = {key: row.get(key, "").strip() or None for key in ("id", "media", "split")}
        first = grouped.setdefault(facts["id"] or facts["media"], (at, facts, []))
        if facts != first[1]:
            raise UserError(f"{at}: other media or another split than in {first[0]}, of the same item; correct one")
        first[2].append(row["caption"])
    for at, facts, captions in grouped.values():
        yield at, _entry({**facts, "captions": captions}, at)


def _entry(value: Any, at: str) -> Entry:
    if not isinstance(value, dict):
        raise UserError(f"{at}: must be an object, {{…}}, not {str(value)[:40]!r}; correct the line")
    try:
        return Entry.model_validate(value)
    except ValidationError as error:
        raise UserError(f"{at}: {complaint(error, Entry)}") from None


def _check_files(path: Path, media: list[str]) -> None:
    if missing := [file for file in media if not file_size(path.parent / file)]:
        names = ", ".join(missing[:SHOWN]) + (f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else "")
        what = f"{len(missing)} of {len(media)} media files are missing or empty"
        raise UserError(f"{path}: {what}: {names}; put them into {path.parent}, or take them off the list")
