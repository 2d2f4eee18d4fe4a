"""HRL's two gradients on a toy whose captions can all be enumerated, in float64, and its rewards against CIDEr-D."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from toy import SEEDS, batch, every_caption, gradients, rollout_of, toy_clips, toy_policy, trainable

from captionrl.decoding.distribution import log_probabilities
from captionrl.decoding.rollout import Rollout, greedy
from captionrl.models import TensorBatch
from captionrl.models.hrl import HRL
from captionrl.models.layers import LinearBaseline
from captionrl.models.policy import shift
from captionrl.objectives.hrl import (
    delta_rewards,
    discounted_returns,
    manager_loss,
    segment_returns,
    segment_rewards,
    worker_loss,
)
from captionrl.rewards import CiderD
from captionrl.text.vocabulary import PAD

EXACT = {"atol": 1e-10, "rtol": 1e-6}


@pytest.fixture
def policy() -> HRL:
    return toy_policy("hrl")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3


def baseline_of(hidden: Tensor) -> LinearBaseline:
    torch.manual_seed(1)
    baseline = LinearBaseline(hidden.shape[-1]).double()
    torch.nn.init.normal_(baseline.regressor.weight)
    torch.nn.init.normal_(baseline.regressor.bias)
    return baseline


class TestWorker:
    """All 40 captions of three words, with a reward for every word."""

    @pytest.fixture
    def captions(self) -> Tensor:
        return every_caption()

    @pytest.fixture
    def rewards(self, captions: Tensor) -> Tensor:
        """A reward of each word that depends on the words so far only, as the change of a prefix's score does."""
        tree: dict[tuple[int, ...], float] = {}
        draws = iter(random(1000).tolist())
        rows = [
            [tree.setdefault(tuple(row[: t + 1]), next(draws)) for t in range(len(row))] for row in captions.tolist()
        ]
        return torch.tensor(rows, dtype=torch.float64) * (captions != PAD)

    @pytest.fixture
    def memory(self, policy: HRL, captions: Tensor) -> TensorBatch:
        return policy.encode(batch(toy_clips(4))).select(torch.zeros(len(captions), dtype=torch.long))

    def log_probs(self, policy: HRL, memory: TensorBatch, captions: Tensor) -> Tensor:
        log_p = log_probabilities(policy.teacher_forcing(captions, memory))
        return log_p.gather(-1, captions.unsqueeze(-1)).squeeze(-1).masked_fill(captions == PAD, 0)

    def expected_loss(self, rollout: Rollout, rewards: Tensor, discount: float, probability: Tensor) -> Tensor:
        baseline = baseline_of(rollout.hidden)
        losses = [
            worker_loss(rollout.select(row), rewards[row], baseline, discount).loss
            for row in torch.arange(len(rewards)).split(1)
        ]
        return (probability * torch.stack(losses)).sum()

    def test_segments_begin_at_different_words(self, policy, memory, captions):
        """So that the manager, through which the worker's gradient passes, is at work."""
        segment_start = rollout_of(policy, memory, captions).extras.segment_start
        assert segment_start[:, 0].all()
        assert 0.2 < segment_start[:, 1:].double().mean() < 0.8

    def test_without_discount_its_gradient_is_that_of_the_expected_return(self, policy, memory, captions, rewards):
        policy.set_trainable("worker")
        log_probs = self.log_probs(policy, memory, captions)
        probability = log_probs.sum(1).exp()
        torch.testing.assert_close(probability.sum().item(), 1.0)
        exact = gradients(-(probability * rewards.sum(1)).sum(), policy)
        rollout = rollout_of(policy, memory, captions)
        loss = self.expected_loss(rollout, rewards, 1.0, probability.detach())
        torch.testing.assert_close(gradients(loss, policy), exact, **EXACT)

    def test_with_discount_it_is_the_enumerated_expectation_of_equation_14(self, policy, memory, captions, rewards):
        policy.set_trainable("worker")
        gamma, log_probs = 0.95, self.log_probs(policy, memory, captions)
        probability = log_probs.sum(1).exp().detach()
        rollout = rollout_of(policy, memory, captions)
        baseline = baseline_of(rollout.hidden)(rollout.hidden).detach()
        expectation = [torch.zeros_like(parameter) for parameter in trainable(policy)]
        for row, caption in enumerate(captions.tolist()):
            for t, word in enumerate(caption):
                if word == PAD:
                    continue
                later = [gamma**k * rewards[row, t + k] for k in range(len(caption) - t)]
                weight = -probability[row] * (sum(later) - baseline[row, t])
                slope = gradients(log_probs[row, t], policy)
                expectation = [sum_ + weight * g for sum_, g in zip(expectation, slope, strict=True)]
        loss = self.expected_loss(rollout, rewards, gamma, probability)
        torch.testing.assert_close(list(gradients(loss, policy)), expectation, **EXACT)

    @pytest.mark.parametrize("discount", [1.0, 0.95])
    def test_samples_that_are_each_others_baseline_have_no_bias(self, policy, memory, captions, rewards, discount):
        """Over all pairs of captions: the gradient of equation 14 without a baseline, at 1 the expected return's."""
        policy.set_trainable("worker")
        log_probs = self.log_probs(policy, memory, captions)
        probability = log_probs.sum(1).exp()
        returns = discounted_returns(rewards, discount)
        exact = gradients(-(probability.detach() * (returns * log_probs).sum(1)).sum(), policy)
        if discount == 1:
            whole = gradients(-(probability * rewards.sum(1)).sum(), policy)
            torch.testing.assert_close(exact, whole, **EXACT)
        rollout, probability = rollout_of(policy, memory, captions), probability.detach()
        expected = torch.zeros((), dtype=torch.float64)
        for pair in torch.cartesian_prod(*[torch.arange(len(captions))] * 2):
            loss = worker_loss(rollout.select(pair), rewards[pair], None, discount, samples=2).loss
            expected = expected + probability[pair].prod() * loss
        torch.testing.assert_close(gradients(expected, policy), exact, **EXACT)

    def test_the_other_samples_returns_by_hand(self, policy, memory, captions):
        """Two clips of three samples; beyond a caption's end its return is zero."""
        rollout = rollout_of(policy, memory.select(torch.arange(6)), captions[torch.tensor([0, 20, 21, 22, 23, 24])])
        rewards = torch.tensor([[3.0, 0, 0], [1, 1, 2], [2, 0, 2], [6, 0, 0], [0, 2, 2], [0, 0, 2]]).double()
        learned = worker_loss(rollout, rewards, None, 0.5, samples=3)
        others = [[2.25, 1.5, 2], [2.75, 0.5, 1], [2.5, 1, 1], [1, 2, 2], [3.25, 0.5, 1], [3.75, 1.5, 1]]
        assert learned.expected.tolist() == others


