"""MSR-VTT (Xu et al., CVPR 2016): 10,000 clips from the web, 20 captions each, official split."""

from pathlib import Path

from captionrl.datasets.corpus import Corpus, Item
from captionrl.datasets.manifest import read_annotation
from captionrl.datasets.records import records, text
from captionrl.errors import UserError
from captionrl.files import parse_json

ANNOTATIONS = (
    ("train_val_videodatainfo.json", "train_val_annotation.zip"),
    ("test_videodatainfo.json", "test_videodatainfo.json.zip"),
)
SPLITS = {"train": "train", "validate": "val", "test": "test"}
FOLDERS = {"train": "TrainValVideo", "val": "TrainValVideo", "test": "TestVideo"}


def read(name: str, raw: Path) -> Corpus:
    """Read both annotation files, plain or inside their zips. Repeated captions stay: people did agree."""
    items: dict[str, Item] = {}
    captions: dict[str, list[str]] = {}
    files = []
    for annotation, archive in ANNOTATIONS:
        data, place, file = read_annotation(raw, annotation, archive)
        files.append(file)
        document = parse_json(data, place)
        here: dict[str, list[str]] = {}
        for i, video in enumerate(records(document, "videos", place)):
            at = f"{place}: videos[{i}]"
            id, split = text(video, "video_id", at), text(video, "split", at)
            if id in items:
                raise UserError(f"{at}.video_id: {id} is listed twice; fetch the official file again")
            if split not in SPLITS:
                raise UserError(f"{at}.split: {split!r}; must be one of {', '.join(SPLITS)}")
            items[id] = Item(id, SPLITS[split], f"{FOLDERS[SPLITS[split]]}/{id}.mp4")
            here[id] = []
        for i, sentence in enumerate(records(document, "sentences", place)):
            at = f"{place}: sentences[{i}]"
            id, caption = text(sentence, "video_id", at), text(sentence, "caption", at)
            if id not in here:
                raise UserError(f"{at}.video_id: {id} is not among this file's videos; fetch the official file again")
            here[id].append(caption)
        for i, (id, found) in enumerate(here.items()):
            if not found:
                raise UserError(f"{place}: videos[{i}]: {id} has no sentence; fetch the official file again")
        captions |= here
    origin = f"captions and split of {' and '.join(annotation for annotation, _ in ANNOTATIONS)}"
    return Corpus(name, list(items.values()), captions, origin, tuple(files))
