"""What all reinforcing learners share: dropout in rollouts, the greedy training reward, baselines that learn first."""

import sys
from contextlib import suppress
from unittest import mock

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from toy import FEATURE, rewarded, sizes_for

from captionrl.config import ActorCriticPhase, ExplorationPhase, HRLPhase, ReinforcePhase, StagewisePhase
from captionrl.models import build_module
from captionrl.training.diagnostics import explained_variance
from captionrl.training.learners import reinforce
from captionrl.training.learners.actor_critic import ActorCriticLearner
from captionrl.training.learners.captioner import CaptionLearner
from captionrl.training.learners.exploration import ExplorationLearner
from captionrl.training.learners.hrl import HRLLearner
from captionrl.training.learners.reinforce import ReinforceLearner, without_dropout
from captionrl.training.learners.stagewise import StagewiseLearner
from captionrl.training.loop import Training

SIZES = {"projection": 8, "encoder": 8, "manager_encoder": 6, "decoder": 12, "manager": 6, "goal": 3} | {
    "boundary_critic": 4, "critic_input": "current", "attention": 6, "embedding": 12, "dropout": 0.5, "init": 0.5,
}  # fmt: skip
COMMON = {"epochs": 1, "batch": 8, "optimiser": "adam", "learning_rate": 0.01, "eos_in_reward": True}
TURNS = {"worker_updates": 1, "manager_updates": 1, "discount": 0.9, "noise": 0.5, "noise_end": 0.5}
LEARNERS = {  # by objective: the model, the learner, its phase and what it must be told
    "reinforce": ("mean-pooling", ReinforceLearner, ReinforcePhase, {"baseline": "greedy"}),
    "sle": ("pooled", ExplorationLearner, ExplorationPhase, {"alpha": 0.7, "samples": 3, "diversity_baseline": "mean"}),
    "stagewise": ("stack-cap", StagewiseLearner, StagewisePhase, {}),
    "actor-critic": ("actor-critic", ActorCriticLearner, ActorCriticPhase, {"baseline": "value", "steps": 1}),
    "hrl": ("hrl", HRLLearner, HRLPhase, TURNS | {"gradients_cross_segments": False}),
}
FEATURE_REWARD = {"embedding": 0.5, "BLEU-1": 0.5}  # it reads the clips


@pytest.fixture
def make(four_pictures):
    """The learner of an objective, of a fresh policy with dropout 0.5, on four pictures; changes of its phase."""

    def make(objective, seed=1, **changes):
        model, learner, phase, needed = LEARNERS[objective]
        torch.manual_seed(seed)
        policy = build_module(model, FEATURE, len(four_pictures.vocabulary), sizes_for(model, SIZES))
        return learner(policy, four_pictures, phase(objective=objective, **COMMON | needed | changes), seed=seed)

    return make


def written(learner, training, index=0, how="sample"):
    """The log-probabilities, one after the other, of what a learner writes of a batch in one mode or the other."""
    module, found = sys.modules[type(learner).__module__], []
    original = getattr(module, how)

    def recorded(*arguments, **options):
        found.append(original(*arguments, **options))
        return found[-1]

    learner.module.train(training)
    torch.manual_seed(7)
    with mock.patch.object(module, how, recorded):
        learner.loss(0, index)
    return torch.cat([rollout.log_probs.flatten() for rollout in found])


class TestDropout:
    @pytest.mark.parametrize("objective", LEARNERS)
    def test_without_it_captions_are_those_of_the_policy_in_use(self, make, objective):
        learner = make(objective)
        in_use = written(learner, training=False)
        learnt = written(learner, training=True)
        assert torch.equal(learnt, in_use)
        assert learnt.requires_grad
        assert all(part.training for part in learner.policy.modules() if isinstance(part, nn.Dropout))  # again

    @pytest.mark.parametrize("objective", LEARNERS)
    def test_with_it_they_are_another_policys(self, make, objective):
        learner = make(objective, dropout=True)
        assert not torch.equal(written(learner, training=True), written(learner, training=False))

    @pytest.mark.parametrize("dropout", [False, True])
    def test_hrls_manager_never_has_it(self, make, dropout):
        learner = make("hrl", dropout=dropout)
        captions = [written(learner, training, index=1, how="greedy") for training in (True, False)]
        assert torch.equal(*captions)

    @pytest.mark.parametrize(
        "module",
        [
            nn.LSTM(6, 6, num_layers=2, dropout=0.5),
            nn.MultiheadAttention(6, 2, dropout=0.5),
            nn.TransformerDecoderLayer(6, 2, 12, dropout=0.5),
            nn.Sequential(nn.Linear(6, 6), nn.Dropout1d(0.5)),
        ],
        ids=lambda module: type(module).__name__,
    )
    def test_nothing_of_torchs_layers_is_dropped_and_afterwards_they_are_as_they_were(self, module):
        torch.manual_seed(0)
        words = torch.randn(5, 3, 6)
        inputs = {nn.MultiheadAttention: 3, nn.TransformerDecoderLayer: 2}.get(type(module), 1)

        def output():
            found = module(*[words] * inputs)
            return found[0] if isinstance(found, tuple) else found

        expected = module.eval() and output()
        module.train()
        with without_dropout(module):
            assert_close(output(), expected)
            assert all(part.training for part in module.modules() if isinstance(part, nn.LSTM))
        assert all(part.training for part in module.modules())
        assert not torch.allclose(output(), expected)
        with suppress(KeyError), without_dropout(module):
            raise KeyError
        assert not torch.allclose(output(), expected)


