"""A disk that fails at any step of writing any kind of output: what was there stays, and the next attempt succeeds.

CAPTIONRL_FAULTS=500 for as many faults of each kind of output, CAPTIONRL_SEED=7 for others; by default a few.
"""

import errno
import os
import random
import resource
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny import BACKBONE, DIM, tiny_paper

from captionrl.datasets.attributes import Attribute, Attributes
from captionrl.datasets.corpus import Corpus, Item
from captionrl.datasets.mini.draw import write_clip
from captionrl.datasets.mini.world import ACTORS, sample_scene
from captionrl.datasets.prepare import prepare
from captionrl.datasets.segments import Segmented, write_segments
from captionrl.evaluation.results import Result, write_scores
from captionrl.features.backbones import MiniResNet, save_mini
from captionrl.features.export import export_features
from captionrl.features.store import write_store
from captionrl.files import write_json
from captionrl.tables.drawing import Sheet, plain
from captionrl.tables.formats import write
from captionrl.tables.table import Built, Line
from captionrl.text import ptb
from captionrl.training.checkpoint import Metadata, save_checkpoint
from captionrl.training.loop import Progress, Training
from captionrl.training.records import BOARD, EVENTS, write_metrics, write_provenance

FAULTS = int(os.environ.get("CAPTIONRL_FAULTS", "6"))
SEED = int(os.environ.get("CAPTIONRL_SEED", "1"))
STEPS = ("fsync", "replace", "rename", "write")
ERRORS = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE)
TOKENS = [["a", "man", "runs"], ["a", "dog"]]


def store(out: Path, version: int) -> None:
    arrays = np.random.default_rng(version).normal(size=(3, 4, DIM)).astype(np.float16)
    write_store(
        out / "store.h5", [(f"clip{number}", array) for number, array in enumerate(arrays)], BACKBONE | {"dim": DIM}
    )


def export(out: Path, version: int) -> None:
    store(out, version)
    export_features(out / "store.h5", out / "features.npz")


def captions(out: Path, version: int) -> None:
    items = [Item(f"{split}{version}", split, None) for split in ("train", "val", "test")]
    prepare(Corpus("toy", items, {item.id: ["a man runs", "a dog"] for item in items}, "made up"), out, 1)


def segments(out: Path, version: int) -> None:
    boundary = {"clip": [[version == number, True] for number in (1, 2)]}
    write_segments(out / "shallow.parquet", Segmented(boundary, {"version": version}))


def attributes(out: Path, version: int) -> None:
    Attributes((Attribute("man", "noun", version, 1, ("man", "men")),)).save(out / "attributes.tsv")


def module(version: int) -> torch.nn.Module:
    torch.manual_seed(version)
    return torch.nn.Linear(20, 20)


@cache
def trained(version: int) -> Path:
    """The state's directory of a training, with the events of TensorBoard alone; made before anything fails."""
    state = Path(tempfile.mkdtemp(prefix="captionrl-"))
    (state / BOARD).mkdir()
    (state / BOARD / EVENTS).write_text(f"version {version}" * 100)
    return state


def checkpoint(out: Path, version: int) -> None:
    """With what lies beside it."""
    path = out / "seed1.safetensors"
    row = {"kind": "validation", "update": version, "seconds": 1.0, "val_cider": 1.0}
    write_metrics(path, [row], trained(version))
    write_provenance(path, {"version": version}, hours=0.0)
    facts = dict.fromkeys(Metadata.__annotations__) | {"seed": version}
    save_checkpoint(path, module(version), Metadata(**facts))


def backbone(out: Path, version: int) -> None:
    torch.manual_seed(version)
    save_mini(MiniResNet({"place": 3}), out / "mini.safetensors")


def state(out: Path, version: int) -> None:
    weights = module(version)
    training = object.__new__(Training)
    training.__dict__.update(learner=SimpleNamespace(module=weights), best_weights=weights.state_dict(), history=[])
    training.__dict__.update(optimiser=torch.optim.Adam(weights.parameters()), plateau=None, progress=Progress(version))
    training.__dict__.update(_sums={}, directory=out, device="cpu")
    training.save()


