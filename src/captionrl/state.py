"""The directories that unfinished work is resumed from: one for each piece of work, and one process in each.

A directory's name is a hash of all that determines the result: configuration, inputs, code. So the same command finds
it again, and no other command does.
"""

import errno
import fcntl
import json
import math
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from captionrl.errors import UserError
from captionrl.files import fingerprint, read_json, write_json, writing

IDENTITY = "identity.json"  # in a state's directory: its title, and all that determines the result
NAME = re.compile("[0-9a-f]{16}")  # of a state's directory: a fingerprint
PATIENCE = 30.0  # seconds that another process may take to end; one that was killed a moment ago is still at it


@contextmanager
def open_state(states: Path, identity: dict[str, Any], title: str, patience: float = PATIENCE) -> Iterator[Path]:
    """The directory below `states` of the work that `identity` determines, for this process alone.

    Raises UserError if another process is still in it after `patience` seconds.
    """
    directory = states / fingerprint(identity)
    with _locked(directory, patience):
        if not (directory / IDENTITY).exists():
            write_json(directory / IDENTITY, {"title": title, **identity})
        yield directory


def list_states(states: Path) -> list[dict[str, Any]]:
    """The work whose state is kept, oldest first: directory, title, bytes, days since saved, who is at it.

    Other folders, whatever is in them, are nobody's state. Raises UserError where `states` is a file.
    """
    if states.exists() and not states.is_dir():
        raise UserError(f"{states}: not a directory; give the one that trainings have as --state")
    rows = []
    for folder, _, names in os.walk(states):
        identity = Path(folder, IDENTITY)
        if IDENTITY not in names or not NAME.fullmatch(identity.parent.name) or not (title := _title(identity)):
            continue
        facts = _facts_of_files(identity.parent)
        if not facts:
            continue  # deleted at this moment
        rows.append(
            {
                "directory": str(identity.parent.relative_to(states)),
                "title": title,
                "bytes": sum(fact.st_size for fact in facts),
                "days": round(max(0.0, time.time() - max(fact.st_mtime for fact in facts)) / 86400, 2),
                "holder": _holder(identity.parent),
            }
        )
    return sorted(rows, key=lambda row: -row["days"])


def _facts_of_files(directory: Path) -> list[os.stat_result]:
    """Of the files below it that are there; who is at work renames some while we look."""
    facts = []
    for folder, _, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError):
                facts.append(os.stat(os.path.join(folder, name)))
    return facts


def _title(identity: Path) -> str:
    """What the work is, "" if a file of this name is none of ours. A damaged one stops no listing: it shows which work
    can be deleted.
    """
    try:
        content = read_json(identity)
    except UserError:
        return f"({identity.name} is damaged)" if identity.with_name("lock").exists() else ""
    return str(content["title"]) if isinstance(content, dict) and "title" in content else ""


def prune_states(states: Path, days: float, most: float = math.inf) -> list[dict[str, Any]]:
    """Delete the states not touched for `days` days, then the oldest until the rest has at most `most` bytes.

    Those that a process is at stay. Returns what was deleted.
    """
    pruned = []
    rows = list_states(states)
    left = sum(row["bytes"] for row in rows)
    for row in rows:
        if row["days"] >= days or left > most:
            directory = states / row["directory"]
            with suppress(UserError), _locked(directory, patience=0):
                for path in directory.iterdir():  # the lock last
                    if path.is_dir() and not path.is_symlink():
                        shutil.rmtree(path)
                    elif path.name != "lock":
                        path.unlink()
                (directory / "lock").unlink()
                pruned.append(row)
                left -= row["bytes"]
            with suppress(OSError):  # somebody begins anew at this moment
                directory.rmdir()  # not before the lock is closed: on NFS an open file stays in its directory
    return pruned


@contextmanager
def _locked(directory: Path, patience: float) -> Iterator[None]:
    """Hold the directory's lock, which the system takes back when its holder dies, by whatever death."""
    deadline = time.monotonic() + patience
    waiting = False
    while (file := _lock(directory)) is None:
        holder = _holder(directory) or "another process"
        if time.monotonic() >= deadline:
            raise UserError(f"{directory}: {holder} is at this; wait until it has finished, or stop it, and run again")
        if not waiting:
            print(f"{directory}: {holder} is at this; waiting up to {patience:g} s for its end", file=sys.stderr)
            waiting = True
        time.sleep(0.2)
    with file:
        with writing(directory / "lock"):
            file.truncate(0)
            facts = {"process": os.getpid(), "host": socket.gethostname(), "job": os.environ.get("SLURM_JOB_ID")}
            os.write(file.fileno(), json.dumps(facts).encode())  # not into a buffer, which closing would write again
        yield


def _lock(directory: Path) -> IO[str] | None:
    """The locked file, or None where another process has it. Closing it gives the lock back."""
    while True:
        directory.mkdir(parents=True, exist_ok=True)
        try:
            file = open(directory / "lock", "a+", encoding="utf-8")  # noqa: SIM115 - it stays open while it is locked
        except FileNotFoundError:
            continue  # pruned at this very moment
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), os.stat(directory / "lock")):
                return file
        except FileNotFoundError:
            pass  # likewise
        except BlockingIOError:
            file.close()
            return None
        except OSError as error:
            file.close()
            if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                fix = "have it mounted with locks (Lustre: -o flock), or give --state a directory elsewhere"
                raise UserError(f"{directory}: its file system has no locks; {fix}") from None
            raise
        file.close()


def _holder(directory: Path) -> str | None:
    """Who holds the directory's lock, in words; None if nobody does."""
    try:
        with open(directory / "lock", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                with suppress(ValueError, KeyError, TypeError):
                    facts = json.load(file)
                    job = f", SLURM job {facts['job']}" if facts["job"] else ""
                    return f"process {facts['process']} on {facts['host']}{job}"
                return "another process"
    except FileNotFoundError:
        pass
    return None
