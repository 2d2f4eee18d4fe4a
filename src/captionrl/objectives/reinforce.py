"""REINFORCE on a caption's reward, and the baselines that reduce its variance (HRL eq. 11-14)."""

import torch
from torch import Tensor, nn

from captionrl.decoding.rollout import Rollout


def policy_gradient_loss(rollout: Rollout, reward: Tensor, baseline: Tensor) -> Tensor:
    """A scalar whose gradient estimates that of minus the expected reward of a caption (HRL eq. 14).

    reward [B] of whole captions, as the return of each of their words; baseline [B, T], which must not depend on the
    word at its own position or later ones. Summed over words and averaged over captions: dividing by the number of
    words would favour short captions and is no longer the gradient of the expected reward.
    """
    advantage = (reward.unsqueeze(1) - baseline).detach() * rollout.mask
    return -(advantage * rollout.log_probs).sum(1).mean()


class LinearBaseline(nn.Module):
    """b_t: a linear regressor on the decoder's detached state before word t (HRL section 3.3.1)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.regressor = nn.Linear(hidden, 1)
        nn.init.zeros_(self.regressor.weight)
        nn.init.zeros_(self.regressor.bias)

    def forward(self, rollout: Rollout) -> Tensor:
        """The expected reward [B, T] as seen from before each word."""
        return self.regressor(rollout.hidden.detach()).squeeze(-1) * rollout.mask

    def loss(self, predicted: Tensor, reward: Tensor, mask: Tensor) -> Tensor:
        """Mean squared error over the words of all captions."""
        return ((predicted - reward.unsqueeze(1))[mask] ** 2).mean()


def health(sampled: Rollout, reward: Tensor, bad_last_words: Tensor, end: int) -> dict[str, float]:
    """What tells early that reinforcement goes wrong, of sampled captions: reward, entropy, length, bad endings.

    A bad ending is a last word that no caption ends with ("a", "in", …): what a reward without </s> teaches.
    """
    lengths = sampled.lengths
    words = lengths - (sampled.tokens == end).sum(1)
    last = sampled.tokens.gather(1, (words - 1).clamp(min=0).unsqueeze(1)).squeeze(1)
    return {
        "sample_reward": reward.mean().item(),
        "entropy": (sampled.entropy.sum() / sampled.mask.sum()).item(),
        "length": words.float().mean().item(),
        "bad_endings": torch.isin(last, bad_last_words).float().mean().item(),
    }
