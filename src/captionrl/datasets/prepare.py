"""From a corpus to what the trainers read: tokenised captions, a vocabulary, split lists, statistics."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from captionrl.datasets.corpus import SPLITS, Corpus, Item, split_hash
from captionrl.datasets.prepared import SCHEMA
from captionrl.errors import UserError
from captionrl.files import atomic, write_json, write_text
from captionrl.text import ptb
from captionrl.text.punctuation import strip_punctuation
from captionrl.text.vocabulary import Vocabulary

Counted = Literal["train", "all"]  # the items in whose captions words are counted for the vocabulary


def prepare(
    corpus: Corpus, out: Path, min_count: int, counted: Counted = "train", punctuation: bool = True
) -> dict[str, Any]:
    """Write captions.parquet, vocabulary.json, splits/*.txt and, last, metadata.json below `out`, and return that.

    A word that `counted` items' captions have less than `min_count` times is in no vocabulary. Without `punctuation`
    models neither read nor write it.
    """
    tokens, vocabulary, metadata = _prepared(corpus, min_count, counted, punctuation)
    columns = {
        "item": [item.id for item in corpus.items for _ in tokens[item.id]],
        "split": [item.split for item in corpus.items for _ in tokens[item.id]],
        "index": [index for item in corpus.items for index in range(len(tokens[item.id]))],
        "raw": [caption for item in corpus.items for caption in corpus.captions[item.id]],
        "tokens": [caption for item in corpus.items for caption in tokens[item.id]],
    }
    with atomic(out / "captions.parquet") as temporary:
        pq.write_table(pa.table(columns, schema=SCHEMA), temporary, compression="zstd")
    vocabulary.save(out / "vocabulary.json")
    for split in SPLITS:
        lines = [f"{item.id}\t{item.media or ''}\n" for item in corpus.split(split)]
        write_text(out / "splits" / f"{split}.txt", "".join(lines))
    write_json(out / "metadata.json", metadata)
    return metadata


def describe(corpus: Corpus, min_count: int, counted: Counted = "train", punctuation: bool = True) -> dict[str, Any]:
    """The metadata that `prepare` would write."""
    return _prepared(corpus, min_count, counted, punctuation)[2]


def tokenize(corpus: Corpus, punctuation: bool = True) -> dict[str, list[list[str]]]:
    """The PTB tokens of every caption, by item."""
    found = ptb.tokenize([caption for item in corpus.items for caption in corpus.captions[item.id]])
    tokens = iter(found if punctuation else map(strip_punctuation, found))
    by_item = {item.id: [next(tokens) for _ in corpus.captions[item.id]] for item in corpus.items}
    for id, captions in by_item.items():
        if not all(captions):
            raise UserError(f"{corpus.name}: item {id}: a caption without a single token; caption it or drop it")
    return by_item


def _prepared(
    corpus: Corpus, min_count: int, counted: Counted, punctuation: bool
) -> tuple[dict[str, list[list[str]]], Vocabulary, dict[str, Any]]:
    """Tokens by item, vocabulary and metadata."""
    tokens = tokenize(corpus, punctuation)
    items = corpus.items if counted == "all" else corpus.split("train")
    vocabulary = Vocabulary.build((caption for item in items for caption in tokens[item.id]), min_count)
    settings = {"min_count": min_count, "counted": counted, "punctuation": punctuation}
    return tokens, vocabulary, {**_metadata(corpus, tokens, vocabulary), **settings}


def _metadata(corpus: Corpus, tokens: dict[str, list[list[str]]], vocabulary: Vocabulary) -> dict[str, Any]:
    """The numbers of the corpus: lengths in PTB tokens, coverage as the share of those tokens that the vocabulary
    holds, both 0 of an empty split, the vocabulary's size with its four specials."""

    def numbers(items: Sequence[Item]) -> dict[str, Any]:
        captions = [caption for item in items for caption in tokens[item.id]]
        words = [word for caption in captions for word in caption]
        return {
            "items": len(items),
            "captions": len(captions),
            "mean_length": round(len(words) / max(1, len(captions)), 4),
            "coverage": round(sum(word in vocabulary for word in words) / max(1, len(words)), 6),
        }

    splits = {split: corpus.split(split) for split in SPLITS}
    return {
        "name": corpus.name,
        "origin": corpus.origin,
        **numbers(corpus.items),
        "splits": {
            split: {**numbers(items), "split_hash": split_hash(item.id for item in items)}
            for split, items in splits.items()
        },
        "vocabulary": len(vocabulary),
    }
