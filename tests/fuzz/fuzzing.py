"""Mutants read in processes of their own, of which memory and processor time are limited.

A mutant is read, or refused by a UserError of one line that names a file of it. All else is a fault: another exception,
a dead process, more than SECONDS or MEMORY, and a file changed that was not to be written.
"""

import multiprocessing
import os
import resource
import shutil
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from files import Files
from mutants import mutate
from targets import Target
from tqdm import tqdm

from captionrl.errors import LONGEST, UserError

SECONDS = 10  # of the processor
PATIENCE = 120  # seconds by the clock, for what waits
MEMORY = 2**30  # bytes, above what imports have taken
CEILING = 2**32  # likewise, of what is asked for, used or not; what asks for more is told that there is none
PRELOAD = ["config", "datasets.read", "evaluation.submit", "features.imports", "tables.curves", "training.loop"]

os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # its own one asks for a gigabyte at once
Read = Callable[[Path, Path], object]  # of a folder of files; the other one is to write to

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload([f"captionrl.{name}" for name in PRELOAD])


def room() -> tempfile.TemporaryDirectory[str]:
    """An empty folder, in memory where that can be: most of the time would go into making and removing folders."""
    return tempfile.TemporaryDirectory(prefix="fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant. `fault`: what is wrong, the same words for the same fault; `detail`: more of it."""

    read: bool
    fault: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Mutant:
    """A folder of which one file, or by hand none, has been changed."""

    files: Files
    changed: str


def mutant(target: Target, samples: Sequence[Files], seed: int, number: int) -> Mutant:
    """Equal for equal arguments."""
    random = Random(f"{seed} {number}")
    files = samples[number % len(samples)]
    changed = random.choice([file for file in files if file not in target.fixed])
    return Mutant({**files, changed: mutate(changed, files[changed], random)}, changed)


def outcomes(read: Read, mutants: Sequence[Mutant], folder: Path) -> Iterator[Outcome]:
    """What becomes of each, in order; `folder` is an empty one."""
    begun = 0
    while begun < len(mutants):
        receiver, sender = _server.Pipe(duplex=False)
        process = _server.Process(target=_work, args=(read, mutants[begun:], folder, sender))
        process.start()
        sender.close()
        try:
            while begun < len(mutants):
                outcome = receiver.recv() if receiver.poll(PATIENCE) else Outcome(False, f"waits for {PATIENCE} s")
                begun += 1
                yield outcome
                if outcome.fault.startswith("waits"):
                    break
        except EOFError:
            process.join()
            if process.exitcode == 0:  # enough memory used
                continue
            begun += 1
            yield Outcome(False, _death(process.exitcode or 0), (folder / "stderr").read_text(errors="replace")[-500:])
        finally:
            process.kill()
            process.join()
            receiver.close()


def _death(code: int) -> str:
    if code == -signal.SIGPROF:
        return f"more than {SECONDS} s"
    return f"the process died: {signal.Signals(-code).name if code < 0 else f'status {code}'}"


def _work(read: Read, mutants: Sequence[Mutant], folder: Path, sender: Connection) -> None:
    here = folder / "here"
    here.mkdir(parents=True, exist_ok=True)
    os.chdir(here)
    os.dup2(os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    with open("/proc/self/status") as status:
        asked = next(1024 * int(line.split()[1]) for line in status if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (asked + CEILING, asked + CEILING))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    tqdm.set_lock(threading.RLock())  # its own is one of all processes, and those that die would leave it behind
    used = _most_memory()
    for mutant in mutants:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        outcome = attempt(read, mutant, folder)
        signal.setitimer(signal.ITIMER_PROF, 0)
        if (more := _most_memory() - used) > MEMORY:  # it will not forget that: another process goes on
            sender.send(Outcome(False, f"more than {MEMORY >> 20} MiB", f"{more >> 20} MiB"))
            break
        sender.send(outcome)


def _most_memory() -> int:
    """Bytes that this process has had in memory at a time."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def attempt(read: Read, mutant: Mutant, folder: Path) -> Outcome:
    """Read a mutant in this process."""
    given, out = folder / "here/given", folder / "out"
    for path in (given, out):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
    for file, content in mutant.files.items():
        (given / file).parent.mkdir(parents=True, exist_ok=True)
        (given / file).write_bytes(content)
    before = _contents(folder)
    try:
        read(given, out)
        outcome = Outcome(True)
    except UserError as error:
        outcome = _refusal(error, given)
    except Exception as error:
        outcome = Outcome(False, f"{type(error).__name__} at {_place(error)}", traceback.format_exc()[-3000:])
    if changed := sorted({path for path, _ in before ^ _contents(folder)}):
        return Outcome(False, "changes files that were not to be written", ", ".join(changed))
    return outcome


def _refusal(error: UserError, given: Path) -> Outcome:
    first, *others = str(error).splitlines() or [""]
    if not any(path.name in first for path in (given, *given.rglob("*"))):
        return Outcome(False, f"no file named at {_place(error)}", first)
    if others and not first.endswith("these two lines of Python:"):
        return Outcome(False, f"more than one line at {_place(error)}", str(error))
    if not first.isprintable():
        return Outcome(False, f"characters that control a terminal at {_place(error)}", ascii(first))
    if len(first) > LONGEST + len(str(given)):
        return Outcome(False, f"a long line at {_place(error)}", first)
    return Outcome(False, detail=str(error))


def _place(error: BaseException) -> str:
    """Where in the package it came from."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/captionrl/" in frame.filename]
    if not frames:
        return "another place"
    return f"{frames[-1].filename.rpartition('/captionrl/')[2]}:{frames[-1].name}"


def _contents(folder: Path) -> set[tuple[str, bytes]]:
    """All files but those in `out`, and what is written of a dying process."""
    names = {path: path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {(str(name), path.read_bytes()) for path, name in names.items() if name.parts[0] not in ("out", "stderr")}
