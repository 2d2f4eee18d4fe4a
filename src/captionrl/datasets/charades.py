"""Charades Captions (HRL section 4.1): detailed captions of everyday indoor activities.

The authors combined Charades' "textual descriptions and sentence scripts verified through AMT": 6,963 videos for
training, 500 for validation, 1,760 for testing. Their own file, `CharadesCaptions.zip`, is no longer public. Where
the user has it in the raw directory it is used; its layout is a guess, *untested on the original*. Otherwise the
captions are made again from the official csv files, which is close but not the same: 7,609 + 1,768 verified videos.
The corpus' `origin` says which of the two was read.

`charades-annotations` has the same captions and no media: its visual input is made of the annotation too
(`features/annotations.py`). Its validation videos are drawn by people (`read_people_apart`).
"""

import csv
import hashlib
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from captionrl.datasets.archives import members, read_member
from captionrl.datasets.corpus import Corpus, Item
from captionrl.datasets.formats import CHARADES_HEADER
from captionrl.datasets.manifest import read_annotation
from captionrl.errors import UserError
from captionrl.files import decode_utf8, parse_json

ANNOTATIONS = {"train": "Charades_v1_train.csv", "test": "Charades_v1_test.csv"}
ARCHIVE = "Charades.zip"  # what the publisher packs both csv files in
AUTHORS = "CharadesCaptions.zip"
CLASSES = tuple(f"c{number:03d}" for number in range(157))
SEED = 2018  # of the validation split: the paper's year; the authors' own choice of videos is not known
VALIDATION = 500  # HRL section 4.1
_TWICE = "{at}: id {id} is listed twice; fetch the official file again"


@dataclass(frozen=True)
class Action:
    """One timed action: class `c000` to `c156`, start and end in seconds as annotated (some outlast the video)."""

    cls: str
    start: float
    end: float


@dataclass(frozen=True)
class Annotation:
    """What a csv file says of a video beside its captions; texts are as written, but for white space around them."""

    split: str  # the file: `train` (validation videos too) or `test`
    actions: tuple[Action, ...]
    scene: str  # may be empty
    objects: tuple[str, ...]
    seconds: float | None  # the video's length; None where it is not stated, or stated as 0
    subject: str  # an id of who is seen in it; may be empty


def read(name: str, raw: Path) -> Corpus:
    return _read_authors(name, raw) if (raw / AUTHORS).is_file() else _read_csv(name, raw)


def read_people_apart(name: str, raw: Path) -> Corpus:
    """The same captions without media, the validation videos drawn by people, one after the other until there are 500.

    Nobody seen in Charades' test videos is in its training file. The paper's validation videos, drawn at random, show
    people of the training videos: what reinforcement gains on them it gains in part on those people alone
    (docs/hrl.md). So here people of validation videos are in no training video, as those of test videos are not.
    Raises UserError where all captioned videos of the training file show one person, and for one that no file lists.
    """
    corpus = read(name, raw)
    annotations = read_annotations(raw)
    if unknown := [item.id for item in corpus.items if item.id not in annotations]:
        files = " nor ".join(ANNOTATIONS.values())
        raise UserError(f"{raw}: neither {files} has video {unknown[0]} of {corpus.files[0]}; remove that")
    subjects = {item.id: annotations[item.id].subject for item in corpus.items if item.split != "test"}
    drawn = people_apart(subjects)
    if len(drawn) == len(subjects):
        raise UserError(f"{raw / ANNOTATIONS['train']}: one person in all videos; validation needs others")
    split = {id: "val" if id in drawn else "train" for id in subjects}
    items = [replace(item, split=split.get(item.id, item.split), media=None) for item in corpus.items]
    origin = f"{corpus.origin.partition('; val ')[0]}; val drawn from train by people with seed {SEED}"
    return replace(corpus, items=items, origin=origin)