class TestTrainingReward:
    @pytest.mark.parametrize("objective", LEARNERS)
    def test_it_is_the_mean_reward_of_greedy_captions_of_training_items(self, make, objective):
        learner = make(objective, reward=FEATURE_REWARD if objective == "actor-critic" else "BLEU-1")
        learner.module.eval()
        with torch.no_grad():
            scores = learner.validate()
            captions = learner.greedy(learner.training_items).tokens
        expected = rewarded(learner, captions, learner.training_items).mean().item()
        assert sorted(learner.training_items) == ["picture0", "picture1", "picture2", "picture3"]
        assert scores == {"val_cider": CaptionLearner.validate(learner)["val_cider"], "train_reward": expected}
        assert expected != 0
        assert not any(module.training for module in learner.policy.modules() if isinstance(module, nn.Dropout))
        assert learner.reward_seconds == 0  # the next update's share is its own

    def test_its_items_are_few_and_the_same_for_all_seeds_and_objectives(self, make, monkeypatch):
        monkeypatch.setattr(reinforce, "TRAINING_ITEMS", 3)
        chosen = [make("reinforce").training_items, make("sle", seed=2).training_items]
        assert chosen[0] == chosen[1]
        assert len(set(chosen[0])) == 3

    def test_weights_are_the_same_with_and_without_it(self, make, tmp_path, monkeypatch):
        """Even of a reward that draws."""
        found = []
        for part in ("with", "without"):
            if part == "without":
                monkeypatch.setattr(reinforce.RewardLearner, "validate", CaptionLearner.validate)
            learner = make("reinforce", dropout=True)
            score = mock.Mock(side_effect=lambda batch, score=learner.reward.score: torch.rand(()) and score(batch))
            with mock.patch.object(learner.reward, "score", score):
                training = Training(learner, learner.phase, tmp_path / part, seed=1)
                for _ in range(4):
                    training.validate()
                    training.step(log_every=1)
            assert any("train_reward" in row for row in training.history) == (part == "with")
            found.append(learner.module.state_dict())
        assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


@pytest.mark.parametrize("baseline", ["greedy", "linear", "leave-one-out"])
def test_the_log_says_how_much_of_the_rewards_variance_a_baseline_explains(make, baseline):
    learner = make("reinforce", baseline=baseline, samples=4, batch=32)
    items = [item for item in learner.pairs.batch(0, 0)[0] for _ in range(4)]
    if baseline == "linear":
        nn.init.normal_(learner.baseline.regressor.weight)
    rollouts, sample = [], reinforce.sample
    learner.module.train()
    with mock.patch.object(reinforce, "sample", lambda *a, **k: rollouts.append(sample(*a, **k)) or rollouts[-1]):
        found = learner.loss(0, 0)[1]["baseline_explained"]
    (rollout,) = rollouts
    reward = rewarded(learner, rollout.tokens, items)
    if baseline == "linear":
        rows, _ = rollout.mask.nonzero(as_tuple=True)
        target, predicted = reward[rows], learner.baseline(rollout.hidden)[rollout.mask]
    elif baseline == "greedy":
        learner.policy.eval()
        target, predicted = reward, rewarded(learner, learner.greedy(items).tokens, items)
    else:
        target, predicted = reward, (reward.view(-1, 4).sum(1).repeat_interleave(4) - reward) / 3
    assert target.var() > 0
    unexplained = (target - predicted).square().mean() / target.var(correction=0)
    assert found == pytest.approx((1 - unexplained).item(), abs=1e-5)


def test_without_a_baseline_there_is_nothing_to_say(make):
    assert "baseline_explained" not in make("reinforce", baseline="none").loss(0, 0)[1]


def test_actor_critics_say_how_much_of_the_targets_variance_values_explain(make):
    learner = make("actor-critic")
    with mock.patch(
        "captionrl.training.learners.actor_critic.explained_variance", side_effect=explained_variance
    ) as asked:
        stats = learner.loss(0, 0)[1]
    values, targets, prefixes = asked.call_args.args
    unexplained = (targets - values)[prefixes].square().mean() / targets[prefixes].var(correction=0)
    assert stats["value_explained"] == pytest.approx((1 - unexplained).item(), abs=1e-5)


class TestWarmup:
    @pytest.mark.parametrize("parts", [1, 2])
    def test_the_baseline_alone_learns_at_first(self, make, tmp_path, parts):
        settings = {"optimiser": "adamw", "weight_decay": 0.1, "clip_norm": 1.0, "entropy": 0.1, "epochs": 4}
        learner = make("reinforce", baseline="linear", baseline_warmup=3, gradient_accumulation_steps=parts, **settings)
        training = Training(learner, learner.phase, tmp_path, seed=1)
        policy = {id(weight): weight.clone() for weight in learner.policy.parameters()}
        for _ in range(3):
            training.step(log_every=1)
        assert all(torch.equal(weight, policy[id(weight)]) for weight in learner.policy.parameters())
        assert all(weight.grad is None for weight in learner.policy.parameters())
        assert set(training.optimiser.state) == set(learner.baseline.parameters())
        assert learner.baseline.regressor.weight.abs().max() > 0
        training.step(log_every=1)
        assert not any(torch.equal(weight, policy[id(weight)]) for weight in learner.policy.parameters())

    def test_it_has_its_own_share_of_the_learning_rate(self, make, tmp_path):
        learner = make("reinforce", baseline="linear", baseline_rate=10, lr_schedule="linear")
        groups = Training(learner, learner.phase, tmp_path, seed=1).optimiser.param_groups
        assert [group["lr"] for group in groups] == pytest.approx([0.01, 0.1])
        assert [set(group["params"]) for group in groups] == [
            set(part.parameters()) for part in (learner.policy, learner.baseline)
        ]