@dataclass
class Explored:
    """Greedy captions from perturbed goals, and what the manager learns from them."""

    memory: TensorBatch
    noise: Tensor
    rollout: Rollout
    rewards: Tensor  # [B, T] f(a_t)
    baseline: LinearBaseline

    @property
    def loss(self) -> Tensor:
        return manager_loss(self.rollout, self.rewards, self.baseline, 0.95).loss

    @property
    def advantage(self) -> Tensor:
        """R(e) - b [B, T] of each word's segment."""
        returns = segment_returns(self.rewards, self.rollout.extras.segment_start, 0.95)
        return (returns - self.baseline(self.rollout.extras.manager)).detach()


class TestManager:
    @pytest.fixture
    def policy(self) -> HRL:
        """The first toy whose captions have several segments, some of several words."""
        return next(policy for seed in SEEDS if self.has_segments(policy := toy_policy("hrl", seed=seed)))

    def has_segments(self, policy: HRL) -> bool:
        rollout = self.explore(policy).rollout
        segments = rollout.extras.segment_start.sum(1)
        return bool((segments > 1).any() and (segments < rollout.lengths).any())

    def explore(self, policy: HRL, detach_segments: bool = False) -> Explored:
        policy.set_trainable("manager")
        memory = policy.encode(batch(toy_clips(4, 2, 3)))
        noise = 2 * random(3, 6, 2) - 3
        rollout = greedy(policy, memory, 6, policy.start(memory, noise, detach_segments))
        rewards = random(*rollout.tokens.shape) * rollout.mask
        return Explored(memory, noise, rollout, rewards, baseline_of(rollout.extras.manager))

    def written(self, policy: HRL, explored: Explored) -> Tensor:
        """log pi of the words written, [B, T], from goals of the manager as it is now and the same noise."""
        memory = policy.encode(batch(toy_clips(4, 2, 3)))
        state, columns = policy.start(memory, explored.noise), []
        for words, target in zip(
            shift(explored.rollout.tokens).unbind(1), explored.rollout.tokens.unbind(1), strict=True
        ):
            step = policy.step(words, state, memory)
            state = step.state
            columns.append(log_probabilities(step.logits).gather(-1, target.unsqueeze(-1)).squeeze(-1))
        return torch.stack(columns, 1).masked_fill(~explored.rollout.mask, 0)

    def written_by_segment(self, policy: HRL, explored: Explored, starts: list[TensorBatch]) -> Tensor:
        """The same, but each segment's goal is set in the state that `starts` recorded at its first word."""
        memory = policy.encode(batch(toy_clips(4, 2, 3)))
        segment_start, tokens, columns = explored.rollout.extras.segment_start, explored.rollout.tokens, []
        state = starts[0]
        for t, (words, target) in enumerate(zip(shift(tokens).unbind(1), tokens.unbind(1), strict=True)):
            fresh = segment_start[:, t]
            state = type(state)(**{
                name: torch.where(fresh.view(-1, *[1] * (value.ndim - 1)), getattr(starts[t], name), value)
                for name, value in vars(state).items() if value is not None
            })  # fmt: skip
            step = policy.step(words, state, memory)
            state = step.state
            columns.append(log_probabilities(step.logits).gather(-1, target.unsqueeze(-1)).squeeze(-1))
        return torch.stack(columns, 1).masked_fill(~explored.rollout.mask, 0)

    def states(self, policy: HRL, explored: Explored) -> list[TensorBatch]:
        """The state before each word."""
        with torch.no_grad():
            memory = policy.encode(batch(toy_clips(4, 2, 3)))
            states = [policy.start(memory, explored.noise)]
            for words in shift(explored.rollout.tokens).unbind(1):
                states.append(policy.step(words, states[-1], memory).state)
        return states

    def check(self, ours: Sequence[Tensor], policy: HRL, explored: Explored, log_probs: Callable) -> None:
        """Hold a gradient against finite differences of the mean over captions of -sum (R - b) log pi(a | g).

        Each difference is along a random direction in one of the manager's parameters, through all of its numbers.
        """
        for parameter, gradient in zip(trainable(policy), ours, strict=True):
            for seed in range(4):
                direction = random(*parameter.shape, seed=seed) - 1.5
                values = []
                with torch.no_grad():
                    for step in (1e-5, -2e-5):  # there, and as far on the other side
                        parameter += step * direction
                        values.append(-(explored.advantage * log_probs(policy)).sum(1).mean())
                    parameter += 1e-5 * direction
                slope = (values[0] - values[1]) / 2e-5
                torch.testing.assert_close((gradient * direction).sum(), slope, atol=1e-6, rtol=1e-6)

    def test_its_gradient_is_the_finite_difference_through_each_segments_goal(self, policy):
        """HRL eq. 22: a goal answers for the words of its own segment, in a state that is given."""
        explored = self.explore(policy, detach_segments=True)
        starts = self.states(policy, explored)
        torch.testing.assert_close(self.written_by_segment(policy, explored, starts), explored.rollout.log_probs)
        ours = gradients(explored.loss, policy)
        self.check(ours, policy, explored, lambda policy: self.written_by_segment(policy, explored, starts))
        assert max(gradient.abs().max() for gradient in ours) > 1e-2

    def test_across_segments_it_is_that_of_the_whole_caption(self, policy):
        explored = self.explore(policy)
        ours = gradients(explored.loss, policy)
        self.check(ours, policy, explored, lambda policy: self.written(policy, explored))

    def test_the_two_differ(self, policy):
        found = []
        for detach_segments in (False, True):
            found.append(gradients(self.explore(policy, detach_segments).loss, policy))
        assert max((a - b).abs().max() for a, b in zip(*found, strict=True)) > 1e-4

    def test_only_the_managers_weights_have_a_gradient(self, policy):
        explored = self.explore(policy)
        explored.loss.backward()
        for name, parameter in policy.named_parameters():
            assert (parameter.grad is not None) == name.startswith("manager."), name


