"""Training with a reward of the user's own, in a weighted sum: what is logged, what adds up, what is trained again."""

import json
import sys

import pytest
import torch
from test_hrl_learner import learner_of, phase_with
from tiny import CORPUS, tiny_paper
from torch.testing import assert_close

from captionrl import provenance
from captionrl.config import ExplorationPhase
from captionrl.errors import UserError
from captionrl.provenance import code_version
from captionrl.training.learners import hrl
from captionrl.training.learners.exploration import ExplorationLearner

SUM = {"CIDEr-D": 0.8, "ROUGE-L": 0.5, "own_rewards:brevity": 0.2}
OWN = "def brevity(batch):\n    return -0.1 * batch.lengths\n"


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """The user's module in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    file = tmp_path / "own_rewards.py"
    file.write_text(OWN)
    yield file
    sys.modules.pop("own_rewards", None)


def test_the_deltas_of_worker_and_manager_add_up_to_the_reward(world, warm, monkeypatch):
    learner = learner_of(world, warm, phase_with(reward=SUM, worker_updates=2, manager_updates=1))
    expected, deltas = [], []
    prefix_scores, delta_rewards = learner.reward.prefix_scores, hrl.delta_rewards

    def scored(batch):
        expected.append(learner.reward.score(batch).total)
        return prefix_scores(batch)

    def recorded(*arguments):
        deltas.append(delta_rewards(*arguments))
        return deltas[-1]

    monkeypatch.setattr(learner.reward, "prefix_scores", scored)
    monkeypatch.setattr(hrl, "delta_rewards", recorded)
    learner.module.train()
    statistics = [learner.loss(0, index)[1] for index in range(3)]  # the worker twice, then the manager
    assert "worker_loss" in statistics[0]
    assert "manager_loss" in statistics[2]
    assert len(deltas) == 3
    for found, whole in zip(deltas, expected, strict=True):
        assert_close(found.sum(1), whole, atol=1e-5, rtol=0)
        assert whole.std() > 0
    assert statistics[2]["reward_with_noise"] == pytest.approx(expected[2].mean().item(), abs=1e-5)


def test_a_run_of_hrl_logs_each_part(world, warm, tmp_path):
    overrides = {"phases": {"hrl": {"reward": SUM, "epochs": 1}}}
    out = world.train("hrl-16", "hrl", tmp_path / "hrl.safetensors", overrides, start=warm)
    rows = [json.loads(line) for line in out.with_suffix(".metrics.jsonl").read_text().splitlines()]
    workers = [row for row in rows if "worker_loss" in row]
    assert workers
    for row in workers:
        assert row["reward_own_rewards:brevity"] == pytest.approx(-0.1 * (row["length"] + 1), abs=0.1)  # and </s>
        total = sum(weight * row[f"reward_{name}"] for name, weight in SUM.items())
        assert row["sample_reward"] == pytest.approx(total, abs=1e-5)
    facts = json.loads(out.with_suffix(".json").read_text())["config"]["phase"]
    assert dict(facts["reward"]) == SUM


def test_an_edit_of_it_is_nothing_to_phases_that_do_not_use_it(own):
    paper = tiny_paper({"phases": {"hrl": {"reward": SUM}}})

    def versions():
        for function in (code_version, provenance.sources, provenance._read, provenance._file):
            function.cache_clear()
        which = (("xe-baseline", "xe"), ("rl-baseline", "rl"), ("hrl-16", "hrl"))
        return [code_version("train", *paper.training_methods_of(*at, CORPUS)) for at in which]

    before = versions()
    own.write_text(OWN.replace("0.1", "0.2"))
    after = versions()
    assert before[:2] == after[:2]
    assert before[2] != after[2]
    own.write_text(OWN.replace("-0.1", "- 0.1"))  # layout
    assert versions() == before


def test_a_corpus_may_have_another_reward_which_replaces_the_papers():
    overrides = {
        "phases": {"rl": {"reward": SUM}},
        "corpora": {"msrvtt": {"phases": {"rl": {"reward": {"BLEU-1": 2}}}}},
    }
    paper = tiny_paper(overrides)
    assert paper.phase_of("rl", CORPUS).weights == {"BLEU-1": 2}
    assert paper.rewards_of("rl", CORPUS) == {"BLEU-1": "captionrl.rewards.bleu:bleu_1"}
    assert paper.phases["rl"].weights == SUM
    assert paper.training_config("rl-baseline", "rl", CORPUS)["phase"]["reward"] == (("BLEU-1", 2.0),)


def test_exploration_needs_the_highest_reward(world, four_pictures, own):
    policy = torch.nn.Module()
    with pytest.raises(UserError, match="the highest reward by CIDEr-D, own_rewards:brevity is not known; give"):
        exploration(four_pictures, {"CIDEr-D": 1, "own_rewards:brevity": 1}, policy)
    own.write_text(f"{OWN}brevity.maximum = 0\n")  # a penalty
    sys.modules.pop("own_rewards")
    with pytest.raises(UserError, match="the highest reward by own_rewards:brevity is 0; give the phase"):
        exploration(four_pictures, {"own_rewards:brevity": 1}, policy)
    assert exploration(four_pictures, {"CIDEr-D": 0.5, "BLEU-4": 2}, policy).unit == 7
    assert exploration(four_pictures, {"own_rewards:brevity": 1}, policy, reward_scale=3).unit == 3


def exploration(data, reward, policy, **settings):
    facts = {"objective": "sle", "epochs": 1, "batch": 4, "optimiser": "adam", "learning_rate": 0.01}
    facts |= {"alpha": 0.75, "samples": 3, "diversity_baseline": "mean", "eos_in_reward": True}
    policy.weight = torch.nn.Parameter(torch.zeros(1))
    return ExplorationLearner(policy, data, ExplorationPhase(**facts | {"reward": reward} | settings), seed=1)
