"""One mini run of HRL, with whatever runs of it killed at random moments, ends in the bytes of an undisturbed run.

CAPTIONRL_KILLS=50 for as many kills, and for the mini scale's whole trainings in place of short ones: half an hour.
"""

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch
from project import BIN, Project

from captionrl.files import sha256

KILLS = int(os.environ.get("CAPTIONRL_KILLS", "4"))
SHORT = {"boundary-critic": {"epochs": 0.5}, "xe-warm": {"epochs": 0.5}, "hrl": {"epochs": 0.2, "validate_every": 0.1}}
CONFIG = ["seeds=[1]", "device=cpu"]
if "CAPTIONRL_KILLS" not in os.environ:
    CONFIG.append("overrides=" + json.dumps({"hrl": {"phases": SHORT}}, separators=(",", ":")))
BEFORE = ["work/msrvtt-mini/captions/metadata.json"]
LAST = "checkpoints/msrvtt-mini/hrl/hrl-16/hrl/seed1.safetensors"


def start(project: Path, *targets: str) -> subprocess.Popen:
    """Snakemake, as a user starts it."""
    with open(project / "output", "ab") as output:
        command = [BIN / "snakemake", "--config", *CONFIG, "--", *targets]
        return subprocess.Popen(command, cwd=project, stdout=output, stderr=output, start_new_session=True)


def finish(project: Path, *targets: str) -> None:
    assert start(project, *targets).wait(1800) == 0, (project / "output").read_text()[-3000:]


def jobs(project: Path) -> list[int]:
    """The processes of extraction and training in the project, orphans too."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            _, program, command, *_ = [*(entry / "cmdline").read_bytes().split(b"\0"), b"", b""]  # a zombie has none
            here = os.path.samefile(entry / "cwd", project)
        except OSError:
            continue  # it has just ended
        if here and program.endswith(b"/captionrl") and command in (b"features", b"train"):
            found.append(int(entry.name))
    return found


def updates(project: Path) -> dict[str, int]:
    """How far every training is, by the state it would go on from."""
    states = project.glob("work/state/*/state.pt")
    return {path.parent.name: torch.load(path, weights_only=True)["progress"]["update"] for path in states}


def unlock(project: Path) -> None:
    subprocess.run([BIN / "snakemake", "--unlock"], cwd=project, check=True, capture_output=True, timeout=120)


@contextmanager
def ended(project: Path) -> Iterator[None]:
    """Whatever happens, no process of the project stays."""
    try:
        yield
    finally:
        for job in jobs(project):
            os.kill(job, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_killed_at_random_moments_it_ends_in_the_same_bytes(new_project):
    whole, killed = new_project(), new_project()
    finish(whole.path, *BEFORE)
    for folder in ("data", "work", ".snakemake"):
        subprocess.run(["cp", "-a", whole.path / folder, killed.path], check=True)
    finish(whole.path, LAST)
    with ended(killed.path):
        print(disturb(killed, random.Random(1)))
        while jobs(killed.path):  # orphans of a killed Snakemake: its successor says so, and the user waits for them
            time.sleep(0.2)
        unlock(killed.path)
        finish(killed.path, LAST)
    made = [*whole.path.glob("work/msrvtt-mini/features/*"), *whole.path.glob("checkpoints/**/*.safetensors")]
    assert len(made) == 2 + 3
    for path in made:
        assert sha256(path) == sha256(killed.path / path.relative_to(whole.path)), path
    assert not list(killed.path.glob("checkpoints/**/.[0-9]*"))


def disturb(project: Project, generator: random.Random) -> Counter[str]:
    """Start Snakemake again and again, and kill it, its extraction or its training; what was killed, and how."""
    done: Counter[str] = Counter()
    snakemake, before = start(project.path, LAST), updates(project.path)
    while done.total() < KILLS:
        if snakemake.poll() is not None:
            unlock(project.path)
            snakemake = start(project.path, LAST)
        time.sleep(generator.uniform(0, 6))
        found = jobs(project.path)
        victim = generator.choice(found) if found and generator.random() < 0.7 else snakemake.pid
        number = generator.choice([signal.SIGKILL, signal.SIGTERM])
        if victim == snakemake.pid and snakemake.poll() is not None:
            continue  # it has ended by itself, at the lock of an orphan
        with suppress(ProcessLookupError):
            os.kill(victim, number)
            done[f"{'snakemake' if victim == snakemake.pid else 'job'} {number.name}"] += 1
        if victim != snakemake.pid or number == signal.SIGKILL:
            with suppress(subprocess.TimeoutExpired):
                snakemake.wait(20)
        after = updates(project.path)
        assert all(after[name] >= update for name, update in before.items())  # nothing that was saved is lost
        before = after
        assert not (project.path / LAST).exists(), f"ended after {done.total()} kills: train for longer"
    if snakemake.poll() is None:
        snakemake.kill()
        snakemake.wait()
    return done
