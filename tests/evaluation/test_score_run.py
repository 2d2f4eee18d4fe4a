from types import SimpleNamespace

import pytest
from tiny import World, tiny_world

from captionrl.errors import UserError
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

    def scored(predictions, visual_input=True):
        given = SimpleNamespace()
        trained = {
            "config": {"run": {"visual_input": visual_input}},
            "inputs": {"features": {"backbone": "mini"}},
            "machine": "x86",
        }
        write_json(checkpoint.with_suffix(".json"), PROVENANCE | trained)
        write_json(tmp_path / "predictions.json", predictions)

        def evaluate_systems(references, systems, spice=None, workers=1):
            given.references, (given.hypotheses,) = references, systems
            return [{}]

        monkeypatch.setattr(module, "evaluate_systems", evaluate_systems)
        files = ([tmp_path / "predictions.json"], [checkpoint], world.captions, [tmp_path / "scores.json"])
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
        "config": fingerprint({"run": {"visual_input": True}}),
        "features": "mini",
    }


def test_a_control_without_visual_input_has_no_features(scored, world):
    _, provenance = scored({world.load()[0].items["test"][0].id: "A man."}, visual_input=False)
    assert provenance["features"] == "none"


def test_a_checkpoint_without_its_provenance_is_refused_before_anything_is_scored(world, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "evaluate_systems", lambda *_, **__: pytest.fail("scored"))
    write_json(tmp_path / "predictions.json", {world.load()[0].items["test"][0].id: "A man."})
    bare = world.untrained(tmp_path / "bare.safetensors")
    files = ([tmp_path / "predictions.json"], [bare], world.captions, [tmp_path / "scores.json"])
    with pytest.raises(UserError, match=r"bare\.json: no such file"):
        evaluate_predictions(*files, split="test")


def test_seeds_are_scored_together_as_each_would_be_alone(world, checkpoint, tmp_path):
    trained = {"config": {"run": {"visual_input": True}}, "inputs": {"features": {"backbone": "mini"}}}
    write_json(checkpoint.with_suffix(".json"), PROVENANCE | trained)
    items = [item.id for item in world.load()[0].items["test"]]
    texts = (["a man lifts a ball"] * len(items), ["", *["a dog, kicks the box"] * (len(items) - 1)])
    predictions = [tmp_path / f"predictions{seed}.json" for seed in range(2)]
    for path, captions in zip(predictions, texts, strict=True):
        write_json(path, dict(zip(items, captions, strict=True)))
    together, alone = ([tmp_path / f"{how}{seed}.json" for seed in range(2)] for how in ("together", "alone"))
    evaluate_predictions(predictions, [checkpoint] * 2, world.captions, together, split="test")
    for path, out in zip(predictions, alone, strict=True):
        evaluate_predictions([path], [checkpoint], world.captions, [out], split="test")
    for one, other in zip(together, alone, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert together[0].read_bytes() != together[1].read_bytes()


def test_sets_are_scored_together_as_each_would_be_alone(world, checkpoint, tmp_path):
    trained = {"config": {"run": {"visual_input": True}}, "inputs": {"features": {"backbone": "mini"}}}
    write_json(checkpoint.with_suffix(".json"), PROVENANCE | trained)
    items = [item.id for item in world.load()[0].items["test"]]
    predictions = [tmp_path / f"sets{seed}.json" for seed in range(2)]
    for path, captions in zip(predictions, (["a man", "a ball"], ["a dog lifts a box", "a box"]), strict=True):
        write_json(path, dict.fromkeys(items, captions))
    together, alone = ([tmp_path / f"{how}{seed}.json" for seed in range(2)] for how in ("together", "alone"))
    evaluate_predictions(predictions, [checkpoint] * 2, world.captions, together, split="test")
    for path, out in zip(predictions, alone, strict=True):
        evaluate_predictions([path], [checkpoint], world.captions, [out], split="test")
    assert [path.read_bytes() for path in together] == [path.read_bytes() for path in alone]
    assert together[0].read_bytes() != together[1].read_bytes()


def test_seeds_about_other_items_are_refused(world, checkpoint, tmp_path):
    items = [item.id for item in world.load()[0].items["test"]]
    write_json(tmp_path / "one.json", dict.fromkeys(items, "a man"))
    write_json(tmp_path / "two.json", dict.fromkeys(items[1:], "a man"))
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    with pytest.raises(UserError, match=r"two\.json: other items than in .*one\.json; predict both again"):
        evaluate_predictions(files, [checkpoint] * 2, world.captions, [tmp_path / "a", tmp_path / "b"], split="test")
