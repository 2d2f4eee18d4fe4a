"""Flickr8k (Hodosh, Young & Hockenmaier, 2013): 8,000 images in the official split, five captions each.

The caption file names 8,092 images. The 92 that no split list names are left out, among them
`2258277193_586949ec62.jpg.1`, which does not exist. The corpus' `origin` says how many were left out.

The data set circulates in other forms, too, which are read where the publisher's captions are absent: as Karpathy's
`dataset_flickr8k.json`, and with the captions in the csv file `captions.txt` (Kaggle), which has no split: the official
lists must lie beside it.
"""

import csv
import io
import re
from pathlib import Path, PurePosixPath

from captionrl.datasets import karpathy
from captionrl.datasets.corpus import Corpus, Item
from captionrl.datasets.manifest import read_annotation
from captionrl.datasets.records import folder_of, lines, plain_name, split_lists
from captionrl.errors import UserError
from captionrl.files import decode_utf8, read_bytes

CAPTIONS = "Flickr8k.token.txt"
LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "val": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}
ARCHIVE = "Flickr8k_text.zip"  # what the publisher packs them in
KARPATHY = "dataset_flickr8k.json"
CSV = "captions.txt"
FOLDERS = ("Flicker8k_Dataset", "Flickr8k_Dataset", "Images", "images")  # the publisher's spelling, and those of others
_LINE = re.compile(r"(\S+)#(\d+)\t\s*(\S.*)")


def read(name: str, raw: Path) -> Corpus:
    """Read caption file and split lists, plain or inside their zip, or one of the other forms. Items stand in the order
    of the lists."""
    folder = folder_of(raw, *FOLDERS)
    if not ((raw / ARCHIVE).is_file() or all((raw / file).is_file() for file in (CAPTIONS, *LISTS.values()))):
        if karpathy.is_there(raw, KARPATHY):
            return karpathy.read_karpathy(name, raw, KARPATHY, "", folder)
        if (raw / CSV).is_file():
            return _read_lists(name, raw, folder, CSV, _csv(read_bytes(raw / CSV), str(raw / CSV)))
    data, place, file = read_annotation(raw, CAPTIONS, ARCHIVE)
    return _read_lists(name, raw, folder, file, _captions(data, place))


def _read_lists(name: str, raw: Path, folder: str, file: str, captions: dict[str, list[str]]) -> Corpus:
    """The images that the split lists name, with their captions, which come from `file`."""
    source = CSV if file == CSV else CAPTIONS
    lists = {split: read_annotation(raw, annotation, ARCHIVE) for split, annotation in LISTS.items()}
    items: list[Item] = []
    kept: dict[str, list[str]] = {}
    for image, (split, at) in split_lists((split, *found[:2]) for split, found in lists.items()).items():
        id = PurePosixPath(plain_name(image, at)).stem
        if id in kept:
            raise UserError(f"{at}: {image}: another image is called {id} too; keep one")
        if image not in captions:
            raise UserError(f"{at}: {image} has no caption in {source}; caption it or take it from the list")
        items.append(Item(id, split, f"{folder}/{image}"))
        kept[id] = captions[image]
    files = dict.fromkeys([file, *(found[2] for found in lists.values())])
    origin = f"{source} and the official split lists; {len(captions) - len(items)} images in no list left out"
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


def _csv(data: bytes, place: str) -> dict[str, list[str]]:
    """By image, from a csv file with the columns image and caption, in the order of the file."""
    captions: dict[str, list[str]] = {}
    reader = csv.reader(io.StringIO(decode_utf8(data, place), newline=""), strict=True)
    try:
        if (header := next(reader, [])) != ["image", "caption"]:
            raise UserError(f"{place}: line 1: {','.join(header)[:80]!r}; must be image,caption; fix the line")
        for row in reader:
            if len(row) != 2 or not all(field.strip() for field in row):
                raise UserError(f"{place}: line {reader.line_num}: must be IMAGE,CAPTION; quote captions with commas")
            captions.setdefault(row[0].strip(), []).append(row[1].strip())
    except csv.Error as error:
        raise UserError(f"{place}: line {reader.line_num}: not csv ({error}); fix the line") from None
    return captions
