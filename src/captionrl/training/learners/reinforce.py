"""The learner of REINFORCE."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from captionrl.config import ReinforcePhase, RewardPhase
from captionrl.datasets.prepared import Captions
from captionrl.decoding.rollout import Rollout, greedy, sample
from captionrl.models import Features, Policy
from captionrl.models.layers import LinearBaseline
from captionrl.objectives.reinforce import baseline_loss, entropy_bonus, policy_gradient_loss
from captionrl.rewards import Bleu, CiderD, DocumentFrequencies
from captionrl.text.punctuation import PUNCTUATION
from captionrl.training.data import Data
from captionrl.training.diagnostics import rollout_diagnostics
from captionrl.training.learners.captioner import CaptionLearner


def reward_of(phase: RewardPhase, captions: Captions, words: Sequence[str], split: str) -> CiderD | Bleu:
    """A phase's reward for captions of the items of a split; how rare n-grams are, training captions say."""
    references, train = _tokens(captions, split), _tokens(captions, "train")
    skip, eos = frozenset() if phase.punctuation_in_reward else PUNCTUATION, phase.eos_in_reward
    if phase.reward == "BLEU-4":
        return Bleu.from_captions(references, vocabulary=words, skip=skip, eos=eos)
    rarity = None if split == "train" else DocumentFrequencies.from_captions(train, skip=skip, eos=eos)
    return CiderD.from_captions(references, document_frequency=rarity, vocabulary=words, skip=skip, eos=eos)


def _tokens(captions: Captions, split: str) -> dict[str, list[list[str]]]:
    return {item.id: captions.tokens[item.id] for item in captions.items[split]}


class RewardLearner(CaptionLearner):
    """What all ways of reinforcement share: a reward of sampled captions, on the batches that cross-entropy sees."""

    def __init__(self, policy: Policy, data: Data, phase: RewardPhase, seed: int) -> None:
        super().__init__(policy, data, phase, seed)
        words = data.vocabulary.words
        self.reward = reward_of(phase, data.captions, words, "train")
        train = _tokens(data.captions, "train")
        endings = Counter(caption[-1] for references in train.values() for caption in references)
        self.stop_words = torch.tensor(
            [index for index, word in enumerate(words) if word not in endings], device=self.device
        )
        self.reward_seconds = 0.0  # what rewards have cost since the last time this was asked

    def rewards(self, rollout: Rollout, items: list[str], *, of_prefixes: bool = False) -> Tensor:
        """The reward of each caption [B], or of each of its prefixes [B, T]."""
        score = self.reward.prefix_scores if of_prefixes else self.reward.score
        with self.timed_as_reward():
            return score(rollout.tokens, rollout.lengths, items).to(rollout.log_probs)

    def greedy_rewards(self, features: Features, items: list[str]) -> Tensor:
        """The rewards [B] of what the policy would say at test time: a self-critical baseline (Rennie et al. 2017)."""
        self.policy.eval()
        with torch.no_grad():
            captions = greedy(self.policy, self.policy.encode(features), self.max_tokens)
        self.policy.train()
        return self.rewards(captions, items)

    @contextmanager
    def timed_as_reward(self) -> Iterator[None]:
        """What is done within counts as time for rewards."""
        began = time.perf_counter()
        yield
        self.reward_seconds += time.perf_counter() - began

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
        explores = self.phase.entropy > 0
        rollout = sample(self.policy, self.policy.encode(features), self.max_tokens, entropy_gradient=explores)
        reward = self.rewards(rollout, items)
        statistics = rollout_diagnostics(rollout, reward, self.stop_words)
        regression = reward.new_zeros(())
        match self.phase.baseline:
            case "greedy":
                greedy_reward = self.greedy_rewards(features, items)
                statistics["greedy_reward"] = greedy_reward.mean().item()
                baseline = greedy_reward.unsqueeze(1).expand_as(rollout.log_probs)
            case "linear":
                baseline = self.baseline(rollout.hidden)
                regression = baseline_loss(baseline, reward.unsqueeze(1), rollout.mask)
                statistics["baseline_error"] = regression.item()
            case "none":
                baseline = torch.zeros_like(rollout.log_probs)
        loss = policy_gradient_loss(rollout, reward.unsqueeze(1) - baseline)
        statistics = {"loss": loss.item(), **statistics, **self.reward_cost()}
        if explores:
            loss = loss - self.phase.entropy * entropy_bonus(rollout)
        return loss + regression, statistics
