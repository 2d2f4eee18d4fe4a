"""The reward of a phase: a weighted sum of the rewards that its settings name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captionrl.config import REWARDS, RewardPhase
from captionrl.datasets.prepared import Captions
from captionrl.dotted import load_object
from captionrl.features.batch import TensorBatch
from captionrl.rewards.reward import Reward, RewardBatch, RewardData, prefix_scores
from captionrl.rewards.user import UserReward
from captionrl.text.punctuation import PUNCTUATION
from captionrl.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Rewards(TensorBatch):
    """The rewards of B captions."""

    total: Tensor  # [B], or after every word [B, T]
    parts: tuple[Tensor, ...]  # [B] of whole captions: each part of the sum, before it is weighted


class WeightedReward:
    """A weighted sum of rewards, in the policy's own precision and without gradients."""

    def __init__(self, weights: dict[str, float], rewards: Sequence[Reward], dtype: torch.dtype) -> None:
        self.weights, self.rewards, self.dtype = weights, rewards, dtype

    @property
    def maximum(self) -> float | None:
        """The highest sum, if parts of a negative weight come to 0; None where a part does not know its maximum."""
        counted = zip(self.weights.values(), self.rewards, strict=True)
        highest = [(weight, reward.maximum) for weight, reward in counted if weight > 0]
        known = [weight * maximum for weight, maximum in highest if maximum is not None]
        return sum(known) if len(known) == len(highest) > 0 else None

    @torch.no_grad()
    def score(self, batch: RewardBatch) -> Rewards:
        """Of whole captions: `total` is [B]."""
        parts = tuple(reward.score(batch).to(self.dtype) for reward in self.rewards)
        return Rewards(self._sum(parts), parts)

    @torch.no_grad()
    def prefix_scores(self, batch: RewardBatch) -> Rewards:
        """After every word: `total` is [B, T]."""
        parts = tuple(prefix_scores(reward, batch).to(self.dtype) for reward in self.rewards)
        last = (batch.lengths - 1).clamp(min=0).unsqueeze(1)
        return Rewards(self._sum(parts), tuple(part.gather(1, last).squeeze(1) for part in parts))

    def statistics(self, rewards: Rewards) -> dict[str, float]:
        """What training logs of a sum: the mean of each part, before it is weighted."""
        if len(self.weights) == 1:
            return {}
        return {f"reward_{name}": part.mean().item() for name, part in zip(self.weights, rewards.parts, strict=True)}

    def _sum(self, parts: Sequence[Tensor]) -> Tensor:
        total = torch.zeros_like(parts[0])
        for weight, part in zip(self.weights.values(), parts, strict=True):
            total = total + weight * part
        return total


def reward_of(
    phase: RewardPhase,
    policy: nn.Module,
    captions: Captions,
    vocabulary: Vocabulary,
    split: str,
    features: Mapping[str, Any],
) -> WeightedReward:
    """A phase's reward of a policy's captions of a split; arguments as of `RewardData`.

    Raises UserError where a reward of the user's own cannot be made.
    """
    skip = frozenset() if phase.punctuation_in_reward else PUNCTUATION
    clip = Path(phase.clip_weights) if phase.clip_weights else None
    data = RewardData(captions, split, vocabulary, policy, features, phase.eos_in_reward, skip, clip)
    rewards = [
        load_object(REWARDS[name])(data) if name in REWARDS else UserReward(name, data) for name in phase.weights
    ]
    return WeightedReward(phase.weights, rewards, next(policy.parameters()).dtype)
