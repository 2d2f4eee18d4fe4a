"""The actor-critic learner's gradient where all captions can be enumerated, in float64 (Shi et al. 2018, eq. 10)."""

from unittest import mock

import pytest
import torch
from torch import nn
from toy import actor_critic_toy, batch, every_caption, rollout_of, toy_clips, true_values, word_log_probs

from captionrl.config import ActorCriticPhase
from captionrl.text.vocabulary import PAD
from captionrl.training.learners import actor_critic
from captionrl.training.learners.actor_critic import ActorCriticLearner

ITEM, CAPTIONS = "picture1", every_caption()
PHASE = ActorCriticPhase(
    objective="actor-critic", epochs=1, batch=1, optimiser="adam", learning_rate=0.1, eos_in_reward=True,
    reward={"embedding": 0.5, "CIDEr-D": 0.5}, baseline="value", steps=None,
)  # fmt: skip


class Table(nn.Module):
    """A value network that knows the values [C, T + 1] of all beginnings of all captions."""

    def __init__(self, values):
        super().__init__()
        self.values = values

    def forward(self, features, tokens):
        length = tokens.shape[1]
        rows = [(CAPTIONS[:, :length] == caption).all(1).nonzero()[0, 0] for caption in tokens]
        return self.values[torch.stack(rows), : length + 1]


class World:
    """One picture of a policy and its reward_models, whose value network is an arbitrary one."""

    def __init__(self, data):
        self.policy = actor_critic_toy("actor-critic")
        self.captioner = [
            parameter
            for name, parameter in self.policy.named_parameters()
            if name.split(".")[0] not in ("value", "similarity")
        ]
        (clip,) = toy_clips(1)
        self.learner = ActorCriticLearner(self.policy, data, PHASE, seed=1)
        self.learner.clips.batch = lambda items: batch([clip] * len(items))
        self.learner.pairs.batch = lambda epoch, index: ([ITEM], None)
        features = batch([clip] * len(CAPTIONS))
        rollout = rollout_of(self.policy, self.policy.encode(features), CAPTIONS)
        self.reward = self.learner.rewards(rollout, [ITEM] * len(CAPTIONS), features).total
        self.probability = word_log_probs(self.policy, self.policy.encode(features), CAPTIONS).sum(1).exp()

    def gradient(self, scalar):
        """Of the captioner's weights, in one vector."""
        found = torch.autograd.grad(scalar, self.captioner, materialize_grads=True, retain_graph=True)
        return torch.cat([each.flatten() for each in found])

    def exact(self):
        """The gradient of minus the expected reward."""
        return self.gradient(-(self.probability * self.reward).sum())

    def expected(self, **changes):
        """The mean gradient of the learner's whole loss on one sampled caption, its phase having these changes."""
        self.learner.phase, total = PHASE.model_copy(update=changes), 0.0
        for caption, probability in zip(CAPTIONS, self.probability.detach(), strict=True):
            drawn = caption[None]
            with mock.patch.object(
                actor_critic, "sample", lambda policy, memory, most, drawn=drawn, **_: rollout_of(policy, memory, drawn)
            ):
                total = total + probability * self.learner.loss(0, 0)[0]
        return self.gradient(total)

    def know_the_truth(self):
        self.policy.value = Table(true_values(CAPTIONS, self.probability.detach(), self.reward))


@pytest.fixture
def world(four_pictures):
    return World(four_pictures)


def assert_exact(world, gradient):
    assert world.exact().abs().max() > 1e-2
    torch.testing.assert_close(gradient, world.exact(), atol=1e-10, rtol=0)


def test_the_toys_rewards_differ_and_its_captions_are_all_there_are(world):
    assert world.reward.std() > 0.1
    assert world.probability.sum().item() == pytest.approx(1)


def test_whatever_the_value_network_says_the_baseline_leaves_the_gradient_of_the_expected_reward(world):
    assert_exact(world, world.expected(baseline="value", steps=None))


def test_without_a_baseline_it_is_the_gradient_of_the_expected_reward_too(world):
    assert_exact(world, world.expected(baseline="none", steps=None))


@pytest.mark.parametrize("steps", [1, 2])
def test_temporal_differences_of_true_values_give_it_too(world, steps):
    world.know_the_truth()
    assert_exact(world, world.expected(baseline="value", steps=steps))


@pytest.mark.parametrize("steps", [1, 2])
def test_temporal_differences_of_wrong_values_are_biased(world, steps):
    assert (world.expected(baseline="value", steps=steps) - world.exact()).abs().max() > 1e-2


def test_as_many_steps_as_the_longest_caption_has_words_are_not(world):
    assert CAPTIONS.ne(PAD).sum(1).max() == 3
    assert_exact(world, world.expected(baseline="value", steps=3))
