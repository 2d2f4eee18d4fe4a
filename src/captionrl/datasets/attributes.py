"""A corpus' attributes: the most frequent nouns, verbs and adjectives of its training captions.

The list is a table that people can read, TSV: attribute, part of speech, training captions and clips with it, and its
forms. A clip has an attribute if one of its captions has one of these forms.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from captionrl.datasets.records import lines
from captionrl.errors import UserError
from captionrl.files import read_bytes, write_text

HEADER = "attribute\tpart of speech\tcaptions\tclips\tforms"


@dataclass(frozen=True)
class Attribute:
    name: str  # the lemma
    part: str  # of speech, as it mostly is: noun, verb or adjective
    captions: int  # of the training ones, those in which the tagger saw it as a content word
    clips: int  # likewise
    forms: tuple[str, ...]  # tokens, the most frequent first


@dataclass(frozen=True)
class Attributes:
    """The most frequent attribute first."""

    listed: tuple[Attribute, ...]

    @property
    def names(self) -> list[str]:
        return [attribute.name for attribute in self.listed]

    def of(self, captions: Sequence[Sequence[str]]) -> list[bool]:
        """Which of the attributes an item with these tokenised captions has."""
        words = {token for tokens in captions for token in tokens}
        return [not words.isdisjoint(attribute.forms) for attribute in self.listed]

    def save(self, path: Path) -> None:
        rows = ("\t".join((a.name, a.part, str(a.captions), str(a.clips), " ".join(a.forms))) for a in self.listed)
        write_text(path, "".join(f"{row}\n" for row in (HEADER, *rows)))

    @classmethod
    def load(cls, path: Path) -> "Attributes":
        (_, header), *rows = [*lines(read_bytes(path), str(path))] or [("", "")]
        if header != HEADER:
            raise UserError(f"{path}: not a list of attributes (its first line); make it again")
        listed = []
        for at, row in rows:
            fields = row.split("\t")
            if len(fields) != 5 or not all(re.fullmatch(r"\d{1,9}", field) for field in fields[2:4]):
                raise UserError(f"{at}: must be {HEADER.expandtabs(1)}, with tabs between; make the list again")
            listed.append(Attribute(fields[0], fields[1], int(fields[2]), int(fields[3]), tuple(fields[4].split(" "))))
        return cls(tuple(listed))
