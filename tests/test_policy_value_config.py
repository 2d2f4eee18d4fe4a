"""What papers/policy_value is about: the paper's own system, its controls, and the pictures that it is trained on."""

from pathlib import Path

import pytest

from captionrl.config import load_paper
from captionrl.errors import UserError

POLICY_VALUE = Path(__file__).parents[1] / "papers/policy_value"


@pytest.mark.parametrize("scale", ["paper", "mini", "laptop"])
def test_the_papers_numbers_stand_beside_its_own_system(scale):
    """Its reward is the embedding's alone (eq. 6), and the value network decides."""
    paper = load_paper(POLICY_VALUE, scale)
    (ours,) = [row for row in paper.tables["table1"].rows if row.run and row.cited]
    assert (ours.run, ours.cited[4], ours.control) == (
        "embedding.lookahead", 90.7, "compute-matched-value.lookahead"
    )  # fmt: skip
    corpus = paper.tables["table1"].corpus
    rewards = {name for _, phase in paper.ancestry("embedding") for name in paper.rewards_of(phase, corpus)}
    assert rewards == {"embedding"}
    assert "joint-td3" in paper.systems_of("table1")


@pytest.mark.parametrize("scale", ["paper", "mini", "laptop"])
def test_its_controls_networks_have_as_many_updates(scale):
    paper = load_paper(POLICY_VALUE, scale)

    def epochs(run, *objectives):
        phases = [paper.phases[phase] for _, phase in paper.ancestry(run)]
        assert len({phase.batch for phase in phases if phase.objective in objectives}) == 1
        return sum(phase.epochs for phase in phases if phase.objective in objectives)

    for objectives in (("xe", "actor-critic"), ("value", "actor-critic")):  # of the policy, of the value network
        assert epochs("embedding", *objectives) == epochs("compute-matched-value", *objectives)


@pytest.mark.parametrize(
    "run", [{"phases": ["value", "value-cider"]}, {"from": "cider", "phases": ["value"]}], ids=["own", "start's"]
)
def test_a_value_network_is_not_thrown_away_unasked(run):
    runs = {"again": {"model": "actor-critic", "from": "xe", **run}}
    with pytest.raises(UserError, match=r"runs\.again: value(-cider)? would discard what its value network"):
        load_paper(POLICY_VALUE, "mini", {"runs": runs})
    goes_on = {"again": {"model": "actor-critic", "from": "cider", "phases": ["value-again"]}}
    value = load_paper(POLICY_VALUE, "mini").phases["value"].model_dump()
    for asked in (False, True):
        phases = {"value-again": value | {"from_embedding": asked}}
        assert load_paper(POLICY_VALUE, "mini", {"runs": goes_on, "phases": phases})


def test_a_value_network_that_nothing_trained_cannot_go_on():
    message = r"runs\.value-network: value has from_embedding: false, but no phase before it trains a value network;"
    with pytest.raises(UserError, match=message):
        load_paper(POLICY_VALUE, "mini", {"phases": {"value": {"from_embedding": False}}})


def test_a_reward_of_pictures_wants_them_shown():
    runs = {"blind": {"model": "actor-critic", "from": "reward-model", "phases": ["joint"], "visual_input": False}}
    message = r"runs\.blind: embedding, the reward of joint, is of pictures, which the run is not shown; take"
    with pytest.raises(UserError, match=message):
        load_paper(POLICY_VALUE, "mini", {"runs": runs})


def test_a_curve_is_of_a_run_that_learns_to_write():
    facts = {"title": "t", "corpus": "coco", "methods": [{"method": "Embedding", "run": "reward-model"}]}
    message = r"figures\.curves\.f\.methods\[0\]\.run: reward-model is not trained to write captions; give"
    with pytest.raises(UserError, match=message):
        load_paper(POLICY_VALUE, "mini", {"figures": {"curves": {"f": facts}}})


def test_at_the_paper_scale_restval_is_left_out():
    assert list(load_paper(POLICY_VALUE, "paper").corpora) == ["coco-82k"]
