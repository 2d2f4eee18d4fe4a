"""Sequence-level exploration where all captions can be enumerated: expectations are sums, and must be exact."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from toy import batch, every_caption, gradients, toy_clips, toy_policy, word_log_probs

from captionrl.models import Policy
from captionrl.objectives.exploration import (
    exploration_loss,
    leave_one_out_baseline,
    mean_baseline,
    pairwise_distances,
)
from captionrl.rewards import PairwiseBleu
from captionrl.text.vocabulary import BOS, EOS, PAD, SPECIALS

WORDS = [*SPECIALS, *"abcdefg,"]
COMMA = WORDS.index(",")
NO_WORDS = torch.tensor([PAD, BOS, EOS])
BLEU = PairwiseBleu(WORDS)


def written(*captions):
    """Tokens [1, s, T] of captions, each with its </s>."""
    rows = [torch.tensor([*(WORDS.index(word) for word in caption.split()), EOS]) for caption in captions]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)[None]


def distances_of(*captions, dropped=NO_WORDS):
    return pairwise_distances(BLEU, written(*captions), dropped)[0]


class TestDistance:
    CAPTIONS = ("a b c d e", "a b c d e", "a b c d f", "g f e d c b a", "a b", "a b", "b", "")

    def test_it_is_a_symmetric_distance_between_0_and_1(self):
        d = distances_of(*self.CAPTIONS)
        assert torch.equal(d, d.mT)
        assert ((d >= 0) & (d <= 1)).all()
        equal = torch.tensor([[one == other for other in self.CAPTIONS] for one in self.CAPTIONS])
        assert (d[equal] == 0).all()
        assert (d[~equal] > 0.1).all()

    def test_it_is_what_is_missing_to_1_of_the_mean_of_bleu_3_and_4_in_both_directions(self):
        """By hand: of "a b c d" in "a b c d e" every n-gram is right, but it is a word short."""
        brevity = torch.tensor(1 - 5 / 4, dtype=torch.float64).exp()
        there = (brevity + brevity) / 2
        back = ((4 / 5 * 3 / 4 * 2 / 3) ** (1 / 3) + (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4)) / 2
        expected = 1 - (there + back) / 2
        torch.testing.assert_close(distances_of("a b c d", "a b c d e")[0, 1], expected, atol=1e-8, rtol=0)

    def test_captions_with_nothing_in_common_are_as_far_apart_as_can_be(self):
        assert distances_of("a b c d", "e f g g")[0, 1] > 0.999

    def test_short_captions_are_at_no_distance_from_themselves_though_bleu_finds_no_4_gram_in_them(self):
        tokens = written("a b c", "a b c")
        assert (BLEU.score(tokens, torch.tensor([[3, 3]]))[..., 1] < 0.1).all()
        assert (distances_of("a b c", "a b c") == 0).all()

    def test_what_is_no_word_makes_no_difference(self):
        """Else commas would be the cheapest way to differ."""
        dropped = torch.cat([NO_WORDS, torch.tensor([COMMA])])
        commas = distances_of("a b", ", a , b ,", "a c", dropped=dropped)
        assert commas[0, 1] == 0
        torch.testing.assert_close(commas[0, 2], distances_of("a b", "a c")[0, 1])
        assert distances_of("a b", ", a , b ,")[0, 1] > 0

    def test_a_caption_that_was_cut_has_no_less_words_than_one_that_ended(self):
        tokens = torch.tensor([[[4, 5, EOS], [4, 5, PAD]]])
        assert (pairwise_distances(BLEU, tokens, NO_WORDS) == 0).all()


@dataclass
class World:
    """A policy and every caption that it can write about a clip [C], their rewards in [0, 1], their distances."""

    policy: Policy
    log_p: Tensor  # [C], with gradient
    reward: Tensor
    distance: Tensor  # [C, C]

    @property
    def p(self) -> Tensor:
        return self.log_p.exp()

    def expected_gradient(self, samples, alpha, distance_baseline=None, reward_baseline=None) -> list[Tensor]:
        """The exact expectation of the surrogate's gradient: a sum over all that `samples` draws may give."""
        which = torch.cartesian_prod(*[torch.arange(len(self.p))] * samples)  # [N, s]
        rewards, distances = self.reward[which], self.distance[which.unsqueeze(2), which.unsqueeze(1)]
        log_probs = self.log_p.detach()[which].requires_grad_()
        none = torch.zeros(len(which), 1, dtype=torch.float64)
        loss, _ = exploration_loss(
            log_probs,
            rewards,
            distances,
            alpha=alpha,
            reward_baseline=reward_baseline(rewards) if reward_baseline else none,
            distance_baseline=distance_baseline(distances) if distance_baseline else none,
        )
        (per_draw,) = torch.autograd.grad(loss * len(which), log_probs)  # a batch's loss is the mean over its items
        weighted = per_draw * self.p.detach()[which].prod(1, keepdim=True)
        per_caption = torch.zeros_like(self.reward).index_add(0, which.flatten(), weighted.flatten())
        return self.gradient((per_caption * self.log_p).sum())

    def exact_gradient(self, precision: float, diversity: float) -> list[Tensor]:
        """The gradient of precision L1 + diversity L2 (SLE eq. 9)."""
        l1, l2 = -(self.p * self.reward).sum(), -self.p @ self.distance @ self.p
        return self.gradient(precision * l1 + diversity * l2)

    def gradient(self, scalar: Tensor) -> list[Tensor]:
        return list(gradients(scalar, self.policy))


