"""What annotation files are made of: JSON records, lines, lists of the items of a split; each fault names its place."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from captionrl.errors import UserError
from captionrl.files import decode_utf8

PLAIN = re.compile("[A-Za-z0-9_-][A-Za-z0-9_.-]*")


def records(document: Any, key: str, place: str) -> list[Any]:
    """The list `key` of a document that must be an object."""
    if not isinstance(document, dict) or not isinstance(document.get(key), list):
        raise UserError(f"{place}: {key}: must be a list in the file's one object; fetch the official file again")
    return document[key]


def text(record: Any, key: str, at: str) -> str:
    """The text `key` of a record, as it is written, but not a blank one."""
    value = _value(record, key, at)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{at}.{key}: must be text, not {str(value)[:40]!r}; fetch the official file again")
    return value


def number(record: Any, key: str, at: str) -> int:
    """The whole number `key` of a record."""
    value = _value(record, key, at)
    if type(value) is not int:
        raise UserError(f"{at}.{key}: must be a whole number, not {str(value)[:40]!r}; fetch the official file again")
    return value


def plain_name(name: str, at: str) -> str:
    """The name itself, if it can name a file in a folder and nothing outside it, nor break a line of a list."""
    if not PLAIN.fullmatch(name):
        raise UserError(f"{at}: {name[:80]!r}: a name may hold only letters, digits and - _ . ; rename it")
    return name


def folder_of(raw: Path, *names: str) -> str:
    """The first of these folders with anything in it, else the first that is there, else the first: what is missing is
    called so.
    """
    there = [name for name in names if os.path.isdir(raw / name)]
    return next((name for name in there if has_entries(raw / name)), (there or names)[0])


def has_entries(folder: Path) -> bool:
    """Whether anything is in a folder."""
    with os.scandir(folder) as entries:
        return any(entries)


def lines(data: bytes, place: str) -> Iterator[tuple[str, str]]:
    """The lines of a text that are not blank, without white space around them, each after its place."""
    for i, line in enumerate(decode_utf8(data, place).split("\n"), start=1):
        if line.strip():
            yield f"{place}: line {i}", line.strip()


def split_lists(lists: Iterable[tuple[str, bytes, str]]) -> dict[str, tuple[str, str]]:
    """By what the lists name, one a line: its split and the place of that line, in the order of the lists.

    Each list is (split, content, place). Raises UserError for what is listed twice, in one list or in two.
    """
    listed: dict[str, tuple[str, str]] = {}
    for split, data, place in lists:
        for at, name in lines(data, place):
            if name in listed:
                raise UserError(f"{at}: {name} is listed already ({listed[name][1]}); keep one")
            listed[name] = (split, at)
    return listed


def _value(record: Any, key: str, at: str) -> Any:
    if not isinstance(record, dict):
        raise UserError(f"{at}: must be an object, not {type(record).__name__}; fetch the official file again")
    if key not in record:
        raise UserError(f"{at}.{key}: missing; fetch the official file again")
    return record[key]
