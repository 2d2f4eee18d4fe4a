"""From a corpus' name to its reader."""

from pathlib import Path

from captionrl.datasets import charades, coco, flickr8k, flickr30k, msrvtt, msvd, own, tgif
from captionrl.datasets.corpus import Corpus
from captionrl.errors import UserError

READERS = {
    "charades": charades.read,
    "charades-annotations": charades.read_people_apart,
    "coco": coco.read,
    "coco-82k": coco.read_without_restval,
    "flickr8k": flickr8k.read,
    "flickr30k": flickr30k.read,
    "msrvtt": msrvtt.read,
    "msvd": msvd.read,
    "msvd-laptop": msvd.read,  # outputs are named by corpus: those of two scales must not meet
    "tgif": tgif.read,
}
NAMES = f"{', '.join(READERS)}, one of these with -mini, or the name of a corpus of your own"


def read_corpus(name: str, raw: Path) -> Corpus:
    """Read the annotation below the directory `raw`; `NAME-mini` has the format, and so the reader, of `NAME`.

    A corpus of any other name is a user's own (`own.py`).
    """
    raw = Path(raw)
    if not is_known(name):
        if name.endswith("-mini"):
            raise UserError(f"{name}: no such data set; one of your own must not end in -mini, rendered ones do")
        path = own.captions_file(raw)
        if path is None:
            what = f"neither a data set ({', '.join(READERS)}, or one of these with -mini) nor a corpus of your own"
            raise UserError(f"{name}: {what}: {raw} has no {own.JSONL} and no {own.CSV}; write one of these files")
        return own.read(name, path)
    return READERS[name.removesuffix("-mini")](name, raw)


def is_known(name: str) -> bool:
    """Whether a corpus of this name is one of the data sets, not a user's own."""
    return name.removesuffix("-mini") in READERS
