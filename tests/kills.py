#!/usr/bin/env python
"""Run the jobs of a pipeline again, each killed at random moments until it is let through: its files must be the same.

    snakemake --configfile .ci/smoke.yaml -- all
    python tests/kills.py -n 1000 -- --configfile .ci/smoke.yaml -- all

The jobs of Snakemake's plan come in a random order. Each is run twice from the inputs that lie in the project, in a
folder of its own: once undisturbed, then killed by KILL, TERM or INT up to --each times, and started again every time.
Trainings go on four times as long as the plan says, and save as often. Nothing of the project is written. What goes
wrong is printed and its folder kept; the status is 1 then. Ctrl-C and TERM end it with a table.
"""

import argparse
import csv
import io
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "THP_MEM_ALLOC_ENABLE": "1"}  # as the rules and the command set them

from tqdm import tqdm

from captionrl.cli import OUTPUTS, main
from captionrl.interrupt import RESUME_ME

sys.path.append(str(Path(__file__).parent))
from programs import fork
from warm import import_all

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
LONGER = 4  # times as many updates of a training as in the plan
# Of an output, what tells the time: keys of provenance and of metrics, and files that are nothing else.
TIMES = ("hours", "seconds", "reward_share")
TIMED = re.compile(r"work/state/|log$|.*\.tensorboard/")
MOST = 20  # faults; then it stops
HERE = ("papers", "params.yaml")  # what commands read beside their arguments


@dataclass
class Job:
    """A command of the plan, and its folders: `command` and what is written in it are the same in both runs."""

    kind: str
    arguments: list[str]
    project: Path
    place: Path
    lost: float = 0.0
    killed: Counter[str] = field(default_factory=Counter)

    @property
    def name(self) -> str:
        what = self.arguments[1] if self.kind == "train" else value_of(self.arguments, "out") or self.arguments[-1]
        return f"{self.kind} {what}"

    def prepare(self) -> None:
        """An empty folder, but for links to the inputs that the command names."""
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir()
        (self.place / "log").touch()
        outputs = {value_of(self.arguments, name) for name in (*OUTPUTS, *(["raw"] if self.kind == "render" else []))}
        names = {*HERE, *self.arguments} - outputs - {""}
        inputs = [Path(name) for name in names if len(name) < 200 and not name.startswith("/")]
        if self.kind == "figures":  # the one command that is told which folder holds all corpora
            inputs += [path.relative_to(self.project) for path in self.project.glob("work/*/[acf]*")]
        for path in sorted(inputs, key=lambda path: len(path.parts)):  # folders before what is in them
            for source in [self.project / path, *(self.project / path.parent).glob(f"{path.stem}.*")]:
                link = self.place / source.relative_to(self.project)
                if source.exists() and not link.exists():
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(source)
        for name in outputs - {None}:
            (self.place / str(name)).parent.mkdir(parents=True, exist_ok=True)

    def start(self) -> int:
        """The process of the command."""
        return fork(self._become)

    def _become(self) -> None:
        os.setpgid(0, 0)
        os.chdir(self.place)
        log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sys.argv = ["captionrl", *self.arguments]
        try:
            main()
        except KeyboardInterrupt as interrupt:  # before the first line of `main`, where no program can answer
            if len(traceback.extract_tb(interrupt.__traceback__)) > 2:
                traceback.print_exc()
            sys.exit(128 + signal.SIGINT)

    def run(self) -> float:
        """Run the command to its end; the seconds it took. Raises RuntimeError with its last lines if it fails."""
        began = time.monotonic()
        status = os.waitstatus_to_exitcode(os.waitpid(self.start(), 0)[1])
        if status:
            raise RuntimeError(f"status {status}: {self.said()}")
        return time.monotonic() - began

    def run_and_kill(self, after: float, number: signal.Signals) -> bool:
        """Start it, and kill it `after` seconds, unless it ends before; says whether it was killed."""
        began, child = time.time(), self.start()
        while time.time() - began < after:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                if status:
                    raise RuntimeError(f"status {os.waitstatus_to_exitcode(status)}, not killed: {self.said()}")
                return False
            time.sleep(0.01)
        files = [path for path in self.place.rglob("*") if not path.is_symlink() and path.name[0] != "."]
        saved = [path.stat().st_mtime for path in files if path.is_file() and path.name not in ("log", "lock")]
        os.kill(child, number)
        killed = time.time()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        interrupted = 128 + signal.SIGINT  # also by TERM, before `main`
        if status not in (0, -number, RESUME_ME, 128 + number, interrupted) or "Traceback" in self.said():
            raise RuntimeError(f"after {number.name}, status {status}: {self.said()}")
        if time.time() - killed > 30:
            raise RuntimeError(f"{number.name} is answered after {time.time() - killed:.0f} s")
        if number == signal.SIGKILL:
            self.lost = max(self.lost, killed - max([began, *saved]))
        self.killed[number.name] += 1
        return True

    def said(self) -> str:
        return (self.place / "log").read_text(errors="replace")[-2000:]

    def made(self) -> dict[str, Any]:
        """All files, by their names: what they hold, but for what tells the time."""
        found = {}
        for path in sorted(self.place.rglob("*")):
            name = str(path.relative_to(self.place))
            if not (path.is_symlink() or path.is_dir() or TIMED.match(name)):
                found[name] = timeless(path)
        return found


