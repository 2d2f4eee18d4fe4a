"""The Penn Treebank tokens that are punctuation: models read and write them, coco-caption's scores leave them out."""

from collections.abc import Iterable

# What coco-caption's PTBTokenizer leaves out (pycocoevalcap/tokenizer/ptbtokenizer.py).
PUNCTUATION = frozenset(
    ["''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)


def strip_punctuation(tokens: Iterable[str]) -> list[str]:
    """The tokens that coco-caption scores."""
    return [token for token in tokens if token not in PUNCTUATION]
