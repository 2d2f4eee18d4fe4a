"""Transfers over HTTP that survive what servers and lines do: resumed, repeated, from mirrors in turn, checked."""

import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from captionrl import __version__
from captionrl.datasets.manifest import Entry, file_size, record_of, verify
from captionrl.errors import UserError
from captionrl.files import writing
from captionrl.progress import progress

FAULTS = (OSError, http.client.HTTPException)  # all that a request can end in
UNKNOWN = 16_000_000_000  # bytes taken of a file of which nobody knows the exact size, or twice what it is about


@dataclass(frozen=True)
class Client:
    """How long a request waits, and how often it is repeated."""

    timeout: float = 60.0  # seconds without a byte
    attempts: int = 5  # in a row that bring nothing
    pause: float = 2.0  # seconds before the second of them, doubled before each further one
    longest: float = 600.0  # seconds that a server may ask to wait
    opener: Callable[..., Any] = urllib.request.urlopen

    def open(self, url: str, **headers: str) -> Any:
        """The response to GET, after redirections. Raises one of FAULTS."""
        request = urllib.request.Request(url, headers={"User-Agent": f"captionrl/{__version__}", **headers})
        return self.opener(request, timeout=self.timeout)

    def wait(self, error: Exception, failures: int) -> float | None:
        """Seconds until a request is repeated that has failed so often in a row; None where that is of no use."""
        if failures >= self.attempts:
            return None
        if isinstance(error, urllib.error.HTTPError):
            if error.code in (429, 503) and (asked := _retry_after(error.headers.get("Retry-After"))) is not None:
                return asked if asked <= self.longest else None
            if error.code not in (408, 429) and error.code < 500:
                return None
        return float(self.pause * 2 ** (failures - 1))


def _retry_after(value: str | None) -> float | None:
    """The header in seconds, of which it has the number or the end."""
    if value is None or value.strip().isdecimal():
        return None if value is None else float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def said(error: Exception) -> str:
    """An error in one line."""
    return " ".join(str(error).split()) or type(error).__name__


CLIENT = Client()


def fetch(entry: Entry, directory: Path, client: Client = CLIENT) -> Path:
    """Bring what an entry transfers below `directory`, and return its path: that of the file, which was then there or
    has been checked, or FILE.part of an archive, which never gets its name and is to be unpacked.

    A file already there is verified, not fetched again. A cut transfer leaves `FILE.part`, from which the next
    attempt, or the next mirror, goes on. Raises UserError in one line where no mirror has the right file.
    """
    target = directory / entry.file
    if target.exists():
        if fault := verify(entry, target):
            raise UserError(f"{target}: {fault}; remove it to fetch it again (from: {entry.url})")
        return target
    assert entry.url
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    faults = []
    for url in (entry.url, *entry.mirrors):
        try:
            _fetch_from(url, entry, part, client)
        except FAULTS as error:
            if _of_the_disk(error, part):
                raise
            faults.append(f"{url}: {said(error)}")
            continue
        if entry.unpack:
            return part
        with writing(target):
            os.replace(part, target)
        forget(part)
        return target
    raise UserError(f"{target}: could not be fetched ({'; '.join(faults)}); put {entry.url} there by hand")


def forget(part: Path) -> None:
    """Remove FILE.part and what is kept beside it."""
    part.unlink(missing_ok=True)
    _origin_of(part).unlink(missing_ok=True)


def _fetch_from(url: str, entry: Entry, part: Path, client: Client) -> None:
    """Fill `part` from `url` until it is whole and right; one of FAULTS says why it cannot be."""
    inherited = file_size(part) > 0
    failures = 0
    while True:
        before = file_size(part)
        try:
            _transfer(url, entry, part, client)
        except FAULTS as error:
            if _of_the_disk(error, part):
                raise
            failures = 1 if file_size(part) > before else failures + 1
            if (seconds := client.wait(error, failures)) is None:
                raise
            # A connection that brought something is worth another try at once.
            time.sleep(0 if file_size(part) > before else seconds)
            continue
        if not (fault := verify(entry, part, record_of(part.with_suffix("")))):
            return
        part.unlink()
        if not inherited:
            raise OSError(f"what came {fault}")
        inherited = False  # the bytes of an earlier attempt may be at fault: once more, from nothing


def _of_the_disk(error: Exception, part: Path) -> bool:
    """Whether it is not the network's."""
    return isinstance(error, OSError) and error.filename == str(part)


def _transfer(url: str, entry: Entry, part: Path, client: Client) -> None:
    """One request, which goes on where `part` ends if the server can; OSError if the body is cut short."""
    origin = _origin_of(part)
    known_url, _, version = origin.read_text().partition("\n") if origin.is_file() else ("", "", "")
    headers = {}
    if entry.recorded and not (known_url == url and version):
        part.unlink(missing_ok=True)  # no checksum would tell halves of two versions from a whole
    elif offset := file_size(part):
        headers = {"Range": f"bytes={offset}-"}
        if entry.recorded:
            headers["If-Range"] = version
    offset = file_size(part)
    try:
        response = client.open(url, **headers)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is left to send: `part` is whole, or wrong, and verify() finds out
            return
        raise
    with response:
        resumed = response.status == 206
        if resumed and not re.match(rf"bytes {offset}-", response.headers.get("Content-Range") or ""):
            raise OSError("the server sent another range than the one asked for")
        if response.headers.get_content_type() == "text/html":
            raise OSError("the server sent a web page, not the file")
        length = response.headers.get("Content-Length") or ""
        end = (offset if resumed else 0) + int(length) if length.isdecimal() else entry.bytes
        if entry.bytes and end != entry.bytes:
            raise OSError(f"the server offers {end:,} bytes, not {entry.bytes:,}")
        limit = entry.bytes or max(2 * entry.size, UNKNOWN)
        if (most := end or limit) > limit:
            raise OSError(f"the server offers {most:,} bytes, where no more than {limit:,} are expected")
        if entry.recorded and not resumed:
            origin.write_text(f"{url}\n{response.headers.get('ETag') or response.headers.get('Last-Modified') or ''}")
        with (
            open(part, "ab" if resumed else "wb", buffering=0) as file,
            progress(total=end, initial=file.tell(), title=entry.name, unit="B", unit_scale=True) as bar,
        ):
            while block := response.read(1 << 16):
                if file.tell() + len(block) > most:
                    raise OSError(f"the server sends more than the {most:,} bytes it announced")
                with writing(part):
                    rest = memoryview(block)
                    while rest:  # a nearly full disk takes a part
                        rest = rest[file.write(rest) :]
                bar.update(len(block))
            with writing(part):
                os.fsync(file.fileno())
            if end is not None and file.tell() < end:
                raise OSError(f"the connection was cut at {file.tell():,} of {end:,} bytes")


def _origin_of(part: Path) -> Path:
    """Where the url and the version of the bytes in FILE.part are kept."""
    return part.with_name(f"{part.name}.from")