REFERENCES = {"x": ["a man kicks a ball", "a man in red kicks the ball away"], "y": ["the dog sleeps on a bed"]}
CAPTIONS = ("a man kicks the red ball </s>", "the dog kicks a ball on a bed </s>", "a </s>", "</s>")


class TestRewards:
    @pytest.fixture(params=[True, False])
    def cider(self, request) -> CiderD:
        return CiderD.from_captions(REFERENCES, eos=request.param)

    @pytest.fixture
    def scored(self, cider) -> tuple[Tensor, Tensor, Tensor]:
        """Deltas [B, T], whole captions' scores [B] and the mask."""
        tokens = [[2 if w == "</s>" else cider.vocabulary.index(w) for w in c.split()] for c in CAPTIONS]
        lengths = torch.tensor([len(caption) for caption in tokens])
        padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(caption) for caption in tokens], batch_first=True)
        items, mask = ["x", "y", "x", "y"], padded != PAD
        prefixes = cider.prefix_scores(padded, lengths, items)
        return delta_rewards(prefixes, mask), cider.score(padded, lengths, items), mask

    def test_the_deltas_of_a_caption_add_up_to_its_cider_d(self, scored):
        deltas, scores, mask = scored
        torch.testing.assert_close(deltas.sum(1), scores, atol=1e-12, rtol=0)
        assert (scores[:2] > 0.1).all()
        assert (deltas[~mask] == 0).all()

    @pytest.mark.parametrize("discount", [0.0, 0.95, 1.0])
    def test_with_a_segment_a_word_the_managers_rewards_and_returns_are_the_workers(self, scored, discount):
        deltas, _, _ = scored
        segment_start = torch.ones_like(deltas, dtype=torch.bool)
        assert torch.equal(segment_rewards(deltas, segment_start), deltas)
        torch.testing.assert_close(
            segment_returns(deltas, segment_start, discount), discounted_returns(deltas, discount)
        )

    @pytest.mark.parametrize("discount", [0.0, 0.95, 1.0])
    def test_with_one_segment_the_managers_reward_and_return_are_the_captions_score(self, scored, discount):
        deltas, scores, _ = scored
        segment_start = torch.zeros_like(deltas, dtype=torch.bool).index_fill(1, torch.tensor(0), True)
        torch.testing.assert_close(segment_rewards(deltas, segment_start)[:, 0], scores)
        returns = segment_returns(deltas, segment_start, discount)
        torch.testing.assert_close(returns, scores.unsqueeze(1).expand_as(returns))

    def test_by_hand(self):
        rewards = torch.tensor([[1.0, 2.0, 4.0, 8.0, 0.0]])
        assert discounted_returns(rewards, 0.5).tolist() == [[4.0, 6.0, 8.0, 8.0, 0.0]]
        segment_start = torch.tensor([[True, False, True, False, False]])
        assert segment_rewards(rewards, segment_start).tolist() == [[3.0, 12.0, 0.0, 0.0, 0.0]]
        assert segment_returns(rewards, segment_start, 0.5).tolist() == [[9.0, 9.0, 12.0, 12.0, 12.0]]
