"""Reading captions to score, in the forms in which they circulate.

    .csv    a caption a row; the columns caption and image_id (or id, or item)
    .txt    a caption a line; its id is the line's number, from 1
    else    JSON: {"images": [{"id"}], "annotations": [{"image_id", "caption"}]}, COCO's captions ("images" may be left
            out); [{"image_id", "caption"}], COCO's results, also as one such object a line; {id: caption} or
            {id: [captions]}

Ids are compared as strings. Every fault is a UserError that names the file, the place and the fix.
"""

import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from captionrl.errors import UserError
from captionrl.files import MOST_CHARACTERS, SURROGATE, UNREADABLE, decode_utf8, read_bytes, strict_csv, unique_keys

IDS = ("image_id", "id", "item")  # columns of a csv file, keys of a list in json: the first one there counts
LONGEST = 1000  # words of a caption: ROUGE-L's memory and METEOR's time grow with their square
FORMS = '{"annotations": [...]}, [{"image_id": ..., "caption": ...}], {id: caption} or {id: [captions]}'


def read_references(path: Path | str) -> dict[str, list[str]]:
    """{id: captions}, any number of each; none of an image that has no annotation."""
    captions: dict[str, list[str]] = {}
    for _, id, caption in _captions(path):
        captions.setdefault(id, []).extend([] if caption is None else [caption])
    return captions


def read_hypotheses(path: Path | str) -> dict[str, str]:
    """{id: caption}, one of each."""
    captions: dict[str, str] = {}
    for place, id, caption in _captions(path):
        if caption is None:
            raise UserError(f"{path}: {place}: no caption for id {id!r}; add one")
        if id in captions:
            raise UserError(f"{path}: {place}: a second caption for id {id!r}; keep one, or score them as sets")
        captions[id] = caption
    return captions


def read_ids(path: Path | str) -> list[str]:
    """The ids of a file of ids, a line each."""
    ids = [line.strip() for line in decode_utf8(read_bytes(path), path).splitlines() if line.strip()]
    if not ids:
        raise UserError(f"{path}: no ids; write one a line")
    return ids


def check_text(text: str, place: str) -> None:
    """Raise UserError for what UTF-8 cannot write."""
    if SURROGATE.search(text):
        raise UserError(f"{place}: half a character (a surrogate); correct it")


def check_length(text: str, place: str) -> None:
    """Raise UserError for more characters, or words between spaces, than a caption has."""
    if len(text) > MOST_CHARACTERS:
        raise UserError(f"{place}: a caption of {len(text):,} characters, of at most {MOST_CHARACTERS:,}; shorten it")
    check_words(len(text.split()), place)


def check_words(words: int, place: str) -> None:
    """Raise UserError for more words than a caption has."""
    if words > LONGEST:
        raise UserError(f"{place}: a caption of {words:,} words, of at most {LONGEST:,}; shorten it")


def _captions(path: Path | str) -> Iterator[tuple[str, str, str | None]]:
    """(place, id, caption) of each caption, None for an image without one."""
    for place, id, caption in _listed(path):
        check_text(id, f"{path}: {place}")
        if caption:
            check_text(caption, f"{path}: {place}")
            check_length(caption, f"{path}: {place}")
        yield place, id, caption


def _listed(path: Path | str) -> Iterator[tuple[str, str, str | None]]:
    match Path(path).suffix.lower():
        case ".csv":
            return _of_csv(path)
        case ".txt":
            lines = decode_utf8(read_bytes(path), path).removesuffix("\n").split("\n")
            return ((f"line {number}", str(number), line) for number, line in enumerate(lines, start=1))
        case ".tsv" | ".gz" | ".pkl" | ".parquet" | ".xlsx" as form:
            raise UserError(f"{path}: {form} is not read; make it JSON, JSON Lines, .csv with commas, or .txt")
        case _:
            return _of_json(path, _read(path))


