"""Many small files from lists of urls: several at a time, so that no server minds; those that are gone are listed."""

import http.client
import threading
import time
import urllib.error
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from captionrl.datasets.manifest import Entry
from captionrl.datasets.records import lines, plain_name
from captionrl.datasets.transfer import CLIENT, FAULTS, Client, said
from captionrl.errors import UserError
from captionrl.files import atomic, read_bytes, sweep
from captionrl.progress import progress

WORKERS = 8
RATE = 20.0  # requests a second, of all workers together
LARGEST = 1 << 26  # bytes of one file
PREFIXES = {".gif": b"GIF8"}  # of a file of that kind; what a server sends in its place begins otherwise


@dataclass
class Pace:
    """When the next request of all workers may begin."""

    rate: float
    at: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self) -> None:
        with self.lock:
            now = time.monotonic()
            begin = max(now, self.at)
            self.at = begin + 1 / self.rate
        time.sleep(begin - now)

    def hold(self, seconds: float) -> None:
        """Let nobody begin for so long."""
        with self.lock:
            self.at = max(self.at, time.monotonic() + seconds)


def files_of(entry: Entry, directory: Path) -> Iterator[tuple[str, Path]]:
    """Each url of an entry's lists, and its file: called as the last part of the url, in the entry's folder."""
    for name in entry.listed:
        for at, line in lines(read_bytes(directory / name), str(directory / name)):
            url = line.partition("\t")[0].strip()
            if not url.startswith(("http://", "https://")):
                raise UserError(f"{at}: {url[:80]!r}; must be an http address; fix the line")
            yield url, directory / entry.into / plain_name(url.rpartition("/")[2], at)


def list_of_gone(entry: Entry, directory: Path) -> Path:
    """The file with lines URL<TAB>CAUSE of what no server has any more; without it, all are asked for again."""
    return directory / f"{entry.into.rstrip('/')}.gone.tsv"


def missing(entry: Entry, directory: Path) -> list[tuple[str, Path]]:
    """What is not there and not known to be gone."""
    gone = _gone(list_of_gone(entry, directory))
    folder = directory / entry.into
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return [(url, path) for url, path in files_of(entry, directory) if path.name not in there and url not in gone]


def fetch_listed(entry: Entry, directory: Path, client: Client = CLIENT, rate: float = RATE) -> None:
    """Bring all files of an entry's lists into its folder; those there are left alone.

    Each gets its name when it is whole; what is gone is listed. No other process may be at it. Raises UserError if some
    could not be fetched this time; the same command then goes on with these.
    """
    wanted = missing(entry, directory)
    (directory / entry.into).mkdir(parents=True, exist_ok=True)
    sweep(directory / entry.into)
    gone, failed = list_of_gone(entry, directory), []
    pace = Pace(rate)
    with (
        ThreadPoolExecutor(WORKERS) as pool,
        open(gone, "a", encoding="utf-8") as file,
        progress(total=len(wanted), title=entry.name, unit="file") as bar,
    ):
        try:
            results = pool.map(lambda one: _fetch_one(one[0], one[1], client, pace), wanted)
            for (url, _), (fault, lasting) in zip(wanted, results, strict=True):
                bar.update()
                if fault and lasting:
                    file.write(f"{url}\t{fault}\n")
                    file.flush()
                elif fault:
                    failed.append(f"{url}: {fault}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if not gone.stat().st_size:
        gone.unlink()
    if failed:
        fix = "run the same command again"
        raise UserError(f"{directory / entry.into}: {len(failed):,} files did not come ({failed[0]}, …); {fix}")


def check_gone(entry: Entry, directory: Path, allowed_failures: int) -> None:
    """Raise UserError if more files are gone than may be."""
    if (count := len(_gone(list_of_gone(entry, directory)))) > allowed_failures:
        fix = f"set allowed_failures in params.yaml (or --allowed-failures) to {count} to do without them"
        where = f"listed in {list_of_gone(entry, directory)}"
        raise UserError(f"{directory / entry.into}: {count:,} files are gone ({where}); {fix}")


def _gone(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    return {line.partition("\t")[0] for _, line in lines(read_bytes(path), str(path))}


def _fetch_one(url: str, path: Path, client: Client, pace: Pace) -> tuple[str, bool]:
    """What kept the file from coming, "" if nothing did, and whether it always will."""
    failures = 0
    while True:
        pace.wait()
        try:
            content = _content(url, path.suffix, client)
        except ValueError as error:  # not such a file
            return said(error), True
        except FAULTS as error:
            failures += 1
            if (seconds := client.wait(error, failures)) is None:
                refused = isinstance(error, urllib.error.HTTPError) and error.code in (401, 403, 404, 410, 451)
                return said(error), refused
            if isinstance(error, urllib.error.HTTPError) and error.code in (429, 503):
                pace.hold(seconds)  # all workers ask the same server
            else:
                time.sleep(seconds)
            continue
        with atomic(path) as temporary:
            temporary.write_bytes(content)
        return "", False


def _content(url: str, suffix: str, client: Client) -> bytes:
    """The whole body. Raises one of FAULTS, and ValueError for what is no such file."""
    with client.open(url) as response:
        content: bytes = response.read(LARGEST + 1)
        length = response.headers.get("Content-Length") or ""
    if len(content) > LARGEST:
        raise ValueError(f"more than {LARGEST:,} bytes")
    if length.isdecimal() and len(content) < int(length):
        raise http.client.IncompleteRead(content, int(length) - len(content))
    if not content.startswith(PREFIXES.get(suffix, b"")):
        raise ValueError(f"what came is no {suffix}")
    return content
