"""A prepared corpus, read back: what prepare.py wrote, for whoever does without the raw files."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from captionrl.datasets.corpus import SPLITS, Item
from captionrl.datasets.parquet import read_table
from captionrl.errors import UserError
from captionrl.files import decode_utf8, read_bytes

SCHEMA = pa.schema(
    [
        ("item", pa.string()),
        ("split", pa.string()),
        ("index", pa.int32()),  # of the caption within its item
        ("raw", pa.string()),
        ("tokens", pa.list_(pa.string())),  # PTB, lower-cased; with or without punctuation
    ]
)


@dataclass(frozen=True)
class Captions:
    """A prepared corpus: the items of each split, and by item id the raw and the tokenised captions."""

    items: dict[str, list[Item]]
    raw: dict[str, list[str]]
    tokens: dict[str, list[list[str]]]

    def require(self, splits: Iterable[str], place: Path, what: str, at_least: int = 1) -> None:
        """Raise UserError, which names `place`, where a split has fewer items than `what` needs."""
        for split in splits:
            if not self.items[split]:
                raise UserError(f"{place}: no item in split {split}, and {what} needs some; give items that split")
            if (count := len(self.items[split])) < at_least:
                raise UserError(f"{place}: {count} item in split {split}, and {what} needs {at_least}; give it more")


def load_captions(directory: Path) -> Captions:
    """Read back what `prepare` wrote, in the corpus' order."""
    items = {}
    for split in SPLITS:
        path = directory / "splits" / f"{split}.txt"
        fields = [line.split("\t") for line in decode_utf8(read_bytes(path), path).splitlines()]
        if any(len(line) != 2 for line in fields):
            raise UserError(f"{path}: must hold lines id<TAB>media; prepare the corpus again")
        items[split] = [Item(id, split, media or None) for id, media in fields]
    path = directory / "captions.parquet"
    table = read_table(path, SCHEMA, "prepare the corpus again")
    captions = Captions(items, {}, {})
    columns = (table[name].to_pylist() for name in ("item", "raw", "tokens"))
    for item, raw, tokens in zip(*columns, strict=True):
        captions.raw.setdefault(item, []).append(raw)
        captions.tokens.setdefault(item, []).append(tokens)
    if captions.raw.keys() != {item.id for part in items.values() for item in part}:
        raise UserError(f"{path}: its items are not those of {directory / 'splits'}; prepare the corpus again")
    return captions
