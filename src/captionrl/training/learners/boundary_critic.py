"""The learner of HRL's boundary critic."""

import torch
from torch import Tensor, nn

from captionrl.config import BoundaryPhase
from captionrl.models.boundary_critic import BoundaryCritic
from captionrl.objectives.boundaries import boundary_counts, boundary_loss, is_word, precision_recall_f1
from captionrl.training.data import EVALUATION_BATCH, CaptionPairs, Data
from captionrl.training.loop import ParameterGroups


class BoundaryCriticLearner:
    """Trains the boundary critic on the segments of captions, without visual input."""

    metric = "boundary_f1"

    def __init__(self, critic: BoundaryCritic, data: Data, phase: BoundaryPhase, seed: int) -> None:
        self.module: nn.Module = critic.to(data.device)
        self.boundary_critic, self.device = critic, data.device
        self.pairs = CaptionPairs(data, "train", phase.batch, seed)
        self.held_back = CaptionPairs(data, "val", EVALUATION_BATCH, seed)
        self.batches = len(self.pairs)

    def parameter_groups(self) -> ParameterGroups:
        return [(list(self.module.parameters()), 1.0)]

    def loss(self, epoch: int, index: int) -> tuple[Tensor, dict[str, float]]:
        loss = boundary_loss(*self._read(self.pairs, epoch, index))
        return loss, {"loss": loss.item()}

    def validate(self) -> dict[str, float]:
        counts = []
        for index in range(len(self.held_back)):
            logits, truth, words = self._read(self.held_back, 0, index)
            counts.append(boundary_counts(logits > 0, truth, words))
        precision, recall, f1 = precision_recall_f1(torch.cat(counts))
        return {self.metric: 100 * f1, "precision": 100 * precision, "recall": 100 * recall}

    def _read(self, pairs: CaptionPairs, epoch: int, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, the truth and where there are words [B, T] of a batch."""
        tokens, truth = pairs.batch(epoch, index)[1].to(self.device), pairs.boundaries(epoch, index).to(self.device)
        return self.boundary_critic(tokens), self.boundary_critic.truth(truth, tokens), is_word(tokens)
