"""REINFORCE on a caption's reward, and the baselines that reduce its variance (HRL eq. 11-14)."""

import torch
from torch import Tensor, nn

from captionrl.decoding.rollout import Rollout


def policy_gradient_loss(rollout: Rollout, returns: Tensor, baseline: Tensor) -> Tensor:
    """A scalar whose gradient estimates that of minus the expected return of a caption (HRL eq. 14).

    returns [B, T] of each word, or [B, 1] where all words of a caption have its reward as theirs; baseline [B, T],
    which must not depend on the word at its own position or later ones. Summed over words and averaged over captions:
    dividing by the number of words would favour short captions and is no longer the gradient of the expected return.
    """
    advantage = (returns - baseline).detach() * rollout.mask
    return -(advantage * rollout.log_probs).sum(1).mean()


def entropy_bonus(rollout: Rollout) -> Tensor:
    """The entropy, in nats, of the distributions that a caption's words were drawn from: summed over words, as the
    loss is, and averaged over captions (SLE section 4.1: word-level exploration; Mnih et al. 2016).

    The rollout has `entropy_gradient`. That gradient is each distribution's own, given the words before it; that other
    words would have led to distributions of other entropies is left out, as is usual.
    """
    assert rollout.entropy is not None
    return rollout.entropy.sum(1).mean()


class LinearBaseline(nn.Module):
    """b_t: a linear regressor on the detached state that word t, or a goal, is read from (HRL section 3.3.1)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.regressor = nn.Linear(hidden, 1)
        nn.init.zeros_(self.regressor.weight)
        nn.init.zeros_(self.regressor.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """The expected return [B, T] as seen from states [B, T, H]."""
        return self.regressor(hidden.detach()).squeeze(-1)

    def loss(self, predicted: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
        """Mean squared error over the positions of `mask` [B, T]; returns [B, T] or [B, 1]."""
        return ((predicted - returns)[mask] ** 2).mean()


def health(sampled: Rollout, reward: Tensor, bad_last_words: Tensor, end: int) -> dict[str, float]:
    """What tells early that reinforcement goes wrong, of sampled captions: reward, entropy, length, bad endings.

    A bad ending is a last word that no caption ends with ("a", "in", …): what a reward without </s> teaches.
    """
    assert sampled.entropy is not None
    lengths = sampled.lengths
    words = lengths - (sampled.tokens == end).sum(1)
    last = sampled.tokens.gather(1, (words - 1).clamp(min=0).unsqueeze(1)).squeeze(1)
    return {
        "sample_reward": reward.mean().item(),
        "entropy": (sampled.entropy.sum() / sampled.mask.sum()).item(),
        "length": words.float().mean().item(),
        "bad_endings": torch.isin(last, bad_last_words).float().mean().item(),
    }
