"""What papers/policy_value is about: the paper's own system, its controls, and the pictures that it is trained on."""

from pathlib import Path

import pytest

from captionrl.config import load_paper

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


def test_at_the_paper_scale_restval_is_left_out():
    assert list(load_paper(POLICY_VALUE, "paper").corpora) == ["coco-82k"]
