"""A disk that fills up costs time, never work: the file is named, what was there stays, the next attempt goes on."""

import json
import re
import signal
import sys
from functools import partial

from test_resume import at, attempt
from tiny import CORPUS, OVERRIDES, PAPER, fill

from captionrl import cli


def test_no_room_for_the_state(world, xe, small_disk, tmp_path, monkeypatch, capfd):
    out, states = tmp_path / "a.safetensors", small_disk / "state"
    train = partial(world.train, "xe-baseline", "xe", state=states)
    assert attempt(train, out, lambda: at("step", 7)) == -signal.SIGKILL  # with 7 updates saved
    (state,) = states.glob("*/state.pt")
    before = state.read_bytes()
    filler = fill(small_disk, leave=len(before) // 2)

    command = ["captionrl", "train", "hrl/xe-baseline/xe", "--scale", "mini", "--corpus", CORPUS, "--seed", "1"]
    command += ["--device", "cpu", "--overrides", json.dumps(OVERRIDES)]
    files = {"captions": world.captions, "features": world.features, "papers": PAPER.parent, "out": out}
    command += [str(part) for name, path in (files | {"state": states}).items() for part in (f"--{name}", path)]
    monkeypatch.setattr(sys, "argv", command)
    assert attempt(lambda _: cli.main(), out, lambda: None) == 1
    complaint = f"captionrl train: {state}: No space left on device; make room and run the same command again"
    assert capfd.readouterr().err.splitlines()[-1] == complaint
    assert state.read_bytes() == before
    kept = sorted(path.name for path in state.parent.iterdir())
    assert kept == ["history.jsonl", "identity.json", "lock", "state.pt", "tensorboard"]
    assert not out.exists()

    filler.unlink()
    assert attempt(train, out, lambda: at("step", 6)) == 0  # it goes on after the seventh update
    assert out.read_bytes() == xe.read_bytes()


def test_no_room_for_the_checkpoint_or_what_lies_beside_it(world, xe, small_disk, tmp_path, capfd):
    out = small_disk / "out/a.safetensors"
    train = partial(world.train, "xe-baseline", "xe", state=tmp_path / "state")
    named = set()
    for leave in range(0, 1 << 20, 4 << 10):
        filler = fill(small_disk, leave)
        if attempt(train, out, lambda: None) == 0:
            break
        *_, error = capfd.readouterr().err.splitlines()
        named |= set(re.findall(r"No space left on device: '.*(\..+)'", error)) or {error}
        assert not out.exists()
        assert not list(out.parent.glob(".*"))
        filler.unlink()
    assert {".jsonl", ".csv", ".tensorboard", ".safetensors"} <= named <= {path.suffix for path in out.parent.iterdir()}
    assert out.read_bytes() == xe.read_bytes()
