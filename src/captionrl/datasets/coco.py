"""COCO captions (Chen et al., 2015): 123,287 images from Flickr, five captions or a few more each.

The papers use Karpathy's split, `dataset_coco.json`: train (82,783 images) and "restval" (30,504) to train on, 5,000
for validation, 5,000 for testing. The corpus coco-82k is that split without restval. Where that file is absent, COCO's
own caption files of 2017 are read, for coco alone. COCO keeps the captions of its test images to itself, so the 5,000
images of `captions_val2017.json` are halved into validation and test: numbers on that split compare with nobody's. The
corpus' `origin` says which of the three was read.

COCO's server scores captions of images that it lists in files of its own: `read_images`.
"""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from captionrl.datasets.corpus import Corpus, Item
from captionrl.datasets.karpathy import is_there, read_karpathy
from captionrl.datasets.manifest import read_annotation
from captionrl.datasets.records import folder_of, number, plain_name, records, text
from captionrl.errors import UserError
from captionrl.files import parse_json, read_bytes

KARPATHY = "dataset_coco.json"
PARTS = ("train2017", "val2017")
PARTS_ARCHIVE = "annotations_trainval2017.zip"
LISTS = {  # what the server wants captions of, and COCO's zip that holds it
    "image_info_test2014.json": "image_info_test2014.zip",
    "captions_val2014.json": "annotations_trainval2014.zip",
}


def read(name: str, raw: Path) -> Corpus:
    """Karpathy's file, plain or inside its zip; else both caption files of COCO 2017, plain or inside theirs."""
    return _read_plain(name, raw) if is_2017(raw) else _read_karpathy(name, raw)


def is_2017(raw: Path) -> bool:
    """Whether COCO's own caption files are there, and Karpathy's is not."""
    plain = any((raw / file).is_file() for part in PARTS for file in (*_files(part), PARTS_ARCHIVE))
    return plain and not is_there(raw, KARPATHY)


def read_without_restval(name: str, raw: Path) -> Corpus:
    """Karpathy's file, plain or inside its zip, without the images of its split "restval": 82,783 to train on."""
    return _read_karpathy(name, raw, restval=False)


def read_captions_file(path: Path | str) -> dict[str, list[str]]:
    """The captions of a plain COCO caption file (`captions_val2017.json`) by the image's file name.

    Images are in the file's order, captions in that of their annotation ids: the annotations themselves stand in no
    order. Raises UserError for anything malformed, repeated ids and images without a caption.
    """
    return _captions(read_bytes(path), str(path))


def read_images(path: Path | str) -> dict[int, str]:
    """{image id: file name} of the images that a COCO file lists, in its order.

    Where one of LISTS is missing, COCO's own zip serves: beside the file, or beside the folder `annotations` that it
    should lie in. Raises UserError for anything malformed, repeated ids and repeated names.
    """
    path = Path(path)
    if path.is_file() or path.name not in LISTS:
        data, place = read_bytes(path), str(path)
    else:
        raw = path.parents[1] if path.parent.name == "annotations" else path.parent
        data, place, _ = read_annotation(raw, path.relative_to(raw).as_posix(), LISTS[path.name])
    return _images(parse_json(data, place), place)


def read_media(path: Path | str) -> dict[str, str]:
    """Likewise {item id: picture below the raw directory} of images of 2014."""
    names = read_images(path).values()
    return {PurePosixPath(name).stem: f"{part_of(name, str(path))}/{name}" for name in names}


def part_of(image: str, place: str) -> str:
    """The part of COCO, such as test2014, in a file name of 2014; the images lie in a folder of that name."""
    found = re.match("COCO_([a-z0-9]+)_", image)
    if not found:
        raise UserError(f"{place}: {image}: not called COCO_PART_NUMBER.jpg; give a file that lists images of 2014")
    return found[1]


def validation(ids: Iterable[str]) -> set[str]:
    """The images of the val file that serve as validation: the half of lowest SHA-256 of their id; the others test."""
    ranked = sorted(ids, key=lambda id: hashlib.sha256(id.encode()).digest())
    return set(ranked[: len(ranked) // 2])


def _read_karpathy(name: str, raw: Path, *, restval: bool = True) -> Corpus:
    kept = "in train" if restval else "left out"
    return read_karpathy(name, raw, KARPATHY, f", restval {kept}", restval=restval)


def _read_plain(name: str, raw: Path) -> Corpus:
    items: dict[str, Item] = {}
    captions: dict[str, list[str]] = {}
    files = []
    for part in PARTS:
        folder, plain = _files(part)
        annotation = folder if (raw / folder).is_file() else plain
        data, place, file = read_annotation(raw, annotation, PARTS_ARCHIVE)
        files.append(file)
        found, images = _captions(data, place), folder_of(raw, part, f"images/{part}")
        ids = {media: PurePosixPath(media).stem for media in found}
        drawn = validation(ids.values()) if part == "val2017" else set()
        for media, id in ids.items():
            if id in items:
                raise UserError(f"{place}: images: {id} is listed twice, or in both files; fetch the official files")
            split = "train" if part == "train2017" else "val" if id in drawn else "test"
            items[id] = Item(id, split, f"{images}/{media}")
            captions[id] = found[media]
    origin = "COCO 2017 caption files, not Karpathy's split: val and test halve the val file by the SHA-256 of the ids"
    return Corpus(name, list(items.values()), captions, origin, tuple(dict.fromkeys(files)))


def _files(part: str) -> tuple[str, str]:
    """Where a plain caption file may lie: as COCO's zip unpacks, or directly in the raw directory."""
    return f"annotations/captions_{part}.json", f"captions_{part}.json"


def _captions(data: bytes, place: str) -> dict[str, list[str]]:
    document = parse_json(data, place)
    images = _images(document, place)
    by_image: dict[int, dict[int, str]] = {id: {} for id in images}
    seen = set()
    for i, annotation in enumerate(records(document, "annotations", place)):
        at = f"{place}: annotations[{i}]"
        id, image_id = number(annotation, "id", at), number(annotation, "image_id", at)
        if id in seen:
            raise UserError(f"{at}.id: {id} is listed twice; fetch the official file again")
        if image_id not in by_image:
            raise UserError(f"{at}.image_id: {image_id} is not among this file's images; fetch the official file again")
        seen.add(id)
        by_image[image_id][id] = text(annotation, "caption", at)
    for i, (id, found) in enumerate(by_image.items()):
        if not found:
            raise UserError(f"{place}: images[{i}]: {images[id]} has no caption; caption it or drop it")
    return {images[id]: [found[key] for key in sorted(found)] for id, found in by_image.items()}


def _images(document: Any, place: str) -> dict[int, str]:
    images: dict[int, str] = {}
    for i, image in enumerate(records(document, "images", place)):
        at = f"{place}: images[{i}]"
        id = number(image, "id", at)
        if id in images:
            raise UserError(f"{at}.id: {id} is listed twice; fetch the official file again")
        images[id] = plain_name(text(image, "file_name", at), f"{at}.file_name")
    if len(set(images.values())) < len(images):
        raise UserError(f"{place}: images: two of them have the same file_name; fetch the official file again")
    return images
