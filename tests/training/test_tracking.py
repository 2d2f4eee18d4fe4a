"""What a tracker is shown of running trainings, by a library that writes down what it is given."""

import json
import sys
from types import SimpleNamespace

import pytest

from captionrl.errors import UserError
from captionrl.training.tracking import TRACKERS, Tracker


class Run:
    def __init__(self, **given):
        self.given, self.logged, self.finished = given, [], False

    def log(self, values, step):
        assert not self.finished
        assert not self.logged or step >= self.logged[-1][0]  # what goes back, wandb drops
        self.logged.append((step, values))

    def finish(self):
        self.finished = True


@pytest.fixture
def runs(monkeypatch):
    made = []

    def init(**given):
        made.append(Run(**given))
        return made[-1]

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    return made


def write(directory, *rows):
    directory.mkdir(exist_ok=True)
    (directory / "identity.json").write_text(json.dumps({"seed": 1}))
    lines = [{"total": 10, "metric": "val_cider"}, *rows]
    (directory / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def train(update, loss):
    return {"kind": "train", "update": update, "seconds": 1.0, "loss": loss}


def test_rows_come_once_as_they_are_made_and_runs_end_with_their_trainings(runs, tmp_path):
    first, second, captions = (
        tmp_path / "a",
        tmp_path / "b",
        {"kind": "captions", "update": 0, "captions": {"v": "a dog"}},
    )
    write(first, captions, train(2, 3.0))
    tracker = Tracker("wandb")
    tracker.look({first: "hrl/xe seed 1", second: "has not begun"})
    tracker.look({first: "hrl/xe seed 1"})
    (run,) = runs
    assert run.given == {"project": "captionrl", "name": "hrl/xe seed 1", "config": {"seed": 1}, **TRACKERS["wandb"]}
    assert run.logged == [(0, {"captions/v": "a dog"}), (2, {"train/seconds": 1.0, "train/loss": 3.0})]
    write(first, captions, train(2, 3.0), train(4, 2.0))
    write(second, train(1, 9.0))
    tracker.look({second: "hrl/rl seed 1"})
    assert (run.logged[2][0], run.finished) == (4, True)
    assert [step for step, _ in runs[1].logged] == [1]
    tracker.close()
    assert runs[1].finished


def test_what_a_training_writes_again_after_a_kill_is_shown_once(runs, tmp_path):
    write(tmp_path / "a", train(2, 3.0), train(4, 2.0), train(6, 1.0))
    tracker = Tracker("wandb")
    tracker.look({tmp_path / "a": "a"})
    write(tmp_path / "a", train(2, 3.0))  # as of the last save
    tracker.look({tmp_path / "a": "a"})
    write(tmp_path / "a", train(2, 3.0), train(4, 2.0), train(6, 1.0), train(8, 0.5))
    tracker.look({tmp_path / "a": "a"})
    assert [step for step, _ in runs[0].logged] == [2, 4, 6, 8]


def test_a_library_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(UserError, match=r"--to trackio: .*trackio.*; run `pip install trackio`"):
        Tracker("trackio")
