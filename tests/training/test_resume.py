"""A training that is killed, at whatever instant, and started again ends in the same bytes as one left alone.

Attempts that die are forked off this process, which has everything imported; they patch only themselves.
"""

import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from tiny import CORPUS, OVERRIDES, PAPER, SEEING

from captionrl.config import overlay
from captionrl.errors import UserError
from captionrl.interrupt import RESUME_ME
from captionrl.training import loop, run
from captionrl.training.loop import Training

STAGES = {
    "runs": {"stages": {"model": "stack-cap", "phases": ["c2f"]}},
    "phases": {
        "c2f": {key: value for key, value in OVERRIDES["phases"]["rl"].items() if key != "baseline"}
        | {"objective": "stagewise", "epochs": 3}
    },
}
ADAMW = {
    "runs": {"adamw": {"model": "attention", "phases": ["adamw"]}},
    "phases": {
        "adamw": OVERRIDES["phases"]["xe"]
        | {"objective": "xe", "epochs": 4, "optimiser": "adamw", "weight_decay": 0.1, "learning_rate": 0.01}
        | {"warmup": 1.5, "lr_schedule": "cosine", "clip_norm": 1}
    },
}
CNN = {
    "runs": {"end": {"model": "e2e", "backbone": "mini-frames", "phases": ["step3"]}},
    "phases": {"step3": {"epochs": 3}},
}
ACTOR_CRITICS = {key: value for key, value in OVERRIDES["phases"]["rl"].items() if key != "baseline"} | {"epochs": 3}
REWARD_MODELS = {
    "runs": {"actor-critic": {"model": "actor-critic", "phases": ["reward-model", "value", "joint"]}},
    "phases": {
        "reward-model": {
            key: ACTOR_CRITICS[key] for key in ("epochs", "validate_every", "batch", "optimiser", "learning_rate")
        }
        | {"objective": "embedding", "margin": 0.2, "lr_schedule": "step", "lr_step": {"factor": 0.9, "every": 1}},
        "value": ACTOR_CRITICS | {"objective": "value", "reward": {"embedding": 0.5, "CIDEr-D": 0.5}},
        "joint": ACTOR_CRITICS
        | {"objective": "actor-critic", "reward": {"embedding": 0.5, "CIDEr-D": 0.5}, "baseline": "value", "steps": 1},
    },
}


@pytest.fixture(
    params=[
        "cross-entropy",
        "adamw",
        "greedy",
        "linear",
        "stages",
        "hrl",
        "boundaries",
        "reward-model",
        "value",
        "joint",
        "cnn",
    ]
)
def train(request, world, xe, warm) -> Callable[[Path], Path]:
    """Train a phase into a file: cross-entropy with scheduled sampling, by AdamW too, REINFORCE, at every stage
    too, HRL's own, and those of a policy with a value network or with a CNN of its own."""
    if request.param == "hrl":
        return partial(world.train, "hrl-16", "hrl", overrides={"phases": {"hrl": {"epochs": 3}}}, start=warm)
    if request.param == "boundaries":
        return partial(world.train, "boundary-critic", "boundary-critic", features=None)
    if request.param == "cross-entropy":
        return partial(world.train, "xe-baseline", "xe", overrides={"phases": {"xe": {"epochs": 5}}})
    if request.param == "adamw":
        return partial(world.train, "adamw", "adamw", overrides=ADAMW)
    if request.param == "cnn":
        return partial(world.train, "end", "step3", overrides=overlay(SEEING, CNN), **world.cnn())
    if request.param == "stages":
        return partial(world.train, "stages", "c2f", overrides=STAGES)
    if request.param in REWARD_MODELS["phases"]:
        start = world.untrained(world.root / "untrained/actor-critic.safetensors", model="actor-critic")
        more = {} if request.param == "reward-model" else {"start": start}
        return partial(world.train, "actor-critic", request.param, overrides=REWARD_MODELS, **more)
    overrides = {"phases": {"rl": {"baseline": request.param, "epochs": 3}}}
    return partial(world.train, "rl-baseline", "rl", overrides=overrides, start=xe)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at(method: str, update: int, act: Callable[..., None] = die) -> None:
    """Let `act` happen when Training.step, .validate or .save is called at `update`."""
    original = getattr(Training, method)

    def watched(self, *args, **options):
        if self.progress.update == update:
            act()
        return original(self, *args, **options)

    setattr(Training, method, watched)


