"""A mini pipeline, with whatever it runs killed at random moments, ends in the bytes of an undisturbed one.

By default two kills of short trainings of HRL. By hand, with `pytest -s -m slow` to see what was killed:

    CAPTIONRL_KILLS=50           as many kills
    CAPTIONRL_SEED=7             at other moments
    CAPTIONRL_PAPERS="sle hrl"   all jobs of these papers, in place of HRL's trainings; as long as .ci/smoke.yaml
                                 says. What is finished before the last kill is compared, removed and made again.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import torch
from project import BIN, ROOT

KILLS = int(os.environ.get("CAPTIONRL_KILLS", "2"))
SEED = int(os.environ.get("CAPTIONRL_SEED", "1"))
PAPERS = os.environ.get("CAPTIONRL_PAPERS", "").split()
SHORT = {"boundary-critic": {"epochs": 0.5}, "xe-warm": {"epochs": 0.5}, "hrl": {"epochs": 0.2, "validate_every": 0.1}}
CONFIG = ["--config", "seeds=[1]", "device=cpu"]
if PAPERS:
    CONFIG = ["--configfile", str(ROOT / ".ci/smoke.yaml"), *CONFIG]
else:
    CONFIG.append("overrides=" + json.dumps({"hrl": {"phases": SHORT}}, separators=(",", ":")))
BEFORE = ["work/msrvtt-mini/captions/metadata.json"]
TARGETS = PAPERS or ["checkpoints/msrvtt-mini/hrl/hrl-16/hrl/seed1.safetensors"]
MADE = ("data", "work", "checkpoints", "results", ".snakemake")
COMPARED = (
    "checkpoints/**/*.safetensors",
    "work/*-mini/features/*",
    "work/*-mini/predictions/**/*.json",
    "results/**/*.csv",
)


def start(project: Path, *targets: str) -> subprocess.Popen:
    """Snakemake, as a user starts it."""
    with open(project / "output", "ab") as output:
        command = [BIN / "snakemake", *CONFIG, "--", *targets]
        return subprocess.Popen(command, cwd=project, stdout=output, stderr=output, start_new_session=True)


def finish(project: Path, *targets: str) -> None:
    assert start(project, *targets).wait(3600) == 0, (project / "output").read_text()[-3000:]


def jobs(project: Path) -> dict[int, str]:
    """The commands that run in the project by their process, orphans too, and the Java of those that have one."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            first, program, command, *_ = [
                *(entry / "cmdline").read_bytes().split(b"\0"),
                b"",
                b"",
            ]  # a zombie has none
            here = os.path.samefile(entry / "cwd", project)
        except (OSError, ValueError):
            continue  # it has just ended
        if here and program.endswith(b"/captionrl"):
            found[int(entry.name)] = command.decode()
        elif here and first.endswith(b"/java"):
            found[int(entry.name)] = "java"
    return found


def updates(project: Path) -> dict[str, int]:
    """How far every training is, by the state it would go on from."""
    states = project.glob("work/state/*/state.pt")
    return {path.parent.name: torch.load(path, weights_only=True)["progress"]["update"] for path in states}


def unsaved(project: Path, job: int) -> float:
    """The seconds of work of a process that no file holds: since its last save or, without one, its start."""
    moments = [psutil.Process(job).create_time()]
    for lock in project.glob("work/state/**/lock"):
        with suppress(ValueError):  # it is being written
            if json.loads(lock.read_text())["process"] == job:
                moments += [path.stat().st_mtime for path in lock.parent.iterdir() if path.name[0] != "."]
    return time.time() - max(moments)


def unlock(project: Path) -> None:
    subprocess.run([BIN / "snakemake", *CONFIG, "--unlock"], cwd=project, check=True, capture_output=True, timeout=120)


@contextmanager
def ended(project: Path) -> Iterator[None]:
    """Whatever happens, no process of the project stays."""
    try:
        yield
    finally:
        for job in jobs(project):
            with suppress(ProcessLookupError):
                os.kill(job, signal.SIGKILL)


def compare(whole: Path, killed: Path) -> None:
    made = [path.relative_to(whole) for pattern in COMPARED for path in whole.glob(pattern)]
    assert made
    assert [str(path) for path in made if (whole / path).read_bytes() != (killed / path).read_bytes()] == []
    assert not [*killed.glob("checkpoints/**/.[0-9]*"), *killed.glob("results/**/.[0-9]*")]


@pytest.mark.slow
@pytest.mark.timeout(0 if PAPERS else 5400)
def test_killed_at_random_moments_it_ends_in_the_same_bytes(new_project):
    whole, killed = new_project().path, new_project().path
    finish(whole, *BEFORE)
    for name in MADE:
        if (whole / name).exists():
            shutil.copytree(whole / name, killed / name, symlinks=True)
    finish(whole, *TARGETS)
    with ended(killed):
        disturb(whole, killed, random.Random(SEED))
        while jobs(killed):  # orphans of a killed Snakemake: its successor says so, and the user waits for them
            time.sleep(0.2)
        unlock(killed)
        finish(killed, *TARGETS)
    compare(whole, killed)


def disturb(whole: Path, killed: Path, generator: random.Random) -> None:
    """Start Snakemake again and again, and kill it or what it runs; print what was killed, how, and what that cost."""
    done: Counter[str] = Counter()
    lost = 0.0
    snakemake, before = start(killed, *TARGETS), updates(killed)
    while done.total() < KILLS:
        if snakemake.poll() == 0:
            compare(whole, killed)
            for name in MADE:
                shutil.rmtree(killed / name, ignore_errors=True)
            before = {}
        if snakemake.poll() is not None:
            unlock(killed)
            snakemake = start(killed, *TARGETS)
        time.sleep(generator.uniform(0, 6))
        found = jobs(killed)
        victim = generator.choice(sorted(found)) if found and generator.random() < 0.7 else snakemake.pid
        number = generator.choice([signal.SIGKILL, signal.SIGTERM])
        if victim == snakemake.pid and snakemake.poll() is not None:
            continue  # it has ended by itself, at the lock of an orphan
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            cost = unsaved(killed, victim) if victim in found and number == signal.SIGKILL else 0.0
            os.kill(victim, number)
            done[f"{found.get(victim, 'snakemake')} {number.name}"] += 1
            lost = max(lost, cost)
        if victim != snakemake.pid or number == signal.SIGKILL:
            with suppress(subprocess.TimeoutExpired):
                snakemake.wait(20)
        after = updates(killed)
        assert all(after[name] >= update for name, update in before.items())  # nothing that was saved is lost
        before = after
    if snakemake.poll() is None:
        snakemake.kill()
        snakemake.wait()
    kills = ", ".join(f"{number} {what}" for what, number in sorted(done.items()))
    print(f"\n{done.total()} kills ({kills}); the most that one cost: {lost:.1f} s of work")
