"""How captioners learn: by cross-entropy, and by REINFORCE on CIDEr-D."""

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from captionrl.config import AnyPhase, CorpusSettings, ReinforcePhase, XEPhase
from captionrl.datasets.prepare import Captions
from captionrl.decoding.rollout import Rollout, greedy, sample
from captionrl.models.policy import Policy
from captionrl.objectives.reinforce import LinearBaseline, health, policy_gradient_loss
from captionrl.objectives.xe import xe_loss
from captionrl.rewards import CiderD
from captionrl.text.ptb import PUNCTUATION
from captionrl.text.vocabulary import EOS, Vocabulary
from captionrl.training.data import CaptionPairs, Clips

EVALUATION_BATCH = 128


class CaptionLearner:
    """What both ways of learning share: the policy, its data, and CIDEr-D of greedy captions on validation items."""

    def __init__(
        self,
        policy: Policy,
        clips: Clips,
        captions: Captions,
        vocabulary: Vocabulary,
        settings: CorpusSettings,
        phase: AnyPhase,
        seed: int,
    ) -> None:
        self.policy, self.clips, self.phase = policy.to(clips.device), clips, phase
        self.module: nn.Module = nn.ModuleDict({"policy": self.policy})
        self.max_tokens = settings.max_words + 1  # </s>
        self.pairs = CaptionPairs(captions, "train", vocabulary, settings.max_words, phase.batch, seed)
        self.batches = len(self.pairs)
        self.validation_items = [item.id for item in captions.items["val"]]
        references = {item: captions.tokens[item] for item in self.validation_items}
        self.cider = CiderD.from_captions(references, vocabulary=vocabulary.words, skip=PUNCTUATION)

    def validate(self) -> dict[str, float]:
        scores = [self.score(self.greedy(items), items) for items in _chunks(self.validation_items, EVALUATION_BATCH)]
        return {"val_cider": 100 * torch.cat(scores).mean().item()}

    def greedy(self, items: list[str]) -> Rollout:
        return greedy(self.policy, self.policy.encode(self.clips.batch(items)), self.max_tokens)

    def score(self, rollout: Rollout, items: list[str]) -> Tensor:
        """CIDEr-D [B], as the tables have it: </s> and punctuation out, document frequencies of validation items."""
        return self.cider.score(rollout.tokens, rollout.lengths, items)


class XELearner(CaptionLearner):
    phase: XEPhase

    def loss(self, epoch: int, index: int) -> tuple[Tensor, dict[str, float]]:
        items, tokens = self.pairs.batch(epoch, index)
        own_words = self.phase.scheduled_sampling.at(epoch)
        return xe_loss(self.policy, self.clips.batch(items), tokens.to(self.clips.device), own_words)


class ReinforceLearner(CaptionLearner):
    """One sampled caption a clip, rewarded as a whole; the same batches of clips as cross-entropy sees."""

    phase: ReinforcePhase

    def __init__(
        self,
        policy: Policy,
        clips: Clips,
        captions: Captions,
        vocabulary: Vocabulary,
        settings: CorpusSettings,
        phase: ReinforcePhase,
        seed: int,
    ) -> None:
        super().__init__(policy, clips, captions, vocabulary, settings, phase, seed)
        train = {item.id: captions.tokens[item.id] for item in captions.items["train"]}
        skip = frozenset() if phase.punctuation_in_reward else PUNCTUATION
        self.reward = CiderD.from_captions(train, vocabulary=vocabulary.words, skip=skip, eos=phase.eos_in_reward)
        endings = Counter(caption[-1] for references in train.values() for caption in references)
        never_last = [index for index, word in enumerate(vocabulary.words) if word not in endings]
        self.bad_last_words = torch.tensor(never_last, device=clips.device)
        if phase.baseline == "linear":
            with torch.no_grad():
                width = self.greedy([self.validation_items[0]]).hidden.shape[-1]
            self.baseline = LinearBaseline(width).to(clips.device)
            self.module = nn.ModuleDict({"policy": self.policy, "baseline": self.baseline})

    def loss(self, epoch: int, index: int) -> tuple[Tensor, dict[str, float]]:
        items, _ = self.pairs.batch(epoch, index)
        features = self.clips.batch(items)
        rollout = sample(self.policy, self.policy.encode(features), self.max_tokens)
        reward = self.reward.score(rollout.tokens, rollout.lengths, items).to(rollout.log_probs)
        statistics = health(rollout, reward, self.bad_last_words, EOS)
        regression = reward.new_zeros(())
        match self.phase.baseline:
            case "greedy":  # self-critical (Rennie et al. 2017): what the policy would say at test time
                self.policy.eval()
                with torch.no_grad():
                    base = greedy(self.policy, self.policy.encode(features), self.max_tokens)
                self.policy.train()
                greedy_reward = self.reward.score(base.tokens, base.lengths, items).to(reward)
                statistics["greedy_reward"] = greedy_reward.mean().item()
                baseline = greedy_reward.unsqueeze(1).expand_as(rollout.log_probs)
            case "linear":
                baseline = self.baseline(rollout)
                regression = self.baseline.loss(baseline, reward, rollout.mask)
                statistics["baseline_error"] = regression.item()
            case "none":
                baseline = torch.zeros_like(rollout.log_probs)
        loss = policy_gradient_loss(rollout, reward, baseline)
        return loss + regression, {"loss": loss.item(), **statistics}


LEARNERS: dict[str, Any] = {"xe": XELearner, "reinforce": ReinforceLearner}  # by a phase's `objective`


def _chunks(items: list[str], size: int) -> list[list[str]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
