"""Inputs with something changed in them: bytes of any file; of JSON, YAML, tables and archives their structure, too."""

import io
import json
import re
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import PurePosixPath
from random import Random
from typing import Any

import yaml

INTEGERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
TEXTS = (
    "", " ", "\0", ".", "..", "/etc/passwd", "../../above", "a/b", "a b", "a\tb", "a\nb", "a\rb", "a\\b", '"', "'", "#",
    "%s{}", "null", "true", "nan", "inf", "-1", "0", "1e999", "1e-999", "0x10", "1_000", "9" * 5000, "1:60:60",
    "2024-13-45", "\ufeff", "\u2028", "\x85", "\x1b[31m", "\u202e", "e\u0301", "\u0661\u0662", "\u00b2",
    "\U0001f468\u200d\U0001f469", "\ufffe", "x" * 300, "x" * 200_000, "=1+1", "<<", "*a", "&a",
    "!!python/name:os.system", "vid1", "vid" + "9" * 5000, "train", "mini",
)  # fmt: skip
NUMBERS = (0, -1, 1, 2**31, 2**63, 2**64, 10**30, -(10**30), 0.5, -0.0, 1e-320, 1e308, float("nan"), float("inf"))
VALUES = (None, True, False, [], {}, [[]], [None], [{}], {"": None}, {"id": 1}, [1, "a"], *NUMBERS, *TEXTS)
WRITTEN = (  # what no value is written as
    "[" * 100_000 + "]" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000, "9" * 5000, "-" + "9" * 5000, "1e999",
    '"\\ud800"', '"\\u0000"', "[" * 50, "{", "}", '"', "\\", "'", "NaN", "-Infinity", "01", "1.", "+1", "tru",
    "// note", ",", "1,",
)  # fmt: skip
FRAGMENTS = (  # of YAML
    "a: &a [*a]", "<<: *none", "<<: {a: 1}", "<<: [1]", "? [a]\n: 1", "? {a: 1}\n: 1", "!!python/object:os.system {}",
    "!!binary x", "!!timestamp nonsense", "!!int x", "!!float x", "!!bool x", "!!set {a, b}", "!!omap [a]", "!local x",
    "--- 1", "%YAML 9.9", "a: 2024-13-45", "a: 1:60:99", "a: 0b2", "a: 0o9", "a: .inf", "a: 1__0", "\tb: 1", "a: |\n b",
    "a: >9\n b", "a: &b {c: *b}", "1: 1", "null: 1", "1.5: 1", "true: 1", "'': 1", "2024-01-01: 1",
    "\n".join([f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9 if k else ['x'] * 9)}]" for k in range(9)]),
)  # fmt: skip
MARK = "written-{}-here"


def mutate(name: str, data: bytes, random: Random) -> bytes:
    """Another content of a file of this name, with one change or a few: of structure where its suffix says that it has
    some, else, and now and then besides, of bytes."""
    suffix = PurePosixPath(name).suffix
    if suffix in TEXT and random.random() < 0.8:
        data = TEXT[suffix](data.decode(), random).encode("utf-8", "surrogatepass")
        return change_bytes(data, random) if random.random() < 0.1 else data
    if suffix in BINARY and random.random() < 0.5:
        return BINARY[suffix](data, random)
    return change_bytes(data, random)


def change_bytes(data: bytes, random: Random) -> bytes:
    for _ in range(random.choice((1, 1, 2, 4, 8))):
        data = random.choice(ON_BYTES)(data, random)
    return data


def _place(data: bytes, random: Random) -> int:
    """Half of them near the beginning, where headers are."""
    return random.randrange(min(len(data), random.choice((64, 512, len(data)))) + 1) if data else 0


def _span(data: bytes, random: Random) -> tuple[int, int]:
    start = _place(data, random)
    return start, min(len(data), start + random.choice((1, 2, 4, 16, 64, 1024)))


def _flip(data: bytes, random: Random) -> bytes:
    at = _place(data, random)
    new = (byte ^ random.choice((1, 128, 255, random.randrange(1, 256))) for byte in data[at : at + 1])
    return data[:at] + bytes(new) + data[at + 1 :]


def _cut(data: bytes, random: Random) -> bytes:
    return data[: _place(data, random)]


