"""TGIF (Li et al., CVPR 2016): animated GIFs from Tumblr; one caption each to train on, three each to test on.

`tgif-v1.0.tsv` holds lines URL<TAB>CAPTION, a GIF with several captions on several lines; the official split lists
`splits/{train,val,test}.txt` hold urls: 80,000, 10,708 and 11,360. A GIF's id is the last part of its url without
`.gif` (`tumblr_…`), and its file is `gifs/<id>.gif`: nothing else of the url is used.
"""

from pathlib import Path

from captionrl.datasets.corpus import SPLITS, Corpus, Item
from captionrl.datasets.manifest import annotation
from captionrl.datasets.records import lines, plain_name, split_lists
from captionrl.errors import UserError

CAPTIONS = "tgif-v1.0.tsv"


def read(name: str, raw: Path) -> Corpus:
    """Read the caption file and the split lists. Items stand in the order of the lists."""
    captions = _captions(annotation(raw, CAPTIONS), str(raw / CAPTIONS))
    lists = {split: f"splits/{split}.txt" for split in SPLITS}
    listed = split_lists((split, annotation(raw, file), str(raw / file)) for split, file in lists.items())
    items: list[Item] = []
    kept: dict[str, list[str]] = {}
    for url, (split, at) in listed.items():
        id = _id(url, at)
        if id in kept:
            raise UserError(f"{at}: {url}: another GIF is called {id} too; keep one")
        if url not in captions:
            raise UserError(f"{at}: {url} has no caption in {CAPTIONS}; caption it or take it from the list")
        items.append(Item(id, split, f"gifs/{id}.gif"))
        kept[id] = captions[url]
    origin = f"{CAPTIONS} and the official split lists; {len(captions) - len(items)} GIFs in no list left out"
    return Corpus(name, items, kept, origin, (CAPTIONS, *lists.values()))


def _captions(data: bytes, place: str) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = {}
    for at, line in lines(data, place):
        url, _, caption = line.partition("\t")
        if not caption.strip():
            raise UserError(f"{at}: {line[:80]!r}; must be URL<TAB>CAPTION; fix the line")
        captions.setdefault(url.strip(), []).append(caption.strip())
    return captions


def _id(url: str, at: str) -> str:
    name = url.rpartition("/")[2]
    if not name.endswith(".gif"):
        raise UserError(f"{at}: {url[:80]!r}; must be the url of a .gif; fix the line")
    return plain_name(name.removesuffix(".gif"), at)
