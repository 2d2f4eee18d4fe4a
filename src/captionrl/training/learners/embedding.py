"""The learner of the image-text embedding (Shi et al. 2018, eq. 5)."""

import torch
from torch import Tensor, nn

from captionrl.config import EmbeddingPhase
from captionrl.models.actor_critic import WithValueAndReward
from captionrl.objectives.embedding import adjacent_loss, ranking_loss, ranks
from captionrl.training.data import CaptionPairs, Data
from captionrl.training.loop import ParameterGroups

POOL = 1000  # pairs of validation items that one is looked for among


class EmbeddingLearner:
    """Pictures learn to find their captions among those of a batch, and captions their pictures."""

    metric = "val_recall"

    def __init__(self, policy: WithValueAndReward, data: Data, phase: EmbeddingPhase, seed: int) -> None:
        assert data.clips is not None
        self.phase, self.clips, self.device = phase, data.clips, data.device
        self.similarity = policy.to(data.device).similarity
        self.module: nn.Module = nn.ModuleDict({"similarity": self.similarity})
        self.pairs = CaptionPairs(data, "train", phase.batch, seed)
        self.held_back = CaptionPairs(data, "val", POOL, 0)
        self.batches = len(self.pairs)

    def parameter_groups(self) -> ParameterGroups:
        return [(list(self.module.parameters()), 1.0)]

    def loss(self, epoch: int, index: int) -> tuple[Tensor, dict[str, float]]:
        if self.phase.loss == "ranking":
            loss = ranking_loss(*self._embed(self.pairs, epoch, index), self.phase.margin)
        else:
            items, tokens = self.pairs.batch(epoch, index)
            before, after = self.similarity.before_and_after_last_word(tokens.to(self.device))
            loss = adjacent_loss(self.similarity.pictures(self.clips.batch(items)), before, after, self.phase.margin)
        return loss, {"loss": loss.item()}

    def validate(self) -> dict[str, float]:
        """How often, in per cent, one of its own comes first: captions for a picture, pictures for a caption."""
        hits = []
        for index in range(len(self.held_back)):
            pictures, captions, same = self._embed(self.held_back, 0, index)
            cosines = pictures @ captions.T
            hits += [ranks(cosines, same) == 0, ranks(cosines.T, same) == 0]
        return {self.metric: 100 * torch.cat(hits).float().mean().item()}

    def _embed(self, pairs: CaptionPairs, epoch: int, index: int) -> tuple[Tensor, Tensor, Tensor]:
        items, tokens = pairs.batch(epoch, index)
        numbers = torch.tensor([items.index(item) for item in items], device=self.device)
        pictures = self.similarity.pictures(self.clips.batch(items))
        captions = self.similarity.captions(tokens.to(self.device))
        return pictures, captions, numbers.unsqueeze(1) == numbers