def _of_csv(path: Path | str) -> Iterator[tuple[str, str, str | None]]:
    names, rows = strict_csv(path)
    id = next((name for name in IDS if name in names), None)
    if id is None or "caption" not in names:
        columns = f"caption and {' or '.join(IDS)}"
        raise UserError(f"{path}: line 1: must name the columns {columns}, found {', '.join(names) or 'nothing'}")
    for place, row in rows:
        if not row[id]:
            raise UserError(f"{path}: {place}: no id; add it")
        yield place, row[id], row["caption"]


def _of_json(path: Path | str, content: Any) -> Iterator[tuple[str, str, str | None]]:
    ids: Collection[str] = IDS
    if isinstance(content, dict) and "annotations" in content:
        ids = ("image_id",)  # an annotation's own id is another thing
        for place, image in _entries(path, content.get("images", []), "images"):
            yield place, _id(path, place, image, "id"), None
        entries = _entries(path, content["annotations"], "annotations")
    elif isinstance(content, dict) and "caption" in content and not content.keys().isdisjoint(IDS):
        entries = [("the one object", content)]
    elif isinstance(content, dict):
        for id, captions in content.items():
            if not isinstance(captions, list):
                yield repr(id), id, _text(path, repr(id), captions)
            elif not captions:
                yield repr(id), id, None
            else:
                yield from ((f"{id!r}[{i}]", id, _text(path, f"{id!r}[{i}]", text)) for i, text in enumerate(captions))
        return
    elif isinstance(content, list):
        entries = _entries(path, content, "")
    else:
        raise UserError(f"{path}: expected {FORMS}, found {_kind(content)}")
    for place, entry in entries:
        key = next((name for name in ids if name in entry), "image_id")
        yield place, _id(path, place, entry, key), _caption(path, place, entry)


def _read(path: Path | str) -> Any:
    unique = unique_keys(path)
    text = decode_utf8(read_bytes(path), path)
    try:
        try:
            return json.loads(text, object_pairs_hook=unique)
        except json.JSONDecodeError as error:
            if error.msg != "Extra data":
                raise
            return _read_lines(path, text, unique)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise UserError(f"{path}: {place}: not JSON ({error.msg}); correct it") from None
    except (RecursionError, ValueError):
        raise UserError(f"{path}: {UNREADABLE}") from None


def _read_lines(path: Path | str, text: str, unique: Callable[[list[tuple[str, Any]]], Any]) -> list[Any]:
    """JSON Lines: a value a line."""
    values = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                values.append(json.loads(line, object_pairs_hook=unique))
            except json.JSONDecodeError as error:
                fault = f"neither one JSON value nor one a line ({error.msg})"
                raise UserError(f"{path}: line {number}, column {error.colno}: {fault}; correct it") from None
    return values


def _entries(path: Path | str, entries: Any, name: str) -> list[tuple[str, dict[str, Any]]]:
    if not isinstance(entries, list):
        raise UserError(f"{path}: {name}: expected a list, found {_kind(entries)}")
    for i, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise UserError(f"{path}: {name}[{i}]: expected an object, found {_kind(entry)}")
    return [(f"{name}[{i}]", entry) for i, entry in enumerate(entries)]


def _id(path: Path | str, place: str, entry: dict[str, Any], key: str) -> str:
    if key not in entry:
        raise UserError(f"{path}: {place}: {key!r} is missing; add it")
    if type(entry[key]) not in (int, str):
        raise UserError(f"{path}: {place}: {key!r} must be an integer or a string, found {_kind(entry[key])}")
    return str(entry[key])


def _caption(path: Path | str, place: str, entry: dict[str, Any]) -> str:
    if "caption" not in entry:
        raise UserError(f"{path}: {place}: 'caption' is missing; add it")
    return _text(path, place, entry["caption"])


def _text(path: Path | str, place: str, value: Any) -> str:
    if not isinstance(value, str):
        raise UserError(f"{path}: {place}: the caption must be a string, found {_kind(value)}")
    return value


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")
