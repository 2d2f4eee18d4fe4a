"""A training can be watched while it runs: its rows come as they are made, and again after a kill."""

import json
from functools import partial

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_resume import at, attempt

from captionrl.state import list_states
from captionrl.training.records import LiveHistory, read_history, summary


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def state_of(out):
    (state,) = (out.parent / "state").glob("*/state.pt")
    return state.parent


def test_rows_can_be_read_before_the_training_ends(world, tmp_path):
    out = tmp_path / "a.safetensors"
    assert attempt(partial(world.train, "xe-baseline", "xe"), out, lambda: at("step", 7)) < 0  # killed
    first, rows = read_history(state_of(out))
    assert (first["metric"], first["total"] > 7) == ("val_cider", True)
    assert [row["kind"] for row in rows[:2]] == ["captions", "validation"]
    assert max(row["update"] for row in rows) <= 7
    assert len(rows) > 2
    world.train("xe-baseline", "xe", out)
    assert read_history(state_of(out))[1] == rows_of(out.with_suffix(".metrics.jsonl"))


def test_captions_are_those_of_the_first_validation_items(world, xe):
    shown = [row for row in rows_of(xe.with_suffix(".metrics.jsonl")) if row["kind"] == "captions"]
    validations = [row for row in rows_of(xe.with_suffix(".metrics.jsonl")) if row["kind"] == "validation"]
    items = (world.captions / "splits/val.txt").read_text().split()
    assert [row["update"] for row in shown] == [row["update"] for row in validations]
    for row in shown:
        assert list(row["captions"]) == items[:4]
    assert all("<" not in caption for caption in shown[-1]["captions"].values())


def test_tensorboard_has_numbers_captions_and_settings(xe):
    board = EventAccumulator(str(xe.with_suffix(".tensorboard"))).Reload()
    rows = rows_of(xe.with_suffix(".metrics.jsonl"))
    scores = [(row["update"], row["val_cider"]) for row in rows if row["kind"] == "validation"]
    read = [(event.step, event.value) for event in board.Scalars("validation/val_cider")]
    assert read == [(update, pytest.approx(score, rel=1e-6)) for update, score in scores]
    (item, caption), *_ = next(row for row in reversed(rows) if row["kind"] == "captions")["captions"].items()
    tensors = board.Tensors(f"captions/{item}/text_summary")
    assert tensors[-1].tensor_proto.string_val[0].decode() == caption
    assert b"learning_rate" in board.Tensors("settings/text_summary")[0].tensor_proto.string_val[0]


def test_a_line_that_is_being_written_is_not_read(tmp_path):
    live = LiveHistory(tmp_path, [], title="a/b seed 1", total=10, metric="score")
    live.add({"kind": "train", "update": 5, "seconds": 10.0, "loss": 2.0})
    live.close()
    whole = (tmp_path / "history.jsonl").read_text()
    assert [path.name for path in (tmp_path / "tensorboard/a/b seed 1").iterdir()]
    (tmp_path / "history.jsonl").write_text(whole + '{"kind": "tra')
    assert read_history(tmp_path) == (
        {"total": 10, "metric": "score"},
        [{"kind": "train", "update": 5, "seconds": 10.0, "loss": 2.0}],
    )
    (tmp_path / "history.jsonl").write_text(whole[:5])
    assert read_history(tmp_path) is None


def test_a_line_tells_how_far_how_good_and_how_long():
    rows = [
        {"kind": "captions", "update": 0, "captions": {"a": "a dog"}},
        {"kind": "validation", "update": 0, "seconds": 1.0, "score": 10.0},
        {"kind": "train", "update": 50, "seconds": 50.0, "loss": 2.125},
        {"kind": "captions", "update": 100, "captions": {"a": "a cat"}},
        {"kind": "validation", "update": 100, "seconds": 100.0, "score": 9.0},
    ]
    assert summary(({"total": 400, "metric": "score"}, rows)) == (
        "25% of 400 updates  at most 0:05:00 left  score 9.0, best 10.0 at update 0  loss 2.12  a: 'a cat'"
    )
    assert summary(None) == summary(({"total": 400, "metric": "score"}, [])) == "has begun"


def test_watch_shows_what_runs_and_nothing_else(world, tmp_path, monkeypatch, command_line):
    states = tmp_path / "state"
    assert command_line("watch", "--state", states) == (0, f"{states}: nothing is being trained or extracted\n", "")
    seen = []

    def look(*_):
        seen.append(command_line("watch", "--state", states)[1])
        return {"val_cider": 1.0}

    monkeypatch.setattr("captionrl.training.learners.captioner.CaptionLearner.validate", look)
    world.train("xe-baseline", "xe", tmp_path / "a.safetensors", state=states)
    title = list_states(states)[0]["title"]
    assert seen[0] == f"{title}  has begun\n"
    assert seen[-1].startswith(f"{title}  100% of ")
    assert "at most 0:00:00 left  val_cider 1.0, best 1.0 at update 0  loss " in seen[-1]
    assert "nothing" in command_line("watch", "--state", states)[1]


def test_a_line_that_is_not_whole_yet_is_left_out(tmp_path):
    (tmp_path / "history.jsonl").write_bytes(b'{"total": 9}\n\0\0\0\n{"update": 1}\n{"caption": "caf\xc3')
    assert read_history(tmp_path) == ({"total": 9}, [{"update": 1}])
    (tmp_path / "history.jsonl").write_bytes(b'\0\0\n{"update": 1}\n')
    assert read_history(tmp_path) is None