def _drop(data: bytes, random: Random) -> bytes:
    start, end = _span(data, random)
    return data[:start] + data[end:]


def _insert(data: bytes, random: Random) -> bytes:
    at = _place(data, random)
    return data[:at] + random.choice((random.randbytes(random.choice((1, 4, 32))), bytes(16), b"\xff" * 16)) + data[at:]


def _repeat(data: bytes, random: Random) -> bytes:
    start, end = _span(data, random)
    at = _place(data, random)
    return data[:at] + data[start:end] * random.choice((1, 2, 50)) + data[at:]


def _overwrite(data: bytes, random: Random) -> bytes:
    start, end = _span(data, random)
    at = _place(data, random)
    new = random.choice((data[start:end], bytes(end - start), b"\xff" * (end - start)))
    return data[:at] + new + data[at + len(new) :]


def _integer(data: bytes, random: Random) -> bytes:
    size = random.choice((1, 2, 4, 8))
    number = (random.choice(INTEGERS) - random.choice((0, 0, 1))) % 2 ** (8 * size)
    at = _place(data, random)
    return data[:at] + number.to_bytes(size, random.choice(("big", "little"))) + data[at + size :]


ON_BYTES = (_flip, _flip, _integer, _integer, _overwrite, _insert, _drop, _repeat, _cut)


def change_value(value: Any, random: Random) -> tuple[Any, dict[str, str]]:
    """The value with one change somewhere in it; and by mark, what is to be written instead."""
    written: dict[str, str] = {}

    def odd(old: Any) -> Any:
        kind = random.randrange(8)
        if kind == 0:
            mark = MARK.format(len(written))
            written[json.dumps(mark)] = random.choice(WRITTEN)
            return mark
        if kind == 1:
            return random.choice(([old], {"a": old}, [old, old], str(old), [old] * 1000))
        return random.choice(VALUES)

    def change(value: Any) -> Any:
        if isinstance(value, dict) and value:
            key = random.choice(list(value))
            kind = random.randrange(12)
            if kind == 0:
                return {name: part for name, part in value.items() if name != key}
            if kind == 1:
                return value | {str(random.choice(TEXTS)): odd(value[key])}
            if kind == 2:
                return {(str(random.choice(TEXTS)) if name == key else name): part for name, part in value.items()}
            if kind == 3:
                return value | {key: value[random.choice(list(value))]}
            return value | {key: odd(value[key]) if kind == 4 else change(value[key])}
        if isinstance(value, list) and value:
            at = random.randrange(len(value))
            kind = random.randrange(8)
            if kind == 0:
                return value[:at] + value[at + 1 :]
            if kind == 1:
                return value[:at] + [value[at]] * 2 + value[at + 1 :]
            if kind == 2:
                return random.sample(value, len(value))
            return [*value[:at], odd(value[at]) if kind == 3 else change(value[at]), *value[at + 1 :]]
        return odd(value)

    return change(value), written


def _changed_text(text: str, written: dict[str, str]) -> str:
    for mark, new in written.items():
        text = text.replace(mark, new)
    return text


def change_json(text: str, random: Random) -> str:
    value, written = change_value(json.loads(text), random)
    text = _changed_text(json.dumps(value, ensure_ascii=random.random() < 0.5), written)
    if random.random() < 0.1 and (keys := list(re.finditer(r'"\w*": ', text))):  # a key twice
        at = random.choice(keys)
        text = text[: at.start()] + at[0] + random.choice(("null", "[]", '"a"')) + ", " + text[at.start() :]
    return text


def change_yaml(text: str, random: Random) -> str:
    kind = random.randrange(4)
    if kind == 0:
        return change_lines(text, random)
    if kind == 1:
        lines = text.split("\n")
        at = random.randrange(len(lines))
        margin = re.match(" *", lines[at])[0]  # type: ignore[index]
        new = random.choice(FRAGMENTS).replace("\n", f"\n{margin}")
        return "\n".join([*lines[:at], margin + new, *lines[at + random.randrange(2) :]])
    value, written = change_value(yaml.safe_load(text), random)
    if kind == 2:
        return _changed_text(json.dumps(value), written)  # which is YAML, too
    plain = {mark.strip('"'): new for mark, new in written.items()}
    return _changed_text(yaml.safe_dump(value, allow_unicode=True, sort_keys=False), plain)