def predictions(out: Path, version: int) -> None:
    write_json(out / "seed1.json", {"clip": f"a man runs {version} times"})


def scores(out: Path, version: int) -> None:
    results = {"BLEU-4": Result("BLEU-4", float(version), {"clip": 1.0}, np.ones((1, 10)), "BLEU-4|tok:ptb")}
    write_scores(out / "seed1.scores.json", results, {"seed": version})


def table(out: Path, version: int) -> None:
    paper = tiny_paper()
    (name, settings), *_ = paper.tables.items()
    lines = [Line(row, {}, {}, {"CIDEr-D": float(version)}, 0, "") for row in settings.rows]
    write(Built(paper, settings, "mini", "made up", 1, 1, lines, []), [{"version": version}], out / f"{name}.csv")


def picture(out: Path, version: int) -> None:
    sheet = Sheet()
    sheet.text(plain(f"a man runs {version} times"), 0.5, 0.5, 3)
    sheet.save(out / "figure1.png")


def clip(out: Path, version: int) -> None:
    scene = sample_scene(Random(version), train=True, actors=ACTORS, events=1, seconds=1.0)
    write_clip(scene, out / "video0.mp4", Fraction(4))


OUTPUTS = (store, export, captions, segments, attributes, checkpoint, backbone, state, predictions, scores, table)
OUTPUTS += (picture, clip)


@contextmanager
def fault(step: str, number: int, at: int) -> Iterator[None]:
    """The `at`-th call of a step fails with an error's number; of "write", whatever would make a file larger than that.

    Such a write is a short one first, as on a disk that fills up.
    """
    if step == "write":
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (at, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        return
    original, calls = getattr(os, step), 0

    def failing(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at + 1:
            names = [] if step == "fsync" else [str(arguments[0]), None, str(arguments[1])]
            raise OSError(number, os.strerror(number), *names)
        return original(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, step, failing)
        yield


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("output", OUTPUTS, ids=lambda output: output.__name__)
def test_a_disk_that_fails_costs_nothing_that_was_there(output: Callable[..., None], tmp_path, monkeypatch):
    monkeypatch.setattr(ptb, "tokenize", lambda captions: [caption.split() for caption in captions])
    monkeypatch.setattr("captionrl.training.records.commit", lambda: "abc")
    for number in (1, 2):
        (tmp_path / f"v{number}/out").mkdir(parents=True)
        output(tmp_path / f"v{number}/out", number)
    old, new = (files(tmp_path / f"v{number}/out") for number in (1, 2))
    largest = max(map(len, new.values()))
    generator = random.Random(f"{SEED}{output.__name__}")
    complaints: list[tuple[Path, str]] = []  # file, and what is wrong with it
    for trial in range(FAULTS):
        step = generator.choice(STEPS) if trial else "write"
        at = generator.randrange(largest if step == "write" else len(new))
        folder = tmp_path / f"trial{trial}/out"
        folder.mkdir(parents=True)
        output(folder, 1)
        try:
            with fault(step, generator.choice(ERRORS), at):
                output(folder, 2)
        except OSError as error:
            complaints.append((Path(str(error.filename)).relative_to(folder), str(error.strerror)))
        found = files(folder)
        assert found.keys() <= old.keys() | new.keys()
        assert all(data in (old.get(name), new.get(name)) for name, data in found.items()), (step, at)
        assert found.keys() >= old.keys()
        assert not list(folder.rglob(".*")), (step, at)
        output(folder, 2)
        assert {name: data for name, data in files(folder).items() if name in new} == new, (step, at)
    assert complaints
    assert all(any(Path(name).is_relative_to(file) for name in new) for file, _ in complaints), complaints
    assert all(reason and "\n" not in reason for _, reason in complaints), complaints
