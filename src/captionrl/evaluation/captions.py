"""Reading captions to score: COCO's caption and result formats, or a plain mapping from id to text."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from captionrl.errors import UserError
from captionrl.files import decode_utf8, read_bytes


def read_references(path: Path | str) -> dict[str, list[str]]:
    """{"images": [{"id"}], "annotations": [{"image_id", "caption"}]} or {id: [captions]}; "images" may be left out.

    Ids are compared as strings. Every fault is a UserError that names the file, the place and the fix.
    """
    content = _read(path)
    if not isinstance(content, dict):
        raise UserError(f'{path}: expected {{"annotations": [...]}} or {{id: [captions]}}, found {_kind(content)}')
    references: dict[str, list[str]] = {}
    if "annotations" in content:
        for place, image in _entries(path, content.get("images", []), "images"):
            references[_id(path, place, image, "id")] = []
        for place, annotation in _entries(path, content["annotations"], "annotations"):
            caption = _caption(path, place, annotation)
            references.setdefault(_id(path, place, annotation, "image_id"), []).append(caption)
        return references
    for id, captions in content.items():
        if not isinstance(captions, list):
            raise UserError(f"{path}: {id!r}: expected a list of captions, found {_kind(captions)}")
        references[id] = [_text(path, f"{id!r}[{i}]", caption) for i, caption in enumerate(captions)]
    return references


def read_hypotheses(path: Path | str) -> dict[str, str]:
    """[{"image_id", "caption"}], COCO's result format, also as one such object a line, or {id: caption}.

    Ids are compared as strings. Every fault is a UserError that names the file, the place and the fix.
    """
    content = _read(path)
    if isinstance(content, dict):
        return {id: _text(path, repr(id), caption) for id, caption in content.items()}
    if not isinstance(content, list):
        raise UserError(
            f'{path}: expected [{{"image_id": ..., "caption": ...}}] or {{id: caption}}, found {_kind(content)}'
        )
    hypotheses: dict[str, str] = {}
    for place, entry in _entries(path, content, ""):
        id, caption = _id(path, place, entry, "image_id"), _caption(path, place, entry)
        if id in hypotheses:
            raise UserError(f"{path}: {place}: a second caption for id {id!r}; keep one")
        hypotheses[id] = caption
    return hypotheses


def _read(path: Path | str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys: dict[str, Any] = {}
        for key, value in pairs:
            if key in keys:  # json would silently keep the last
                raise UserError(f"{path}: {key!r} stands twice in one object; keep one")
            keys[key] = value
        return keys

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
        raise UserError(f"{path}: not JSON that can be read (nested too deep, or a number too long)") from None


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
