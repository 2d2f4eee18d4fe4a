"""Average precision by hand, by brute force, and of whoever says the same of every clip; the report of a checkpoint."""

import numpy as np
import pytest
from tiny import SEEING, tiny_world

from captionrl.errors import UserError
from captionrl.evaluation.recognition import average_precision, probabilities, recognition_scores, render


def of(probability, present, weight=None):
    """Of one attribute."""
    columns = (np.array([values]).T for values in (probability, present))
    return average_precision(*columns, np.ones(len(present)) if weight is None else np.array(weight, float))[0]


def by_brute_force(probability, present):
    """As its definition says it, item by item."""
    shares = []
    for mine, has in zip(probability, present, strict=True):
        if has:
            before = [other for p, other in zip(probability, present, strict=True) if p >= mine]
            shares.append(sum(before) / len(before))
    return sum(shares) / len(shares)


def test_by_hand():
    assert of([0.9, 0.8, 0.7, 0.1], [True, False, True, False]) == pytest.approx((1 + 2 / 3) / 2)
    assert of([0.9, 0.8, 0.7, 0.1], [False, False, False, True]) == 0.25
    assert of([0.9, 0.8], [True, True]) == 1


@pytest.mark.parametrize("seed", range(5))
def test_by_brute_force_where_some_are_equally_probable(seed):
    generator = np.random.default_rng(seed)
    probability = generator.integers(0, 5, 30) / 5
    present = generator.random(30) < 0.3
    assert of(probability, present) == pytest.approx(by_brute_force(probability, present))


def test_whoever_says_the_same_of_every_clip_reaches_the_prior():
    present = np.arange(10) < 3
    assert of(np.full(10, 0.4), present) == pytest.approx(0.3)


def test_an_item_that_counts_twice_is_two_items():
    probability, present = np.array([0.9, 0.8, 0.7, 0.1]), np.array([False, True, False, True])
    twice = [0, 1, 1, 3]
    assert of(probability, present, [1, 2, 0, 1]) == pytest.approx(of(probability[twice], present[twice]))


def test_nobody_has_no_average_precision():
    assert np.isnan(of([0.5, 0.6], [False, False]))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return tiny_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("e2e") / "a.safetensors"
    step = {"runs": {"first": {"model": "e2e", "backbone": "mini-frames", "phases": ["step3"]}}}
    return world.train("first", "step3", out, {**SEEING, **step}, **world.cnn())


def test_the_report_of_a_checkpoint(world, trained):
    cnn = world.cnn()
    report = recognition_scores([trained, trained], cnn["attributes"], world.captions, cnn["features"], "val", "cpu")
    assert (report["items"], report["seeds"], report["attributes"] + report["nowhere"]) == (7, 2, 7)
    for name in ("mean average precision", "prior"):
        assert 0 < report[name]["low"] <= report[name]["value"] <= report[name]["high"] <= 100
    one = report["by attribute"]
    assert report["mean average precision"]["value"] == pytest.approx(
        np.mean([row["average precision"] for row in one.values()])
    )
    above = report["mean average precision"]["value"] - report["prior"]["value"]
    assert report["above prior"]["value"] == pytest.approx(above)
    assert "7 val items" in render(report)


def test_a_captioner_without_such_a_branch_is_refused(world, trained, tmp_path):
    other = world.untrained(tmp_path / "other.safetensors")
    for checkpoint, number in ((other, 7), (trained, 8)):
        with pytest.raises(UserError, match="attributes; give a run that was trained on them"):
            probabilities(checkpoint, world.cnn()["features"], ["clip3"], number, "cpu")
