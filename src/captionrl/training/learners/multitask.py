"""A captioner learns with its CNN, from captions and from attributes (Li and Gong 2019, section 3.2)."""

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from captionrl.config import EndToEndPhase, MultitaskPhase
from captionrl.decoding.rollout import sample
from captionrl.features.augment import augment
from captionrl.features.batch import Features
from captionrl.models.e2e import EndToEnd
from captionrl.objectives.multitask import attribute_loss, multi_sample_loss, multitask_loss
from captionrl.objectives.xe import xe_loss
from captionrl.training.data import EVALUATION_BATCH, Data, FeatureBatches, FrameBatches, pad_features
from captionrl.training.learners.captioner import CaptionLearner, chunks
from captionrl.training.learners.reinforce import RewardLearner
from captionrl.training.loop import ParameterGroups


class EndToEndLearner(CaptionLearner):
    """One CNN for both tasks; while it is frozen, every clip goes through it once."""

    policy: EndToEnd

    def __init__(self, policy: EndToEnd, data: Data, phase: EndToEndPhase, seed: int) -> None:
        super().__init__(policy, data, phase, seed)
        self.end_to_end = phase
        self.cnn_learns = phase.cnn_rate > 0
        policy.cnn.requires_grad_(self.cnn_learns)
        policy.cnn.at_once = phase.frames_at_once
        if not self.cnn_learns:
            self.clips = CachedFeatures(self.clips, policy)
        if phase.alpha < 1:
            assert data.attributes is not None
            tokens, listed = data.captions.tokens, data.attributes
            items = [item.id for split in ("train", "val") for item in data.captions.items[split]]
            self.present = {item: listed.of(tokens[item]) for item in items}
        if phase.alpha == 0:
            self.metric = "val_attributes"

    def parameter_groups(self) -> ParameterGroups:
        cnn, attribute_head = list(self.policy.cnn.parameters()), list(self.policy.attribute_head.parameters())
        others = {id(parameter) for parameter in (*cnn, *attribute_head)}
        captioner = [parameter for parameter in self.module.parameters() if id(parameter) not in others]
        phase = self.end_to_end
        return [(captioner, 1.0), (attribute_head, phase.attributes_rate), (cnn, phase.cnn_rate)]

    def validate(self) -> dict[str, float]:
        """Scores of captions; of attributes, where nothing else is learned: 100 exp(-L_a), the geometric mean of the
        probabilities, in per cent, of what is true of validation clips.
        """
        scores = super().validate()
        if self.end_to_end.alpha > 0:
            return scores
        parts = chunks(self.validation_items, EVALUATION_BATCH)
        logits = torch.cat([self.policy.attributes(self.clips.batch(items)) for items in parts])
        return {**scores, self.metric: 100 * math.exp(-self._attribute_loss(logits, self.validation_items).item())}

    def loss(self, epoch: int, index: int) -> tuple[Tensor, dict[str, float]]:
        items, tokens = self.pairs.batch(epoch, index)
        visual = self._see(items, epoch, index)
        captions = attributes = None
        statistics: dict[str, float] = {}
        if self.end_to_end.alpha > 0:
            captions, statistics = self.caption_loss(visual, items, tokens)
        if self.end_to_end.alpha < 1:
            attributes = self._attribute_loss(self.policy.attributes(visual), items)
            statistics["attribute_loss"] = attributes.item()
        return multitask_loss(captions, attributes, self.end_to_end.alpha), statistics

    @abstractmethod
    def caption_loss(self, visual: Features, items: list[str], tokens: Tensor) -> tuple[Tensor, dict[str, float]]:
        """The loss of captions of clips that the CNN has seen; `tokens` [B, T] are the training captions."""

    def _attribute_loss(self, logits: Tensor, items: list[str]) -> Tensor:
        """L_a of clips; the branch [B, A] may have places for more attributes than are listed."""
        present = torch.tensor([self.present[item] for item in items], device=self.device)
        return attribute_loss(logits[:, : present.shape[1]], present)

    def _see(self, items: list[str], epoch: int, index: int) -> Features:
        """What the CNN sees of a batch; meanwhile threads read the next one's frames."""
        batch = self.clips.batch(items)
        if not self.cnn_learns:
            return batch
        if isinstance(self.clips, FrameBatches):
            following = divmod(epoch * self.batches + index + 1, self.batches)
            self.clips.prefetch(self.pairs.batch(*following)[0])
        return self.policy.visual_features(Features(augment(batch.frames, self.end_to_end.augmentation), batch.mask))


class MultitaskXELearner(EndToEndLearner):
    """Captions by cross-entropy (eq. 2)."""

    def caption_loss(self, visual: Features, items: list[str], tokens: Tensor) -> tuple[Tensor, dict[str, float]]:
        return xe_loss(self.policy, visual, tokens.to(self.device))


class MultitaskLearner(EndToEndLearner, RewardLearner):
    """Captions by REINFORCE, M samples a clip against one greedy caption (eq. 7)."""

    def __init__(self, policy: EndToEnd, data: Data, phase: MultitaskPhase, seed: int) -> None:
        super().__init__(policy, data, phase, seed)
        self.samples, self.per_word = phase.samples, phase.per_word

    def features(self, items: list[str]) -> Features:
        """What the CNN makes of clips."""
        return self.policy.visual_features(self.clips.batch(items))

    def caption_loss(self, visual: Features, items: list[str], tokens: Tensor) -> tuple[Tensor, dict[str, float]]:
        rows, of_items = self.repeated(items, self.samples)
        with self.rollouts():
            rollout = sample(self.policy, self.policy.encode(visual).select(rows), self.max_tokens)
        rewards = self.rewards(rollout, of_items, visual, rows)
        baseline = self.greedy_rewards(visual, items)
        loss = multi_sample_loss(rollout, rewards.total, baseline, per_word=self.per_word)
        statistics = {"loss": loss.item(), **self.diagnostics(rollout, rewards)}
        return loss, {**statistics, "greedy_reward": baseline.mean().item(), **self.reward_cost()}


class CachedFeatures(FeatureBatches):
    """Clips as a frozen CNN sees them: each is looked at once, by itself, so that no other decides its last bits."""

    def __init__(self, clips: FeatureBatches, policy: EndToEnd) -> None:
        super().__init__(clips.store, clips.max_frames, clips.device, visual_input=clips.visual_input)
        self.clips, self.policy = clips, policy
        self._seen: dict[str, Tensor] = {}

    def batch(self, items: Sequence[str]) -> Features:
        """What the CNN makes of `items`: frames [B, N, D] float32 and mask [B, N] bool."""
        for item in items:
            if item not in self._seen:
                with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
                    self._seen[item] = self.policy.visual_features(self.clips.batch([item])).frames[0]
        return pad_features([self._seen[item] for item in items])