@pytest.fixture(params=["pooled", "pooled-attention", "hrl"])
def world(request):
    return make_world(request.param)


def make_world(model, vocabulary=7):
    captions = every_caption(vocabulary=vocabulary)
    policy = toy_policy(model, vocabulary)
    memory = policy.encode(batch(toy_clips(4))).select(torch.zeros(len(captions), dtype=torch.long))
    reward = torch.rand(len(captions), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    log_p = word_log_probs(policy, memory, captions).sum(1)
    return World(policy, log_p, reward, pairwise_distances(BLEU, captions[None], NO_WORDS)[0])


def others_reward(rewards):
    """Leave-one-out: the mean reward of the other samples."""
    return (rewards.sum(1, keepdim=True) - rewards) / (rewards.shape[1] - 1)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    assert max(gradient.abs().max() for gradient in theirs) > 1e-2


@pytest.mark.parametrize("samples", [2, 3])
@pytest.mark.parametrize(
    "baselines", [(None, None), (leave_one_out_baseline, None), (leave_one_out_baseline, others_reward)]
)
def test_the_surrogates_expected_gradient_is_that_of_the_objective_with_s_minus_1_over_s_of_its_diversity(
    world, samples, baselines
):
    for alpha in (0.75, 0.0):
        exact = world.exact_gradient(alpha, (1 - alpha) * (samples - 1) / samples)
        close(world.expected_gradient(samples, alpha, *baselines), exact)


@pytest.mark.parametrize("samples", [3, 4])
def test_the_printed_baseline_leaves_1_minus_2_over_s_of_the_diversity_terms_gradient(samples):
    """Its bias is -2 (s - 1) / s^2 of L2's gradient, for y_j has a part in the mean of the distances."""
    world = make_world("pooled", vocabulary=6)
    alpha, whole = 0.25, (samples - 1) / samples
    ours = world.expected_gradient(samples, alpha, mean_baseline)
    close(ours, world.exact_gradient(alpha, (1 - alpha) * whole * (1 - 2 / samples)))
    unbiased = world.expected_gradient(samples, alpha)
    bias = [one - other for one, other in zip(ours, unbiased, strict=True)]
    close(bias, world.exact_gradient(0, -(1 - alpha) * 2 * (samples - 1) / samples**2))


def test_of_two_samples_the_printed_baseline_leaves_nothing():
    distances = torch.tensor([[[0.0, 0.7], [0.7, 0.0]]])
    assert (distances.mean(2) - mean_baseline(distances) == 0).all()
    assert (leave_one_out_baseline(distances) == 0).all()


def test_a_leave_one_out_baseline_is_that_of_the_others():
    distances = torch.rand(3, 5, 5, dtype=torch.float64)
    distances = (distances + distances.mT).masked_fill(torch.eye(5, dtype=torch.bool), 0)
    baseline = leave_one_out_baseline(distances)
    for j in range(5):
        others = [k for k in range(5) if k != j]
        pairs = [distances[:, k, i] for k in others for i in others if k != i]
        torch.testing.assert_close(baseline[:, j], torch.stack(pairs).mean(0) * 4 / 5)


def test_baselines_make_the_weights_of_log_p_smaller():
    world = make_world("pooled")
    torch.manual_seed(0)
    which = torch.multinomial(world.p.detach(), 5 * 2000, replacement=True).view(2000, 5)
    distances = world.distance[which.unsqueeze(2), which.unsqueeze(1)]
    plain = distances.mean(2)
    for baseline in (mean_baseline, leave_one_out_baseline):
        assert (plain - baseline(distances)).square().mean() < plain.square().mean() / 4


@pytest.mark.parametrize("baseline", [mean_baseline, leave_one_out_baseline, lambda d: torch.zeros(len(d), 1)])
def test_the_diversity_term_is_zero_when_all_samples_are_equal(baseline):
    distances = pairwise_distances(BLEU, written(*["a b c"] * 5), NO_WORDS)
    log_probs = torch.full((1, 5), -2.0, requires_grad=True)
    loss, stats = exploration_loss(
        log_probs, torch.rand(1, 5), distances.float(), alpha=0.0,
        reward_baseline=torch.zeros(1, 1), distance_baseline=baseline(distances),
    )  # fmt: skip
    assert loss.item() == stats["diversity_weight"] == stats["distance"] == 0
    loss.backward()
    assert (log_probs.grad == 0).all()


def test_loss_of_two_items_by_hand():
    log_probs = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]], requires_grad=True)
    distances = torch.tensor([[[0.0, 0.4], [0.4, 0.0]], [[0.0, 1.0], [1.0, 0.0]]])
    loss, stats = exploration_loss(
        log_probs, torch.tensor([[0.5, 0.1], [0.2, 0.2]]), distances, alpha=0.75,
        reward_baseline=torch.tensor([[0.1], [0.2]]), distance_baseline=torch.tensor([[0.1], [0.0]]),
    )  # fmt: skip
    # 0.75 (Delta - b) + 0.25 * 2 (d / 2 - c) of each sample
    weights = torch.tensor([[0.75 * 0.4 + 0.05, 0.05], [0.25, 0.25]])
    torch.testing.assert_close(loss, (weights * torch.tensor([[1.0, 2.0], [3.0, 4.0]])).mean())
    loss.backward()
    torch.testing.assert_close(log_probs.grad, -weights / 4)
    assert stats == pytest.approx(
        {"loss": loss.item(), "distance": 0.7, "precision_weight": 0.3 / 4, "diversity_weight": (0.05 + 0.25) / 2}
    )
