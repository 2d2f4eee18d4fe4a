"""REINFORCE teaches a captioner."""

import time
from collections import Counter

import torch
from torch import Tensor, nn

from captionrl.config import ReinforcePhase, RewardPhase
from captionrl.decoding.rollout import Rollout, greedy, sample
from captionrl.models import Policy
from captionrl.objectives.reinforce import LinearBaseline, health, policy_gradient_loss
from captionrl.rewards import Bleu, CiderD
from captionrl.text.ptb import PUNCTUATION
from captionrl.text.vocabulary import EOS
from captionrl.training.data import Data
from captionrl.training.learners.captioner import CaptionLearner


class RewardLearner(CaptionLearner):
    """What both ways of reinforcement share: a reward of sampled captions, on the batches that cross-entropy sees."""

    def __init__(self, policy: Policy, data: Data, phase: RewardPhase, seed: int) -> None:
        super().__init__(policy, data, phase, seed)
        train = {item.id: data.captions.tokens[item.id] for item in data.captions.items["train"]}
        words, skip = data.vocabulary.words, frozenset() if phase.punctuation_in_reward else PUNCTUATION
        metric: type[CiderD | Bleu] = CiderD if phase.reward == "CIDEr-D" else Bleu
        self.reward = metric.from_captions(train, vocabulary=words, skip=skip, eos=phase.eos_in_reward)
        endings = Counter(caption[-1] for references in train.values() for caption in references)
        self.bad_last_words = torch.tensor(
            [index for index, word in enumerate(words) if word not in endings], device=self.device
        )
        self.reward_seconds = 0.0  # what rewards have cost since the last time this was asked

    def rewards(self, rollout: Rollout, items: list[str], *, of_prefixes: bool = False) -> Tensor:
        """The reward of each caption [B], or of each of its prefixes [B, T]."""
        began = time.perf_counter()
        score = self.reward.prefix_scores if of_prefixes else self.reward.score
        scores = score(rollout.tokens, rollout.lengths, items).to(rollout.log_probs)
        self.reward_seconds += time.perf_counter() - began
        return scores

    def reward_cost(self) -> dict[str, float]:
        """As a statistic, the seconds since the last call that went into rewards; the loop logs their share."""
        spent, self.reward_seconds = self.reward_seconds, 0.0
        return {"reward_seconds": spent}


class ReinforceLearner(RewardLearner):
    """One sampled caption a clip, rewarded as a whole."""

    def __init__(self, policy: Policy, data: Data, phase: ReinforcePhase, seed: int) -> None:
        super().__init__(policy, data, phase, seed)
        self.phase = phase
        if phase.baseline == "linear":
            with torch.no_grad():
                width = self.greedy([self.validation_items[0]]).hidden.shape[-1]
            self.baseline = LinearBaseline(width).to(self.device)
            self.module = nn.ModuleDict({"policy": self.policy, "baseline": self.baseline})

    def loss(self, epoch: int, index: int) -> tuple[Tensor, dict[str, float]]:
        items, _ = self.pairs.batch(epoch, index)
        features = self.clips.batch(items)
        rollout = sample(self.policy, self.policy.encode(features), self.max_tokens)
        reward = self.rewards(rollout, items)
        statistics = health(rollout, reward, self.bad_last_words, EOS)
        regression = reward.new_zeros(())
        match self.phase.baseline:
            case "greedy":  # self-critical (Rennie et al. 2017): what the policy would say at test time
                self.policy.eval()
                with torch.no_grad():
                    base = greedy(self.policy, self.policy.encode(features), self.max_tokens)
                self.policy.train()
                greedy_reward = self.rewards(base, items)
                statistics["greedy_reward"] = greedy_reward.mean().item()
                baseline = greedy_reward.unsqueeze(1).expand_as(rollout.log_probs)
            case "linear":
                baseline = self.baseline(rollout.hidden)
                regression = self.baseline.loss(baseline, reward.unsqueeze(1), rollout.mask)
                statistics["baseline_error"] = regression.item()
            case "none":
                baseline = torch.zeros_like(rollout.log_probs)
        loss = policy_gradient_loss(rollout, reward.unsqueeze(1), baseline)
        return loss + regression, {"loss": loss.item(), **statistics, **self.reward_cost()}