def change_lines(text: str, random: Random) -> str:
    """Of a table: a line or a cell changed."""
    end = "\r\n" if "\r\n" in text else "\n"
    lines = text.split(end)
    at = random.randrange(len(lines))
    kind = random.randrange(10)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, lines[random.randrange(len(lines))])
    elif kind == 2:
        random.shuffle(lines)
    elif kind == 3:
        lines.insert(at, random.choice((*TEXTS, '"')))
    elif kind == 4:
        end = random.choice(("\r", "\r\n", "\n\n", "\0", "\u2028", "\x0b"))
    else:
        cells = re.split(r"([\t, #])", lines[at])
        cell = random.randrange(len(cells))
        old = cells[cell]
        cells[cell] = random.choice(
            (random.choice(TEXTS), f'"{old}', f'"{old}"', old * 2, "", *random.choices(cells, k=2))
        )
        lines[at] = "".join(cells)
    return end.join(lines)


def change_json_lines(text: str, random: Random) -> str:
    lines = text.split("\n")
    at = random.randrange(len(lines))
    if not lines[at] or random.random() < 0.2:
        return change_lines(text, random)
    return "\n".join([*lines[:at], change_json(lines[at], random), *lines[at + 1 :]])


def change_safetensors(data: bytes, random: Random) -> bytes:
    """Its header, which is JSON, or JSON in its metadata."""
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    if (metadata := header.get("__metadata__")) and random.random() < 0.5:
        key = random.choice(list(metadata))
        text = json.dumps(header | {"__metadata__": metadata | {key: change_json(metadata[key], random)}})
    else:
        text = change_json(json.dumps(header), random)
    new = text.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(new)) + new + data[8 + size :]


def change_zip(data: bytes, random: Random) -> bytes:
    """A member changed, renamed, or there twice."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    at = random.randrange(len(members))
    name, content = members[at]
    kind = random.randrange(5)
    if kind == 0:
        members[at] = random.choice(TEXTS), content
    elif kind == 1:
        members.insert(at, members[at])
    else:
        members[at] = name, mutate(name, content, random)
    new = io.BytesIO()
    packed = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with warnings.catch_warnings(), zipfile.ZipFile(new, "w", packed) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in members:
            info = zipfile.ZipInfo()
            info.filename = info.orig_filename = name[:60_000]  # as it is: its constructor cuts names at NUL
            info.external_attr = random.choice((0, 0, 0, 0o120777 << 16, 0o020666 << 16, 0o040755 << 16))
            archive.writestr(info, content)
    return new.getvalue()


def change_tar(data: bytes, random: Random) -> bytes:
    """A member renamed, of another kind, there twice, or a claim about it changed."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = [(info, archive.extractfile(info)) for info in archive]
        contents = [(info, file.read() if file else b"") for info, file in members]
    at = random.randrange(len(contents))
    info, content = contents[at]
    kind = random.randrange(5)
    if kind == 0:
        info.name = random.choice(TEXTS)
    elif kind == 1:
        info.type, info.linkname = random.choice((b"1", b"2", b"3", b"5", b"6", b"7", b"S", b"x", b"L")), "/etc/passwd"
    elif kind == 2:
        contents.insert(at, contents[at])
    elif kind == 3:
        info.pax_headers = {random.choice(("path", "size", "mtime", "GNU.sparse.map")): random.choice(TEXTS)}
    else:
        info.size = random.choice((0, 1, 2**20, 2**33, 2**62))
    new = io.BytesIO()
    with tarfile.open(fileobj=new, mode="w:gz" if data.startswith(b"\x1f\x8b") else "w") as archive:
        for info, content in contents:
            header = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
            archive.fileobj.write(header + content + bytes(-len(content) % 512))
    return new.getvalue()


TEXT: dict[str, Callable[[str, Random], str]] = {
    ".json": change_json,
    ".jsonl": change_json_lines,
    ".yaml": change_yaml,
    **dict.fromkeys((".csv", ".tsv", ".txt"), change_lines),
}
BINARY: dict[str, Callable[[bytes, Random], bytes]] = {
    ".safetensors": change_safetensors,
    ".tar": change_tar,
    ".tgz": change_tar,
    **dict.fromkeys((".zip", ".npz", ".pt"), change_zip),
}