def read_annotations(raw: Path) -> dict[str, Annotation]:
    """What the csv files say of every video, verified or not, by id; also where the captions are the authors' own.

    Raises UserError with file and line for an id that is listed twice and for a malformed action or length.
    """
    annotations: dict[str, Annotation] = {}
    for split in ANNOTATIONS:
        for at, row in _rows(raw, split)[0]:
            if row["id"] in annotations:
                raise UserError(_TWICE.format(at=at, id=row["id"]))
            annotations[row["id"]] = Annotation(
                split,
                tuple(_action(text, at) for text in row["actions"].split(";") if text.strip()),
                row["scene"].strip(),
                tuple(text.strip() for text in row["objects"].split(";") if text.strip()),
                _seconds(row["length"], at),
                row["subject"].strip(),
            )
    return annotations


def validation(ids: Iterable[str]) -> set[str]:
    """The training videos that serve as validation: 500, or a tenth of a smaller set, but at least one.

    Each id draws a number from a hash of itself and the seed, and the lowest win: so the choice depends on
    neither the order of rows nor the Python version.
    """
    ranked = _ranked(ids)
    return set(ranked[: _validation_size(len(ranked))])


def people_apart(subjects: Mapping[str, str]) -> set[str]:
    """Of {id: who is seen in it} all videos of some people: together as many as `validation` draws, or just more."""
    drawn: set[str] = set()
    for person in _ranked(set(subjects.values())):
        if len(drawn) >= _validation_size(len(subjects)):
            break
        drawn.update(id for id, subject in subjects.items() if subject == person)
    return drawn


def _ranked(ids: Iterable[str]) -> list[str]:
    return sorted(ids, key=lambda id: hashlib.sha256(f"{SEED}:{id}".encode()).digest())


