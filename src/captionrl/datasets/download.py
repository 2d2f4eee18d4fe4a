"""Fetching files of the manifest: resumed, from mirrors in turn, checked before they are used."""

import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from captionrl.datasets.manifest import Entry, file_size, source, verify
from captionrl.errors import UserError
from captionrl.files import writing


def fetch(entry: Entry, directory: Path, *, opener: Callable[..., Any] = urllib.request.urlopen) -> Path:
    """Bring a file of the manifest below `directory`; return its path.

    A file already there is verified, not fetched again. A cut transfer leaves `FILE.part`, from which the next
    attempt, or the next mirror, goes on. The file gets its name only once size and checksum are right.
    """
    target = directory / entry.into
    if target.exists():
        if fault := verify(entry, target):
            raise UserError(f"{target}: {fault}; remove it to fetch it again ({source(entry.into)})")
        return target
    if entry.url is None:
        raise UserError(f"{target}: missing; put it there by hand ({source(entry.into)})")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    faults = []
    for url in (entry.url, *entry.mirrors):
        try:
            _fetch_from(url, entry, part, opener)
        except (OSError, http.client.HTTPException) as error:
            if _of_the_disk(error, part):
                raise
            faults.append(f"{url}: {' '.join(str(error).split()) or type(error).__name__}")
            continue
        with writing(target):
            os.replace(part, target)
        return target
    raise UserError(f"{target}: could not be fetched ({'; '.join(faults)}); put {entry.url} there by hand")


def _fetch_from(url: str, entry: Entry, part: Path, opener: Callable[..., Any]) -> None:
    """Fill `part` from `url` until it is whole and right; OSError says why it cannot be."""
    inherited = file_size(part) > 0
    while True:
        before = file_size(part)
        try:
            _transfer(url, entry, part, opener)
        except (OSError, http.client.HTTPException) as error:
            if file_size(part) > before and not _of_the_disk(
                error, part
            ):  # a connection that brought something is worth another try
                continue
            raise
        if not (fault := verify(entry, part)):
            return
        part.unlink()
        if not inherited:
            raise OSError(f"what came {fault}")
        inherited = False  # the bytes of an earlier attempt may be at fault: once more, from nothing


def _of_the_disk(error: Exception, part: Path) -> bool:
    """Whether it is not the network's."""
    return isinstance(error, OSError) and error.filename == str(part)


def _transfer(url: str, entry: Entry, part: Path, opener: Callable[..., Any]) -> None:
    """One request, which goes on where `part` ends if the server can; OSError if the body is cut short."""
    offset = file_size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={offset}-"} if offset else {})
    try:
        response = opener(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is left to send: `part` is whole, or wrong, and verify() finds out
            return
        raise
    with response:
        resumed = response.status == 206
        if resumed and not re.match(rf"bytes {offset}-", response.headers.get("Content-Range") or ""):
            raise OSError("the server sent another range than the one asked for")
        length = response.headers.get("Content-Length")
        end = (offset if resumed else 0) + int(length) if length else entry.bytes
        if entry.bytes and end != entry.bytes:
            raise OSError(f"the server offers {end:,} bytes, not {entry.bytes:,}")
        with (
            open(part, "ab" if resumed else "wb", buffering=0) as file,
            tqdm(total=end, initial=file.tell(), desc=entry.name, unit="B", unit_scale=True, disable=None) as bar,
        ):
            while block := response.read(1 << 16):
                if end is not None and file.tell() + len(block) > end:
                    raise OSError(f"the server sends more than the {end:,} bytes it announced")
                with writing(part):
                    rest = memoryview(block)
                    while rest:  # a nearly full disk takes a part
                        rest = rest[file.write(rest) :]
                bar.update(len(block))
            with writing(part):
                os.fsync(file.fileno())
            if end is not None and file.tell() < end:
                raise OSError(f"the connection was cut at {file.tell():,} of {end:,} bytes")
