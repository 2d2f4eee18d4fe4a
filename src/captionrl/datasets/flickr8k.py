"""Flickr8k (Hodosh, Young & Hockenmaier, 2013): 8,000 images in the official split, five captions each.

The caption file names 8,092 images. The 92 that no split list names are left out, among them
`2258277193_586949ec62.jpg.1`, which does not exist. The corpus' `origin` says how many were left out.
"""

import re
from pathlib import Path, PurePosixPath

from captionrl.datasets.corpus import Corpus, Item
from captionrl.datasets.manifest import read_annotation
from captionrl.datasets.records import lines, plain_name, split_lists
from captionrl.errors import UserError

CAPTIONS = "Flickr8k.token.txt"
LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "val": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}
ARCHIVE = "Flickr8k_text.zip"  # what the publisher packs them in
FOLDER = "Flicker8k_Dataset"  # the publisher's spelling
_LINE = re.compile(r"(\S+)#(\d+)\t\s*(\S.*)")


def read(name: str, raw: Path) -> Corpus:
    """Read caption file and split lists, plain or inside their zip. Items stand in the order of the lists."""
    data, place, file = read_annotation(raw, CAPTIONS, ARCHIVE)
    captions = _captions(data, place)
    lists = {split: read_annotation(raw, annotation, ARCHIVE) for split, annotation in LISTS.items()}
    items: list[Item] = []
    kept: dict[str, list[str]] = {}
    for image, (split, at) in split_lists((split, *found[:2]) for split, found in lists.items()).items():
        id = PurePosixPath(plain_name(image, at)).stem
        if id in kept:
            raise UserError(f"{at}: {image}: another image is called {id} too; keep one")
        if image not in captions:
            raise UserError(f"{at}: {image} has no caption in {CAPTIONS}; caption it or take it from the list")
        items.append(Item(id, split, f"{FOLDER}/{image}"))
        kept[id] = captions[image]
    files = dict.fromkeys([file, *(found[2] for found in lists.values())])
    origin = f"{CAPTIONS} and the official split lists; {len(captions) - len(items)} images in no list left out"
    return Corpus(name, items, kept, origin, tuple(files))


def _captions(data: bytes, place: str) -> dict[str, list[str]]:
    """By image, from lines NAME.jpg#NUMBER<TAB>CAPTION, in the order of the file."""
    captions: dict[str, list[str]] = {}
    seen = set()
    for at, line in lines(data, place):
        match = _LINE.fullmatch(line)
        if match is None:
            raise UserError(f"{at}: {line[:80]!r}; must be NAME.jpg#NUMBER<TAB>CAPTION; fix the line")
        image, index, caption = match.groups()
        if (image, index) in seen:
            raise UserError(f"{at}: {image}#{index} is listed twice; keep one")
        seen.add((image, index))
        captions.setdefault(image, []).append(caption)
    return captions
