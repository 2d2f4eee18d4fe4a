"""Small files in folders, made by code."""

import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Files = Mapping[str, bytes]  # a folder: {path: content}
ROOT = Path(__file__).resolve().parents[2]


def folder_of(write: Callable[[Path], object]) -> Files:
    """The files that `write` leaves in an empty folder."""
    with tempfile.TemporaryDirectory() as name:
        write(Path(name))
        paths = [path for path in sorted(Path(name).rglob("*")) if path.is_file()]
        return {path.relative_to(name).as_posix(): path.read_bytes() for path in paths}


def as_json(**documents: Any) -> Files:
    """Files of these names, with - for _ and the suffix .json."""
    return {f"{name}.json": json.dumps(document).encode() for name, document in documents.items()}


def lines(*rows: str) -> bytes:
    return "".join(f"{row}\n" for row in rows).encode()


def zipped(files: Files) -> bytes:
    new = io.BytesIO()
    with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return new.getvalue()
