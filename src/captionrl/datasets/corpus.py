"""A corpus: what every data set becomes once it is read."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from captionrl.errors import UserError
from captionrl.files import MOST_CHARACTERS, SURROGATE

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Item:
    """One captioned video, image or GIF; `media` is its file relative to the raw directory, if it has one."""

    id: str
    split: str
    media: str | None


@dataclass(frozen=True)
class Corpus:
    """Items in the order of their annotation, and the captions of each. A split may have no item.

    `origin` says what the captions were read from, for the corpus' metadata; `files` are the annotation files,
    relative to the raw directory.
    """

    name: str
    items: list[Item]
    captions: dict[str, list[str]]
    origin: str
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        place = f"{self.name} ({', '.join(self.files)})" if self.files else self.name
        if not self.items:
            raise UserError(f"{place}: has no item; add some")
        for id, count in Counter(item.id for item in self.items).items():
            # Ids become file names, HDF5 keys and lines of split files: one plain word each.
            if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", id):
                raise UserError(f"{place}: item {id!r}: an id may hold only letters, digits and - _ . ; rename it")
            if count > 1:
                raise UserError(f"{place}: item {id}: listed {count} times; keep one")
        if strange := self.captions.keys() - {item.id for item in self.items}:
            raise UserError(f"{place}: item {min(strange)}: has captions but is not listed; add it or drop them")
        for item in self.items:
            captions = self.captions.get(item.id, [])
            if item.split not in SPLITS:
                raise UserError(f"{place}: item {item.id}: split {item.split!r}; must be one of {SPLITS}")
            if not captions or not all(caption.strip() for caption in captions):
                raise UserError(f"{place}: item {item.id}: no caption, or an empty one; caption it or drop it")
            if (most := max(map(len, captions))) > MOST_CHARACTERS:
                what = f"a caption of {most:,} characters, of at most {MOST_CHARACTERS:,}"
                raise UserError(f"{place}: item {item.id}: {what}; shorten it")
            if SURROGATE.search("".join(captions)):
                raise UserError(f"{place}: item {item.id}: a caption holds half a character (a surrogate); fix it")

    def split(self, split: str) -> list[Item]:
        return [item for item in self.items if item.split == split]


def split_hash(ids: Iterable[str]) -> str:
    """SHA-256 over the sorted ids, one a line: equal for equal splits, whatever their order."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()
