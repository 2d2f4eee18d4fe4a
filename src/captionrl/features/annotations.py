"""Charades' annotations as a feature store: ground truth of the csv files in place of pixels.

A second visual input whose recognition is perfect: it shows how much of a captioner's error is the backbone's. The
frames are those that extraction samples, at 0, 1/fps, 2/fps, ... seconds; a frame stands for the 1/fps seconds from
its time on, so no action that starts in the clip is too short to be seen.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

import numpy as np

from captionrl.datasets.charades import ANNOTATIONS, CLASSES, Annotation, read_annotations
from captionrl.datasets.prepared import load_captions
from captionrl.errors import UserError
from captionrl.features.store import check_item_ids, write_store
from captionrl.files import write_json

TRANSFORM = "ground truth: timed actions; scene and objects throughout"
ROUNDING = 1e-6  # frames: 0.1 s x 30 fps is 3 of them, though not in floating point


def write_annotations(captions: Path, raw: Path, out: Path, *, fps: float, code_version: str) -> None:
    """Write the store `out` for all items of the prepared corpus in `captions`, and its manifest beside it (.json).

    raw: holds Charades' csv files, or the archive of them. The manifest is that of an extraction and lists, besides,
    what each column means. In place of a backbone's weights the store is identified by a hash of those columns and
    of the items' annotations.

    Raises UserError for what is missing or malformed in either directory, and for an item that no csv file lists.
    """
    if not 0 < fps < math.inf:
        raise UserError(f"annotations need a positive number of frames a second, not {fps}")
    annotations = read_annotations(raw)
    items = [item.id for part in load_captions(captions).items.values() for item in part]
    check_item_ids(items)
    if missing := [item for item in items if item not in annotations]:
        files = " nor ".join(ANNOTATIONS.values())
        raise UserError(f"{raw}: item {missing[0]} of {captions} is not in {files}; fetch the official files")

    columns = columns_of(annotations.values())
    identity = json.dumps([columns, [[item, astuple(annotations[item])[:-1]] for item in items]])  # not who is seen
    attributes = {
        "backbone": "annotations",
        "weights_sha256": hashlib.sha256(identity.encode()).hexdigest(),
        "fps": fps,
        "transform": TRANSFORM,
        "code_version": code_version,
        "dim": len(columns),
    }
    manifest = write_store(out, annotation_features(annotations, items, columns, fps), attributes)
    write_json(out.with_suffix(".json"), {**manifest, "failures": {}, "columns": columns})


def columns_of(annotations: Iterable[Annotation]) -> list[str]:
    """What each feature means: the 157 actions, then the scenes and the objects of the train csv, each sorted."""
    train = [annotation for annotation in annotations if annotation.split == "train"]
    scenes = {_scene(annotation) for annotation in train if annotation.scene}
    objects = {_object(text) for annotation in train for text in annotation.objects}
    return [*(f"action {cls}" for cls in CLASSES), *sorted(scenes), *sorted(objects)]


def annotation_features(
    annotations: Mapping[str, Annotation], items: Iterable[str], columns: Sequence[str], fps: float
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (item, float16 [frames, dim] of 0 and 1); frames cover the clip's length, but are at least one.

    Where the length is not stated the clip ends with its last action. Actions are on from start to end, cut at the
    clip's end; scene and objects are on throughout. What has no column (said of no training clip) is left out.
    """
    place = {column: number for number, column in enumerate(columns)}
    for item in items:
        annotation = annotations[item]
        seconds = annotation.seconds or max((action.end for action in annotation.actions), default=0.0)
        frames = np.zeros((max(1, math.ceil(seconds * fps - ROUNDING)), len(columns)), np.float16)
        for action in annotation.actions:
            if action.start <= seconds:
                first = min(math.floor(action.start * fps + ROUNDING), len(frames) - 1)
                last = max(first + 1, math.ceil(action.end * fps - ROUNDING))
                frames[first:last, place[f"action {action.cls}"]] = 1
        constant = [_scene(annotation), *map(_object, annotation.objects)]
        frames[:, [place[column] for column in constant if column in place]] = 1
        yield item, frames


def _scene(annotation: Annotation) -> str:
    return f"scene {annotation.scene.lower()}"


def _object(text: str) -> str:
    return f"object {text.lower()}"
