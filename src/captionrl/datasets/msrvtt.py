"""MSR-VTT (Xu et al., CVPR 2016): 10,000 clips from the web, 20 captions each, official split."""

from pathlib import Path
from typing import Any

from captionrl.datasets.archives import read_annotation
from captionrl.datasets.corpus import Corpus, Item
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
        for i, video in enumerate(_records(document, "videos", place)):
            at = f"{place}: videos[{i}]"
            id, split = _text(video, "video_id", at), _text(video, "split", at)
            if id in items:
                raise UserError(f"{at}.video_id: {id} is listed twice; fetch the official file again")
            if split not in SPLITS:
                raise UserError(f"{at}.split: {split!r}; must be one of {', '.join(SPLITS)}")
            items[id] = Item(id, SPLITS[split], f"{FOLDERS[SPLITS[split]]}/{id}.mp4")
            here[id] = []
        for i, sentence in enumerate(_records(document, "sentences", place)):
            at = f"{place}: sentences[{i}]"
            id, caption = _text(sentence, "video_id", at), _text(sentence, "caption", at)
            if id not in here:
                raise UserError(f"{at}.video_id: {id} is not among this file's videos; fetch the official file again")
            here[id].append(caption)
        for i, (id, found) in enumerate(here.items()):
            if not found:
                raise UserError(f"{place}: videos[{i}]: {id} has no sentence; fetch the official file again")
        captions |= here
    origin = f"captions and split of {' and '.join(annotation for annotation, _ in ANNOTATIONS)}"
    return Corpus(name, list(items.values()), captions, origin, tuple(files))


def _records(document: Any, key: str, place: str) -> list[Any]:
    if not isinstance(document, dict) or not isinstance(document.get(key), list):
        raise UserError(f"{place}: {key}: must be a list in the file's one object; fetch the official file again")
    return document[key]


def _text(record: Any, key: str, at: str) -> str:
    if not isinstance(record, dict):
        raise UserError(f"{at}: must be an object, not {type(record).__name__}; fetch the official file again")
    if key not in record:
        raise UserError(f"{at}.{key}: missing; fetch the official file again")
    value = record[key]
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{at}.{key}: must be text, not {str(value)[:40]!r}; fetch the official file again")
    return value
