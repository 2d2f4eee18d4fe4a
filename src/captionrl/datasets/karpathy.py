"""Karpathy and Fei-Fei's splits (CVPR 2015): one JSON file a data set with images, captions and split of each."""

from functools import cache
from pathlib import Path, PurePosixPath

from captionrl.datasets.corpus import Corpus, Item
from captionrl.datasets.manifest import read_annotation
from captionrl.datasets.records import folder_of, plain_name, records, text
from captionrl.errors import UserError
from captionrl.files import parse_json

ARCHIVE = "caption_datasets.zip"  # what the author packs the three files in
SPLITS = {"train": "train", "restval": "train", "val": "val", "test": "test"}


def is_there(raw: Path, annotation: str) -> bool:
    return any((raw / file).is_file() for file in (annotation, ARCHIVE))


def read_karpathy(
    name: str, raw: Path, annotation: str, origin: str, folder: str | None = None, *, restval: bool = True
) -> Corpus:
    """The file, plain or inside its zip. `folder` is where the images are; None: each in its own `filepath`, directly
    in the raw directory or in `images/`. Without `restval` the images of that split are left out."""
    data, place, file = read_annotation(raw, annotation, ARCHIVE)

    @cache
    def found(filepath: str) -> str:
        return folder_of(raw, filepath, f"images/{filepath}")

    items: dict[str, Item] = {}
    captions: dict[str, list[str]] = {}
    for i, image in enumerate(records(parse_json(data, place), "images", place)):
        at = f"{place}: images[{i}]"
        here = folder or found(plain_name(text(image, "filepath", at), f"{at}.filepath"))
        media = plain_name(text(image, "filename", at), f"{at}.filename")
        id, split = PurePosixPath(media).stem, text(image, "split", at)
        if id in items:
            raise UserError(f"{at}.filename: {id} is listed twice; fetch the official file again")
        if split not in SPLITS:
            raise UserError(f"{at}.split: {split!r}; must be one of {', '.join(SPLITS)}")
        if split == "restval" and not restval:
            continue
        sentences = image.get("sentences")
        if not isinstance(sentences, list) or not sentences:
            raise UserError(f"{at}.sentences: must be a list of captions, at least one; caption {id} or drop it")
        items[id] = Item(id, SPLITS[split], f"{here}/{media}")
        captions[id] = [text(sentence, "raw", f"{at}.sentences[{j}]") for j, sentence in enumerate(sentences)]
    return Corpus(name, list(items.values()), captions, f"{annotation}: Karpathy's split{origin}", (file,))
