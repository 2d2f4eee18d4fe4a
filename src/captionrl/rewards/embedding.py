"""The reward of Shi et al. 2018: the cosine of picture and caption in the policy's own image-text embedding (eq. 6)."""

from typing import Any

from torch import Tensor

from captionrl.errors import UserError
from captionrl.rewards.reward import RewardBatch, RewardData


class EmbeddingReward:
    """For policies that carry a trained embedding (`captionrl.models.actor_critic`)."""

    maximum = 1.0

    def __init__(self, data: RewardData) -> None:
        if not hasattr(data.policy, "similarity"):
            raise UserError("reward embedding: the model has no image-text embedding; give one, such as actor-critic")
        self._similarity: Any = data.policy.similarity

    def score(self, batch: RewardBatch) -> Tensor:
        self._similarity.eval()  # no dropout: a reward is deterministic
        cosine: Tensor = self._similarity(batch.features, batch.tokens)
        return cosine