def die_while_writing(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data[: len(data) // 2])
    die()


MOMENTS = {  # when the process is killed -> the update whose state is in the file then
    "before the first update": (lambda: at("step", 0), None),
    "before update 3": (lambda: at("step", 2), 2),
    "validating": (lambda: at("validate", 6), 5),
    "writing the state": (lambda: at("save", 8, lambda: setattr(Path, "write_bytes", die_while_writing)), 7),
    "renaming the state": (lambda: at("save", 10, lambda: setattr(os, "replace", lambda *_: die())), 9),
    "between saving and going on": (lambda: at("step", 11), 11),
    "writing the metrics": (lambda: setattr(run, "write_metrics", lambda *_: die()), "all"),
    "writing the checkpoint": (lambda: setattr(run, "save_checkpoint", lambda *_: die()), "all"),
}


def attempt(train: Callable[..., Path], out: Path, prepare: Callable[[], None], saving: float = math.inf) -> int:
    """Train in a process of its own after `prepare`; its exit status, or minus the signal that ended it."""

    def child() -> None:
        run.train = partial(loop.train, saving=saving)
        prepare()
        train(out)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(60)
    return process.exitcode


def state_file(out: Path) -> Path:
    (directory,) = (out.parent / "state").iterdir()
    return directory / "state.pt"


def read_state(out: Path) -> dict[str, Any]:
    return torch.load(state_file(out), weights_only=True)


def but_times(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: row[key] for key in row if key not in ("seconds", "reward_share")} for row in history]


def metrics(out: Path) -> list[dict[str, Any]]:
    return but_times([json.loads(line) for line in out.with_suffix(".metrics.jsonl").read_text().splitlines()])


def assert_same_training(a: Path, b: Path) -> None:
    """The same checkpoint, metrics, and last state: weights, optimiser, schedule, random numbers."""
    assert a.read_bytes() == b.read_bytes()
    assert metrics(a) == metrics(b)
    first, second = read_state(a), read_state(b)
    for state in (first, second):
        state["history"] = but_times(state["history"])
        state["progress"].pop("seconds")
        state["sums"].pop("reward_share", None)
    assert first.keys() == second.keys()
    assert [name for name in first if not same(first[name], second[name])] == []


def same(a: Any, b: Any) -> bool:
    """Equal to the last bit, tensors within dicts and lists too."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


EVERYWHERE = ("validating", "between saving and going on")  # what a learner's state must survive


def test_killed_again_and_again_and_resumed_gives_the_same_bytes(train, tmp_path, monkeypatch, request):
    """At every moment in one training; the others differ in what they have to save, not in how it is saved."""
    moments = MOMENTS if "cross-entropy" in request.node.name else {name: MOMENTS[name] for name in EVERYWHERE}
    monkeypatch.setattr(loop, "LOG_ROWS", 2)  # so that some moments lie between two logged rows
    whole, killed = train(tmp_path / "whole/a.safetensors"), tmp_path / "killed/a.safetensors"
    last = read_state(whole)["progress"]["update"]
    for moment, (prepare, saved) in moments.items():
        assert attempt(train, killed, prepare) == -signal.SIGKILL, moment
        assert not killed.exists(), moment
        if saved is None:
            assert not state_file(killed).exists(), moment
        else:  # no attempt began anew
            assert read_state(killed)["progress"]["update"] == (last if saved == "all" else saved), moment
    train(killed)
    assert_same_training(whole, killed)
    assert metrics(whole)[-1]["update"] == last


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_state_and_asks_to_be_run_again(world, xe, tmp_path, number):
    train, out = partial(world.train, "xe-baseline", "xe"), tmp_path / "a.safetensors"
    for update in (4, 6):
        signalled = partial(at, "step", update, lambda: os.kill(os.getpid(), number))
        assert attempt(train, out, signalled, saving=1e-9) == RESUME_ME == 75
        assert read_state(out)["progress"]["update"] == update + 1
        assert not out.exists()
    train(out)
    assert_same_training(xe, out)


def test_a_finished_training_is_not_trained_again(world, xe, tmp_path, monkeypatch):
    monkeypatch.setattr(Training, "step", lambda *_, **__: pytest.fail("an update"))
    out = world.train("xe-baseline", "xe", tmp_path / "a.safetensors", state=xe.parent / "state")
    assert out.read_bytes() == xe.read_bytes()
    assert metrics(out) == metrics(xe)


def test_a_state_saved_by_time_is_the_whole_state(world, xe, tmp_path, monkeypatch):
    """However often the state is written, the training is the same."""
    monkeypatch.setattr(run, "train", partial(loop.train, saving=math.inf))
    assert_same_training(xe, world.train("xe-baseline", "xe", tmp_path / "a.safetensors"))


@pytest.mark.parametrize("damage", ["empty", "cut", "text"])
def test_a_broken_state_file_is_named_or_replaced(world, xe, tmp_path, damage):
    out = tmp_path / "a.safetensors"
    attempt(partial(world.train, "xe-baseline", "xe"), out, lambda: at("step", 1))
    whole = state_file(out).read_bytes()
    state_file(out).write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "text": b"no state"}[damage])
    try:
        world.train("xe-baseline", "xe", out)
    except UserError as error:
        assert str(state_file(out)) in str(error)  # noqa: PT017 - either is fine
    else:
        assert out.read_bytes() == xe.read_bytes()


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), PermissionError("no")])
def test_what_says_nothing_of_a_state_does_not_say_to_remove_it(world, tmp_path, monkeypatch, error):
    out = tmp_path / "a.safetensors"
    attempt(partial(world.train, "xe-baseline", "xe"), out, lambda: at("step", 1))
    with monkeypatch.context() as patch:
        place = (loop, "read_bytes") if isinstance(error, OSError) else (torch, "load")
        patch.setattr(*place, mock.Mock(side_effect=error))
        with pytest.raises(type(error)):
            world.train("xe-baseline", "xe", out)
    assert state_file(out).exists()


class Malice:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def test_code_in_a_state_file_is_not_run(world, tmp_path):
    out, target = tmp_path / "a.safetensors", tmp_path / "malice"
    attempt(partial(world.train, "xe-baseline", "xe"), out, lambda: at("step", 1))
    torch.save({"module": Malice(target)}, state_file(out))
    with suppress(Exception):
        world.train("xe-baseline", "xe", out)
    assert not target.exists()


def test_nothing_of_killed_attempts_is_left(world, tmp_path):
    out = tmp_path / "a.safetensors"
    train = partial(world.train, "xe-baseline", "xe")
    for moment in ("writing the state", "renaming the state"):
        assert attempt(train, out, MOMENTS[moment][0]) == -signal.SIGKILL
    train(out)
    kept = sorted(path.name for path in state_file(out).parent.iterdir())
    assert kept == ["history.jsonl", "identity.json", "lock", "state.pt", "tensorboard"]


@pytest.mark.slow
def test_the_command_stops_at_term_and_goes_on_when_run_again(world, tmp_path):
    longer, out = {"phases": {"xe": {"epochs": 40}}}, tmp_path / "stopped/a.safetensors"
    files = {"captions": world.captions, "features": world.features, "papers": PAPER.parent, "out": out}
    command = [Path(sys.executable).parent / "captionrl", "train", "hrl/xe-baseline/xe", "--scale", "mini"]
    command += ["--corpus", CORPUS, "--seed", "1", "--device", "cpu", "--state", out.parent / "state"]
    command += ["--overrides", json.dumps(overlay(OVERRIDES, longer))]
    command += [part for name, path in files.items() for part in (f"--{name}", path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        process.stderr.readline()  # the bar
        time.sleep(0.5)
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == RESUME_ME
    assert 0 < read_state(out)["progress"]["update"] < 240
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    assert_same_training(world.train("xe-baseline", "xe", tmp_path / "whole/a.safetensors", longer), out)
