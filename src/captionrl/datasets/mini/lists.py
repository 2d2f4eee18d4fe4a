"""coco-mini in COCO's own files: a part's captions, and test images of which only the names are listed."""

from collections.abc import Iterable
from random import Random
from typing import Any

from captionrl.datasets.mini.draw import SIDE
from captionrl.datasets.mini.stills import Still, sample_still

INFO = {"contributor": "captionrl", "description": "the mini world in COCO's format", "version": "1.0", "year": 2014}


def test_images(random: Random, count: int) -> dict[str, Still]:
    """Stills like those of val and test, under the names of COCO's test images of 2014."""
    names = [f"COCO_test2014_{13 + 7 * number:012d}.jpg" for number in range(count)]
    return {name: sample_still(random, train=False) for name in names}


def listing(names: Iterable[str]) -> dict[str, Any]:
    """`image_info_test2014.json`: images called COCO_PART_NUMBER.jpg, the number their id."""
    images = [
        {"id": int(name.split("_")[2].removesuffix(".jpg")), "file_name": name, "width": SIDE, "height": SIDE}
        for name in names
    ]
    return {"info": INFO, "licenses": [], "images": images}


def captions_file(images: Iterable[dict[str, Any]], part: str) -> dict[str, Any]:
    """`captions_PART.json`, made of the records of Karpathy's file that are of this part."""
    mine = [image for image in images if image["filepath"] == part]
    annotations = [
        {"id": sentence["sentid"], "image_id": image["cocoid"], "caption": sentence["raw"]}
        for image in mine
        for sentence in image["sentences"]
    ]
    return {**listing(image["filename"] for image in mine), "type": "captions", "annotations": annotations}