def value_of(arguments: list[str], option: str) -> str | None:
    return arguments[arguments.index(f"--{option}") + 1] if f"--{option}" in arguments else None


def timeless(path: Path) -> Any:
    content = path.read_bytes()
    if path.name.startswith("."):  # what a killed process left, and the next should have removed
        return content
    if path.suffix == ".json":
        return without_times(json.loads(content))
    if path.suffix == ".jsonl":
        return [without_times(json.loads(line)) for line in content.splitlines()]
    if path.suffix == ".csv":
        return [without_times(row) for row in csv.DictReader(io.StringIO(content.decode()))]
    return content


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(part) for key, part in value.items() if key not in TIMES}
    return [without_times(part) for part in value] if isinstance(value, list) else value


def longer(value: Any) -> Any:
    """Settings of which every phase goes on for longer, and validates, so saves, as often as it would have ended."""
    if not isinstance(value, dict):
        return value
    grown = {key: longer(part) for key, part in value.items()}
    if "epochs" in grown:
        grown |= {"epochs": LONGER * grown["epochs"], "validate_every": grown["epochs"]}
    return grown


def plan(project: Path, snakemake: list[str], place: Path) -> list[Job]:
    """The `captionrl` of every job, also of those that are done."""
    command = [Path(sys.executable).parent / "snakemake", "--forceall", "--dry-run", "--printshellcmds", *snakemake]
    printed = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True).stdout
    jobs, seen = [], set()
    for line in printed.splitlines():
        if "captionrl " not in line or " 2> >(" not in line or line in seen:
            continue
        seen.add(line)
        kind, *arguments = shlex.split(line.split("captionrl ", 1)[1].rsplit(" 2> >(", 1)[0])
        if kind == "train" and "--overrides" in arguments:
            settings = arguments.index("--overrides") + 1
            arguments[settings] = json.dumps(longer(json.loads(arguments[settings])))
        jobs.append(Job(kind, [kind, *arguments], project, place))
    return jobs


def disturb(job: Job, most: int, generator: random.Random) -> None:
    """Raises RuntimeError where the job does not end in the files of an undisturbed one."""
    job.prepare()
    seconds = job.run()
    whole = job.made()
    job.prepare()
    while job.killed.total() < most and job.run_and_kill(generator.uniform(0, seconds), generator.choice(SIGNALS)):
        pass
    job.run()
    killed = job.made()
    different = [name for name in {**whole, **killed} if whole.get(name) != killed.get(name)]
    if different:
        raise RuntimeError(f"other files: {', '.join(different)}")


def kill_all(jobs: list[Job], number: int, each: int, generator: random.Random, keep: Path) -> int:
    """Disturb jobs until so many have been killed, and print how often each kind was; the faults."""
    generator.shuffle(jobs)
    killed: defaultdict[str, Counter[str]] = defaultdict(Counter)
    done: Counter[str] = Counter()
    faults, lost = 0, (0.0, "")
    with tqdm(total=number, unit="kill", smoothing=0) as progress, suppress(KeyboardInterrupt):
        for job in cycle(jobs):
            if progress.n >= number or faults >= MOST:
                break
            try:
                disturb(job, min(each, number - progress.n), generator)
            except RuntimeError as fault:
                faults += 1
                shutil.rmtree(keep / f"{faults}", ignore_errors=True)
                shutil.copytree(job.place, keep / f"{faults}", symlinks=True)
                tqdm.write(f"FAULT {job.name} (kept in {keep / str(faults)}): {fault}")
            progress.update(job.killed.total())
            killed[job.kind].update(job.killed)
            done[job.kind] += 1
            lost = max(lost, (job.lost, job.name))
            job.killed.clear()
    names = sorted({str(number.name) for number in SIGNALS})
    print(f"{'command':<14}{'jobs':>6}" + "".join(f"{name:>9}" for name in names))
    for kind, counts in sorted(killed.items()):
        print(f"{kind:<14}{done[kind]:>6}" + "".join(f"{counts[name]:>9}" for name in names))
    total = sum(counts.total() for counts in killed.values())
    print(
        f"{total} kills of {done.total()} jobs, {faults} faults; the most that a KILL cost: {lost[0]:.1f} s, {lost[1]}"
    )
    return faults


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("snakemake", nargs="*", metavar="OPTION", help="of Snakemake: what to plan, after --")
    parser.add_argument("-n", type=int, default=100, help="kills (100)")
    parser.add_argument("--each", type=int, default=4, help="of a job, at most (4)")
    parser.add_argument("--seed", type=int, default=1, help="of the order, the moments and the signals (1)")
    parser.add_argument("--project", type=Path, default=Path(), help="where the plan's jobs have been run (.)")
    parser.add_argument("--keep", type=Path, default=Path("work/kills"), help="for faults (work/kills)")
    return parser.parse_args()


if __name__ == "__main__":
    given = parse()
    for number in (signal.SIGINT, signal.SIGTERM):  # the former is ignored where it runs in the background
        signal.signal(number, signal.default_int_handler)
    import_all()
    with tempfile.TemporaryDirectory(prefix="captionrl-kills-") as folder:
        jobs = plan(given.project.resolve(), given.snakemake, Path(folder, "job"))
        sys.exit(kill_all(jobs, given.n, given.each, random.Random(given.seed), given.keep) > 0)
