"""From a corpus' name to its reader."""

from dataclasses import replace
from pathlib import Path

from captionrl.datasets import charades, coco, flickr8k, msrvtt, msvd, tgif
from captionrl.datasets.corpus import Corpus
from captionrl.errors import UserError

READERS = {
    "charades": charades.read,
    "coco": coco.read,
    "flickr8k": flickr8k.read,
    "msrvtt": msrvtt.read,
    "msvd": msvd.read,
    "tgif": tgif.read,
}
ANNOTATIONS = "-annotations"


def read_corpus(name: str, raw: Path) -> Corpus:
    """Read the annotation below the directory `raw`; `NAME-mini` has the format, and so the reader, of `NAME`.

    So has `NAME-annotations`, whose visual input is made from the annotation too (`features/annotations.py`): its
    items have no media.
    """
    official = name.removesuffix("-mini")
    reader = READERS.get(official.removesuffix(ANNOTATIONS))
    if reader is None:
        raise UserError(f"{name}: no such corpus; choose one of {', '.join(READERS)}, or one of these with -mini")
    corpus = reader(name, Path(raw))
    if official.endswith(ANNOTATIONS):
        corpus = replace(corpus, items=[replace(item, media=None) for item in corpus.items])
    return corpus
