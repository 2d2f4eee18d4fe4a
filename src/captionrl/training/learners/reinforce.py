"""The learner of REINFORCE."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from captionrl.config import ReinforcePhase, RewardPhase
from captionrl.decoding.rollout import Rollout, greedy, sample
from captionrl.features.batch import Features
from captionrl.models import Policy
from captionrl.models.layers import LinearBaseline
from captionrl.objectives.reinforce import baseline_loss, entropy_bonus, leave_one_out, policy_gradient_loss
from captionrl.rewards.reward import RewardBatch
from captionrl.rewards.weighted import Rewards, reward_of
from captionrl.training.data import Data
from captionrl.training.diagnostics import rollout_diagnostics
from captionrl.training.learners.captioner import CaptionLearner


class RewardLearner(CaptionLearner):
    """What all ways of reinforcement share: a reward of sampled captions, on the batches that cross-entropy sees."""

    def __init__(self, policy: Policy, data: Data, phase: RewardPhase, seed: int) -> None:
        super().__init__(policy, data, phase, seed)
        self.vocabulary = data.vocabulary
        self.reward = reward_of(
            phase, self.policy, data.captions, self.vocabulary, "train", self.clips.store.attributes
        )
        endings = Counter(
            caption[-1] for item in data.captions.items["train"] for caption in data.captions.tokens[item.id]
        )
        self.stop_words = torch.tensor(
            [index for index, word in enumerate(data.vocabulary.words) if word not in endings], device=self.device
        )
        self.reward_seconds = 0.0  # what rewards have cost since the last time this was asked

    def rewards(
        self,
        rollout: Rollout,
        items: list[str],
        clips: Features,
        rows: Tensor | None = None,
        *,
        of_prefixes: bool = False,
    ) -> Rewards:
        """The reward of each caption [B], or of each of its prefixes [B, T]; see `RewardBatch`."""
        batch = RewardBatch(rollout.tokens, rollout.lengths, items, clips, self.vocabulary, rows)
        with self.timed_as_reward(), torch.autocast(self.device.type, enabled=False):
            return self.reward.prefix_scores(batch) if of_prefixes else self.reward.score(batch)

    def greedy_rewards(self, features: Features, items: list[str]) -> Tensor:
        """The rewards [B] of what the policy would say at test time: a self-critical baseline (Rennie et al. 2017)."""
        self.policy.eval()
        with torch.no_grad():
            captions = greedy(self.policy, self.policy.encode(features), self.max_tokens)
        self.policy.train()
        return self.rewards(captions, items, features).total

    def diagnostics(self, rollout: Rollout, rewards: Rewards) -> dict[str, float]:
        """What training logs of sampled captions and their rewards."""
        return {**rollout_diagnostics(rollout, rewards.total, self.stop_words), **self.reward.statistics(rewards)}

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
    """Sampled captions of each clip of a batch, rewarded as a whole."""

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
        features, explores, samples = self.clips.batch(items), self.phase.entropy > 0, self.phase.samples
        rows = torch.arange(len(items), device=self.device).repeat_interleave(samples)
        memory = self.policy.encode(features).select(rows)
        rollout = sample(self.policy, memory, self.max_tokens, entropy_gradient=explores)
        rewards = self.rewards(rollout, [item for item in items for _ in range(samples)], features, rows)
        statistics, reward = self.diagnostics(rollout, rewards), rewards.total
        regression = reward.new_zeros(())
        match self.phase.baseline:
            case "greedy":
                greedy_reward = self.greedy_rewards(features, items)
                statistics["greedy_reward"] = greedy_reward.mean().item()
                baseline = greedy_reward[rows].unsqueeze(1).expand_as(rollout.log_probs)
            case "linear":
                baseline = self.baseline(rollout.hidden)
                regression = baseline_loss(baseline, reward.unsqueeze(1), rollout.mask)
                statistics["baseline_error"] = regression.item()
            case "leave-one-out":
                others = leave_one_out(reward.view(-1, samples))
                baseline = others.view(-1, 1).expand_as(rollout.log_probs)
            case "none":
                baseline = torch.zeros_like(rollout.log_probs)
        loss = policy_gradient_loss(rollout, reward.unsqueeze(1) - baseline)
        statistics = {"loss": loss.item(), **statistics, **self.reward_cost()}
        if explores:
            loss = loss - self.phase.entropy * entropy_bonus(rollout)
        return loss + regression, statistics