def _validation_size(videos: int) -> int:
    return max(1, min(VALIDATION, videos // 10))


def _read_csv(name: str, raw: Path) -> Corpus:
    """Captions of a verified video: its script, then its descriptions, without exact repeats.

    Some annotators handed the script back as their description: an echo, not a second opinion, so it counts once.
    """
    captions: dict[str, dict[str, list[str]]] = {}
    files, seen = [], set()
    for split in ANNOTATIONS:
        rows, file = _rows(raw, split)
        files.append(file)
        captions[split] = {}
        for at, row in rows:
            if row["id"] in seen:
                raise UserError(_TWICE.format(at=at, id=row["id"]))
            seen.add(row["id"])
            if row["verified"] != "Yes":
                continue
            texts = (" ".join(text.split()) for text in [row["script"], *row["descriptions"].split(";")])
            captions[split][row["id"]] = list(dict.fromkeys(text for text in texts if text))
            if not captions[split][row["id"]]:
                raise UserError(f"{at}: {row['id']} is verified but has neither script nor description; fix the row")
    origin = f"Charades v1 csv: scripts and descriptions of verified videos; val drawn from train with seed {SEED}"
    return _corpus(name, captions, origin, tuple(dict.fromkeys(files)))


def _read_authors(name: str, raw: Path) -> Corpus:
    """`CharadesCaptions.zip`: a JSON or tab-separated member per split, known by `train`, `val`, `test` in its name.

    Untested on the original. People who had it write that it names no validation videos (github.com/syuqings/
    video-paragraph/issues/8); without a `val` member they are drawn from train, as for the csv files.
    """
    archive = raw / AUTHORS
    captions: dict[str, dict[str, list[str]]] = {}
    for member in members(archive):
        splits = [split for split in ("train", "val", "test") if split in PurePosixPath(member).name.lower()]
        if len(splits) == 1 and splits[0] not in captions:
            captions[splits[0]] = _authors_member(archive, member)
        elif splits:
            raise UserError(f"{archive}: {member}: one member per split is understood; {_understood(archive)}")
    if not {"train", "test"} <= captions.keys():
        raise UserError(f"{archive}: no train and test members; {_understood(archive)}")
    origin = "CharadesCaptions.zip of the HRL authors"
    if "val" not in captions:
        origin += f"; val drawn from train with seed {SEED}"
    return _corpus(name, captions, origin, (AUTHORS,))


def _understood(archive: Path) -> str:
    return f"it holds {', '.join(members(archive))[:500] or 'nothing'}; remove it to use the official csv files"


def _authors_member(archive: Path, member: str) -> dict[str, list[str]]:
    """{id: [caption]}, or [{"video_id" | "id" | "image_id": id, "caption": caption}], or lines id<TAB>caption."""
    place = f"{archive}: {member}"
    data = read_member(archive, member)
    refusal = UserError(f"{place}: a layout that is not understood; {_understood(archive)}")
    pairs: list[tuple[object, object]]
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        document = parse_json(data, place)
        if isinstance(document, dict):
            if not all(isinstance(captions, list) for captions in document.values()):
                raise refusal
            pairs = [(id, caption) for id, captions in document.items() for caption in captions]
        else:
            if not all(isinstance(record, dict) for record in document):
                raise refusal
            keys = ("video_id", "id", "image_id")  # the first of these that a record has
            pairs = [(next((r[key] for key in keys if key in r), None), r.get("caption")) for r in document]
    else:
        lines = [line.split("\t") for line in decode_utf8(data, place).split("\n") if line.strip()]
        if not all(len(fields) == 2 for fields in lines):
            raise refusal
        pairs = [(id.strip(), caption) for id, caption in lines]
    captions: dict[str, list[str]] = {}
    for id, caption in pairs:
        if not isinstance(id, str) or not isinstance(caption, str) or not caption.strip():
            raise refusal
        captions.setdefault(id, []).append(" ".join(caption.split()))
    return captions


def _corpus(name: str, captions: dict[str, dict[str, list[str]]], origin: str, files: tuple[str, ...]) -> Corpus:
    drawn = set() if "val" in captions else validation(captions["train"])
    items = [
        Item(id, "val" if id in drawn else split, f"Charades_v1_480/{id}.mp4")
        for split in ("train", "val", "test")
        for id in captions.get(split, {})
    ]
    return Corpus(name, items, {id: texts for part in captions.values() for id, texts in part.items()}, origin, files)


def _rows(raw: Path, split: str) -> tuple[Iterator[tuple[str, dict[str, str]]], str]:
    """The rows of a split's csv, each with its place for messages; and the file they come from."""
    data, place, file = read_annotation(raw, ANNOTATIONS[split], ARCHIVE)
    return _parse(decode_utf8(data, place), place), file


def _parse(text: str, place: str) -> Iterator[tuple[str, dict[str, str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        if missing := [column for column in CHARADES_HEADER.split(",") if column not in header]:
            raise UserError(f"{place}: line 1: no column {missing[0]!r}; the header must be {CHARADES_HEADER}")
        start = reader.line_num + 1  # a quoted text may span lines: name the row's first
        for fields in reader:
            at = f"{place}: line {start}"
            start = reader.line_num + 1
            if len(fields) != len(header):
                raise UserError(f"{at}: {len(fields)} fields under a header of {len(header)}; quote texts with commas")
            yield at, dict(zip(header, fields, strict=True))
    except csv.Error as error:
        raise UserError(f"{place}: line {reader.line_num}: not csv ({error}); fetch the official file again") from None


def _action(text: str, at: str) -> Action:
    fields = text.split()
    try:
        cls, start, end = fields[0], float(fields[1]), float(fields[2])
        sound = len(fields) == 3 and cls in CLASSES and 0 <= start < math.inf and 0 <= end < math.inf
    except (IndexError, ValueError):
        sound = None
    if not sound:
        raise UserError(f"{at}: actions: {text.strip()!r}; must be CLASS START END in seconds, like c092 11.90 21.20")
    return Action(cls, start, end)


def _seconds(text: str, at: str) -> float | None:
    try:
        seconds = float(text.strip() or 0)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise UserError(f"{at}: length: {text!r}; must be seconds, like 24.83, or empty")
    return seconds or None
