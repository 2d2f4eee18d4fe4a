from types import SimpleNamespace

import pytest
from tiny import World, tiny_world

from captionrl.evaluation import score_run as module
from captionrl.evaluation.results import read_scores
from captionrl.evaluation.score_run import evaluate_predictions
from captionrl.files import fingerprint, sha256, write_json


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return tiny_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def checkpoint(world):
    return world.untrained(world.root / "a.safetensors")


PROVENANCE = {"seed": 1, "hours": 0.5, "slurm_job": None, "code": "v", "commit": "c", "command": "captionrl train"}


@pytest.fixture
def scored(world, checkpoint, tmp_path, monkeypatch):
    """What `evaluate_predictions` gives to the metrics, and the provenance it writes, for these predictions."""

    def scored(predictions, blind=False):
        given = SimpleNamespace()
        trained = {"config": {"run": {"blind": blind}}, "inputs": {"features": {"backbone": "mini"}}, "machine": "x86"}
        write_json(checkpoint.with_suffix(".json"), PROVENANCE | trained)
        write_json(tmp_path / "predictions.json", predictions)

        def evaluate(references, hypotheses, spice=None):
            given.references, given.hypotheses = references, hypotheses
            return {}

        monkeypatch.setattr(module, "evaluate", evaluate)
        files = (tmp_path / "predictions.json", checkpoint, world.captions, tmp_path / "scores.json")
        evaluate_predictions(*files, split="test")
        return given, read_scores(tmp_path / "scores.json")[1]

    return scored


def test_predictions_are_scored_against_the_raw_captions_of_their_items(scored, world):
    captions = world.load()[0]
    items = [item.id for item in captions.items["test"]]
    given, _ = scored(dict.fromkeys(items, "A man."))
    assert given.references == {item: captions.raw[item] for item in items}
    assert given.hypotheses == dict.fromkeys(items, "A man.")


def test_a_score_says_where_it_came_from(scored, checkpoint, tmp_path, world):
    _, provenance = scored({world.load()[0].items["test"][0].id: "A man."})
    assert provenance == {
        **PROVENANCE,
        "checkpoint": str(checkpoint),
        "checkpoint_sha256": sha256(checkpoint),
        "predictions": str(tmp_path / "predictions.json"),
        "predictions_sha256": sha256(tmp_path / "predictions.json"),
        "config": fingerprint({"run": {"blind": False}}),
        "features": "mini",
    }


def test_a_blind_control_sees_no_features(scored, world):
    _, provenance = scored({world.load()[0].items["test"][0].id: "A man."}, blind=True)
    assert provenance["features"] == "none"
