"""MSR-VTT (Xu et al., CVPR 2016): 10,000 clips from the web, 20 captions each, official split.

Its annotation circulates in three forms: the two files of its publisher; one file of the same form with all splits
(CLIP4Clip); and one without the split in the form of COCO's captions (Frozen in Time), where a clip's number says which
part it is in. The clips lie in two folders (the publisher's) or in one.
"""

import re
from pathlib import Path
from typing import Any

from captionrl.datasets.corpus import Corpus, Item
from captionrl.datasets.manifest import read_annotation
from captionrl.datasets.records import folder_of, records, text
from captionrl.errors import UserError
from captionrl.files import parse_json, read_bytes

ANNOTATIONS = (
    ("train_val_videodatainfo.json", "train_val_annotation.zip"),
    ("test_videodatainfo.json", "test_videodatainfo.json.zip"),
)
SPLITS = {"train": "train", "validate": "val", "test": "test"}
WHOLE = (  # of all splits, where the two files are absent
    *("MSRVTT_data.json", "msrvtt_data/MSRVTT_data.json"),
    *("annotation/MSR_VTT.json", "MSRVTT/annotation/MSR_VTT.json"),
)
LAST = {"train": 6512, "val": 7009, "test": 9999}  # the number of each part's last clip
FOLDERS = {"train": "TrainValVideo", "val": "TrainValVideo", "test": "TestVideo"}
ONE_FOLDER = ("videos/all", "MSRVTT/videos/all")


def read(name: str, raw: Path) -> Corpus:
    """Read both annotation files, plain or inside their zips, or the one. Repeated captions stay: people did agree."""
    official = all(any((raw / file).is_file() for file in pair) for pair in ANNOTATIONS)
    one = next((file for file in WHOLE if (raw / file).is_file()), None)
    if official or one is None:
        files = [read_annotation(raw, *pair) for pair in ANNOTATIONS]
        origin = f"captions and split of {' and '.join(annotation for annotation, _ in ANNOTATIONS)}"
    else:
        files = [(read_bytes(raw / one), str(raw / one), one)]
        origin = f"captions and split of {one}"
    items: dict[str, Item] = {}
    captions: dict[str, list[str]] = {}
    folders = _folders(raw)
    for data, place, _ in files:
        document = parse_json(data, place)
        if isinstance(document, dict) and "videos" not in document and "annotations" in document:
            document = _with_split(document, place)
            origin += ", the split by the clips' numbers"
        here: dict[str, list[str]] = {}
        for i, video in enumerate(records(document, "videos", place)):
            at = f"{place}: videos[{i}]"
            id, split = text(video, "video_id", at), text(video, "split", at)
            if id in items:
                raise UserError(f"{at}.video_id: {id} is listed twice; fetch the official file again")
            if split not in SPLITS:
                raise UserError(f"{at}.split: {split!r}; must be one of {', '.join(SPLITS)}")
            items[id] = Item(id, SPLITS[split], f"{folders[SPLITS[split]]}/{id}.mp4")
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
    return Corpus(name, list(items.values()), captions, origin, tuple(file for *_, file in files))


def _folders(raw: Path) -> dict[str, str]:
    """Where the clips of each part are."""
    return {split: folder_of(raw, folder, *ONE_FOLDER) for split, folder in FOLDERS.items()}


def _with_split(document: dict[str, Any], place: str) -> dict[str, Any]:
    """A document in the form of COCO's captions in the publisher's form, its clips in the order of their numbers."""
    sentences, numbers = [], {}
    official = {part: name for name, part in SPLITS.items()}
    for i, annotation in enumerate(records(document, "annotations", place)):
        at = f"{place}: annotations[{i}]"
        id = text(annotation, "image_id", at)
        match = re.fullmatch(r"video(\d{1,4})", id)
        if match is None:
            raise UserError(f"{at}.image_id: {id!r}; must be videoN, N up to {LAST['test']}; fetch the file again")
        numbers[int(match[1])] = id
        sentences.append({"video_id": id, "caption": text(annotation, "caption", at)})
    splits = {number: next(part for part, last in LAST.items() if number <= last) for number in numbers}
    videos = [{"video_id": numbers[number], "split": official[splits[number]]} for number in sorted(numbers)]
    return {"videos": videos, "sentences": sentences}
