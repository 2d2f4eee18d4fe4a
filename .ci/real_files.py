"""Lay the sample images and captions out as COCO 2017, Karpathy's split and Flickr8k have them. Images are linked."""

import csv
import json
import sys
from pathlib import Path, PurePosixPath

from captionrl.datasets.read import read_corpus


def write_coco(sample: Path, raw: Path) -> None:
    """Both plain caption files, cut down to the images that are there."""
    present = {path.name: path for path in (sample / "images").iterdir()}
    sources = {"train2017": "captions_train2017_80images.json", "val2017": "captions_val2017.json"}
    for part, source in sources.items():
        document = json.loads((sample / source).read_bytes())
        document["images"] = [image for image in document["images"] if image["file_name"] in present]
        ids = {image["id"] for image in document["images"]}
        document["annotations"] = [a for a in document["annotations"] if a["image_id"] in ids]
        (raw / part).mkdir(parents=True)
        (raw / f"captions_{part}.json").write_text(json.dumps(document))
        for image in document["images"]:
            (raw / part / image["file_name"]).symlink_to(present[image["file_name"]])


def write_karpathy(plain: Path, raw: Path) -> None:
    """The same images, captions and splits in Karpathy's format, in the folders that COCO 2014 has."""
    corpus = read_corpus("coco", plain)
    images = []
    for item in corpus.items:
        media = PurePosixPath(item.media.replace("2017", "2014"))
        (raw / media.parent).mkdir(parents=True, exist_ok=True)
        (raw / media).symlink_to((plain / item.media).resolve())
        sentences = [{"raw": caption} for caption in corpus.captions[item.id]]
        images.append(
            {"filepath": str(media.parent), "filename": media.name, "split": item.split, "sentences": sentences}
        )
    (raw / "dataset_coco.json").write_text(json.dumps({"images": images}))


def write_flickr8k(sample: Path, raw: Path) -> None:
    """The caption file, and the split lists cut down to the images that are there."""
    images = raw / "Flicker8k_Dataset"
    images.mkdir(parents=True)
    present = {path.name: path for path in (sample / "images").iterdir()}
    for name, path in present.items():
        (images / name).symlink_to(path)
    counts = dict.fromkeys(present, 0)
    lines = []
    with open(sample / "captions_1000.txt", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            lines.append(f"{row['image']}#{counts[row['image']]}\t{row['caption']}\n")
            counts[row["image"]] += 1
    (raw / "Flickr8k.token.txt").write_text("".join(lines), encoding="utf-8")
    for split in ("train", "dev", "test"):
        name = f"Flickr_8k.{split}Images.txt"
        kept = [image for image in (sample / name).read_text().split() if image in present]
        (raw / name).write_text("".join(f"{image}\n" for image in kept))


if __name__ == "__main__":
    samples, data = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    write_coco(samples / "coco", data / "coco")
    write_karpathy(data / "coco", data / "coco-82k")
    write_flickr8k(samples / "flickr8k", data / "flickr8k")
