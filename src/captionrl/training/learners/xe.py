"""The learner of cross-entropy."""

from torch import Tensor

from captionrl.config import ScheduledSampling, XEPhase
from captionrl.models import Policy
from captionrl.objectives.xe import xe_loss
from captionrl.training.data import Data
from captionrl.training.learners.captioner import CaptionLearner


class XELearner(CaptionLearner):
    def __init__(self, policy: Policy, data: Data, phase: XEPhase, seed: int) -> None:
        super().__init__(policy, data, phase, seed)
        self.phase = phase

    def loss(self, epoch: int, index: int) -> tuple[Tensor, dict[str, float]]:
        items, tokens = self.pairs.batch(epoch, index)
        sampling_probability = scheduled_probability(self.phase.scheduled_sampling, epoch)
        boundaries = self.pairs.boundaries(epoch, index).to(self.device) if self.phase.boundaries == "truth" else None
        return xe_loss(self.policy, self.clips.batch(items), tokens.to(self.device), sampling_probability, boundaries)


def scheduled_probability(schedule: ScheduledSampling, epoch: float) -> float:
    """That an input word is the model's own sample, after `epoch` epochs, whole or not."""
    grown = max(0.0, (epoch - schedule.start) * schedule.per_epoch)
    return min(schedule.max_probability, schedule.initial + grown)
