"""Sequence-level exploration (Chen and Jin 2020): samples of an item are to score high and to differ from one another.

    L = alpha L1 + (1 - alpha) L2,   L1 = -E[Delta(y)],   L2 = -E E[d(y, y')]           (SLE eq. 9, 10, 12)

B items, s samples each. Delta and d are both on [0, 1], else alpha weighs nothing that can be named (eq. 2).
"""

import torch
from torch import Tensor

from captionrl.rewards import PairwiseBleu
from captionrl.text.vocabulary import PAD


def pairwise_distances(bleu: PairwiseBleu, tokens: Tensor, dropped: Tensor) -> Tensor:
    """d(y_j, y_k) float64 [B, s, s] between captions `tokens` [B, s, T]: 1 - (BLEU-3 + BLEU-4) / 2.

    `bleu` has orders 3 and 4. `dropped` [K]: the tokens that are no words of a caption, PAD among them; captions that
    differ in nothing else are equal.

    The paper says "BLEU3 + BLEU4". To be a distance it is taken from 1, and is the mean of both directions: BLEU's
    brevity penalty and its precisions are not symmetric, while eq. 13 and 14 need that d is. L2 itself sees nothing of
    that, for y and y' change places in it. Equal captions are at distance 0, which BLEU does not give to those of less
    than four words: they have no 4-gram to match.
    """
    words, lengths = _close_up(tokens, dropped)
    alike = bleu.score(words, lengths).mean(-1)
    equal = (words.unsqueeze(2) == words.unsqueeze(1)).all(-1)
    return (1 - (alike + alike.mT) / 2).masked_fill(equal, 0)


def _close_up(tokens: Tensor, dropped: Tensor) -> tuple[Tensor, Tensor]:
    """Captions [..., T] without these tokens, PAD beyond their last words, and their lengths [...]."""
    kept = ~torch.isin(tokens, dropped)
    order = (~kept).byte().argsort(stable=True, dim=-1)
    return tokens.masked_fill(~kept, PAD).gather(-1, order), kept.sum(-1)


def exploration_loss(
    log_probs: Tensor,
    rewards: Tensor,
    distances: Tensor,
    *,
    alpha: float,
    reward_baseline: Tensor,
    distance_baseline: Tensor,
) -> tuple[Tensor, dict[str, float]]:
    """The surrogate loss of SLE, averaged over items, and statistics:

        L = -1/s sum_j [alpha (Delta(y_j) - b) + (1 - alpha) 2/s sum_k (d(y_j, y_k) - b')] log p(y_j)    (eq. 15, 16)

    It estimates the gradient of L1 by eq. 11 and of L2 by eq. 13, 14; alpha L1 + (1 - alpha) L2 is minus the objective
    (eq. 8, 9, 10, 12). log_probs [B, s] of whole captions, rewards Delta [B, s] on [0, 1] (eq. 2), distances [B, s, s],
    symmetric and 0 on the diagonal. Baselines [B, 1] or [B, s] are subtracted from Delta_j and from the mean distance
    (1/s) sum_k d_jk, which eq. 16 multiplies by two. Without them, and with any that does not depend on y_j, the
    gradient's expectation is that of

        alpha L1 + (1 - alpha) (s - 1) / s L2

    because one of the s distances of a sample is that to itself.
    """
    precision = alpha * (rewards - reward_baseline)
    diversity = (1 - alpha) * 2 * (distances.mean(2) - distance_baseline)
    loss = -((precision + diversity).detach() * log_probs).mean()
    samples = distances.shape[1]
    statistics = {
        "loss": loss.item(),
        "distance": distances.mean().item() * samples / (samples - 1),  # of two different samples
        "precision_weight": precision.abs().mean().item(),  # what each of both terms says to log p
        "diversity_weight": diversity.abs().mean().item(),
    }
    return loss, statistics


def mean_baseline(distances: Tensor) -> Tensor:
    """The paper's: the mean of all pairwise distances, (1/s^2) sum_jk d_jk, [B, 1] of distances [B, s, s].

    The text has it beside the reward of section 4.2, a sum over k: that it is subtracted from each distance is one
    reading of three. It is no true baseline: y_j has a part in 2 (s - 1) of the s^2 distances. Of the gradient's
    expectation that takes away 2 (s - 1) / s^2 of L2's, so that (s - 1) (s - 2) / s^2 of it is left: 0.48 with five
    samples instead of 0.8, and nothing with two. The direction of the diversity term stays, its weight is 1 - 2/s of
    what alpha says. Subtracted once from sum_k d_jk it would leave 0.736, once from 2/s sum_k d_jk 0.64.
    """
    return distances.mean((1, 2)).unsqueeze(1)


def leave_one_out_baseline(distances: Tensor) -> Tensor:
    """The mean distance among the other samples, [B, s] of distances [B, s, s]: y_j has no part in it.

    Times (s - 1) / s, as a sample's own mean distance has a zero in it. Two samples leave none to compare: it is 0.
    """
    samples = distances.shape[1]
    others = distances.sum((1, 2)).unsqueeze(1) - 2 * distances.sum(2)  # over (s - 1) (s - 2) ordered pairs
    return others / (samples * max(1, samples - 2))
