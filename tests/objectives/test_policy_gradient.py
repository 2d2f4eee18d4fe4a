"""REINFORCE on a toy whose captions can all be enumerated: expectations are sums, and must be exact."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from toy import (
    MAX_TOKENS,
    VOCABULARY,
    batch,
    every_caption,
    gradients,
    rollout_of,
    toy_clips,
    trainable,
    word_log_probs,
)

from captionrl.decoding.rollout import Rollout, greedy
from captionrl.models import Extras, Policy, TensorBatch
from captionrl.models.layers import LinearBaseline
from captionrl.objectives.reinforce import baseline_loss, leave_one_out, policy_gradient_loss
from captionrl.text.vocabulary import PAD


@dataclass
class World:
    """A policy, a clip, every caption that can be written about it [C, T], and a reward for each [C]."""

    policy: Policy
    memory: TensorBatch  # the clip's, C times
    captions: Tensor
    reward: Tensor

    @property
    def returns(self) -> Tensor:
        """Every word of a caption has its reward as return: [C, 1]."""
        return self.reward.unsqueeze(1)

    @property
    def probability(self) -> Tensor:
        return word_log_probs(self.policy, self.memory, self.captions).sum(1).exp()

    def rollout(self) -> Rollout:
        """Every caption, each as if sampled."""
        return rollout_of(self.policy, self.memory, self.captions)

    def expected_gradient(self, rollout: Rollout, baseline: Tensor) -> list[Tensor]:
        """The expectation of the gradient of `policy_gradient_loss` on one sampled caption."""
        probability = self.probability.detach()
        loss = rollout.log_probs.new_zeros(())
        for row in torch.arange(len(self.captions)).split(1):
            own = policy_gradient_loss(rollout.select(row), self.returns[row] - baseline[row])
            loss = loss + probability[row].squeeze() * own
        return self.gradient(loss)

    def exact_gradient(self) -> list[Tensor]:
        """The gradient of minus the expected reward."""
        return self.gradient(-(self.probability * self.reward).sum())

    def gradient(self, scalar: Tensor) -> list[Tensor]:
        return list(gradients(scalar, self.policy))


@pytest.fixture
def world(policy):
    captions = every_caption()
    rows = torch.zeros(len(captions), dtype=torch.long)
    memory = policy.encode(batch(toy_clips(4))).select(rows)
    reward = torch.rand(len(captions), generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    return World(policy, memory, captions, reward)


def none(world, rollout):
    return torch.zeros_like(rollout.log_probs)


def greedy_reward(world, rollout):
    best = greedy(world.policy, world.memory.select(torch.tensor([0])), MAX_TOKENS).tokens
    best = torch.nn.functional.pad(best, (0, MAX_TOKENS - best.shape[1]))
    return world.reward[(world.captions == best).all(1)].expand_as(rollout.log_probs)


def linear(world, rollout):
    torch.manual_seed(1)
    baseline = LinearBaseline(rollout.hidden.shape[-1]).double()
    torch.nn.init.normal_(baseline.regressor.weight)
    torch.nn.init.normal_(baseline.regressor.bias)
    return baseline(rollout.hidden)


def peeking(world, rollout):
    return torch.linspace(-1, 1, VOCABULARY, dtype=torch.float64)[rollout.tokens]


def test_the_toys_rollouts_are_the_captions(world):
    rollout = world.rollout()
    assert torch.equal(rollout.tokens, world.captions)
    assert torch.equal(rollout.mask, world.captions != PAD)
    torch.testing.assert_close(world.probability.sum().item(), 1.0)


@pytest.mark.parametrize("baseline", [none, greedy_reward, linear])
def test_the_expected_gradient_is_that_of_minus_the_expected_reward(world, baseline):
    rollout = world.rollout()
    expected = world.expected_gradient(rollout, baseline(world, rollout))
    torch.testing.assert_close(expected, world.exact_gradient(), atol=1e-10, rtol=1e-6)


def test_the_expected_gradient_of_two_samples_that_are_each_others_baseline_is_that_too(world):
    probability, rollout = world.probability.detach(), world.rollout()
    loss = rollout.log_probs.new_zeros(())
    for pair in torch.cartesian_prod(*[torch.arange(len(world.captions))] * 2):
        advantage = world.reward[pair] - leave_one_out(world.reward[pair].unsqueeze(0)).squeeze(0)
        loss = loss + probability[pair].prod() * policy_gradient_loss(rollout.select(pair), advantage.unsqueeze(1))
    torch.testing.assert_close(world.gradient(loss), world.exact_gradient(), atol=1e-10, rtol=1e-6)


def test_leaving_one_out_by_hand():
    assert leave_one_out(torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]])).tolist() == [[4, 3.5, 1.5], [1.5, 1.5, 0]]


def test_a_baseline_that_peeks_at_the_sampled_word_is_biased(world):
    """So the test above can fail."""
    rollout = world.rollout()
    ours, exact = world.expected_gradient(rollout, peeking(world, rollout)), world.exact_gradient()
    assert max((a - b).abs().max() for a, b in zip(ours, exact, strict=True)) > 1e-2


def test_a_batchs_loss_is_the_mean_over_its_captions(world):
    rollout = world.rollout()
    baseline = linear(world, rollout)
    rows = torch.arange(len(world.captions)).split(1)
    alone = [policy_gradient_loss(rollout.select(row), world.returns[row] - baseline[row]) for row in rows]
    torch.testing.assert_close(policy_gradient_loss(rollout, world.returns - baseline), torch.stack(alone).mean())


def test_the_padding_beyond_a_caption_counts_nothing(world):
    rollout = world.rollout()
    baseline = linear(world, rollout)
    garbled = baseline.masked_fill(~rollout.mask, 1e6)
    losses = [policy_gradient_loss(rollout, world.returns - b) for b in (baseline, garbled)]
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*(world.gradient(loss) for loss in losses))


def test_loss_of_a_caption_by_hand():
    log_probs = torch.tensor([[-1.0, -2.0, 0.0]], requires_grad=True)
    mask = torch.tensor([[True, True, False]])
    rollout = Rollout(torch.tensor([[4, 2, 0]]), mask, log_probs, Extras(torch.zeros(1, 3, 5)), None)
    loss = policy_gradient_loss(rollout, torch.tensor([[3.0]]) - torch.tensor([[1.0, 0.5, 9.0]]))
    assert loss.item() == 2 * 1 + 2.5 * 2
    loss.backward()
    assert log_probs.grad.tolist() == [[-2.0, -2.5, 0.0]]


class TestLinearBaseline:
    @pytest.fixture
    def rollout(self, world):
        return world.rollout()

    @pytest.fixture
    def baseline(self, rollout):
        torch.manual_seed(1)
        return LinearBaseline(rollout.hidden.shape[-1]).double()

    def test_it_starts_at_zero(self, rollout, baseline):
        assert (baseline(rollout.hidden) == 0).all()

    def test_its_loss_is_the_mean_squared_error_over_words(self, world, rollout, baseline):
        torch.nn.init.normal_(baseline.regressor.weight)
        predicted = baseline(rollout.hidden)
        errors = [
            (predicted[row, place] - world.reward[row]) ** 2
            for row, length in enumerate(rollout.lengths)
            for place in range(length)
        ]
        torch.testing.assert_close(baseline_loss(predicted, world.returns, rollout.mask), torch.stack(errors).mean())

    def test_its_loss_teaches_it_alone_and_not_the_policy(self, world, rollout, baseline):
        loss = baseline_loss(baseline(rollout.hidden), world.returns, rollout.mask)
        policy = trainable(world.policy)
        gradients = torch.autograd.grad(loss, policy, allow_unused=True, retain_graph=True)
        assert all(gradient is None for gradient in gradients)
        assert all((gradient != 0).any() for gradient in torch.autograd.grad(loss, list(baseline.parameters())))

    def test_the_policys_loss_does_not_teach_it(self, world, rollout, baseline):
        loss = policy_gradient_loss(rollout, world.returns - baseline(rollout.hidden))
        parameters = list(baseline.parameters())
        assert torch.autograd.grad(loss, parameters, allow_unused=True) == (None, None)

    def test_it_is_the_same_for_whatever_word_comes_next(self, world, rollout, baseline):
        """b_t knows the words before t only: captions that agree up to there share it."""
        torch.nn.init.normal_(baseline.regressor.weight)
        predicted = baseline(rollout.hidden)
        assert predicted[:, 0].std() < 1e-12
        by_first_word = [predicted[(world.captions[:, 0] == word), 1] for word in range(4, VOCABULARY)]
        assert all(group.std() < 1e-12 for group in by_first_word)
        assert torch.stack([group[0] for group in by_first_word]).std() > 1e-3
