"""The learner of REINFORCE."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from captionrl.config import PolicyPhase, ReinforcePhase
from captionrl.decoding.rollout import Rollout, greedy, sample
from captionrl.features.batch import Features
from captionrl.models import Policy
from captionrl.models.layers import LinearBaseline
from captionrl.objectives.reinforce import baseline_loss, entropy_bonus, leave_one_out, policy_gradient_loss
from captionrl.rewards.reward import RewardBatch
from captionrl.rewards.weighted import Rewards, reward_of
from captionrl.training.data import EVALUATION_BATCH, Data
from captionrl.training.diagnostics import explained_variance, rollout_diagnostics
from captionrl.training.learners.captioner import CaptionLearner, chunks
from captionrl.training.loop import ParameterGroups

TRAINING_ITEMS = 200  # whose greedy captions are rewarded at every validation


class RewardLearner(CaptionLearner):
    """What all ways of reinforcement share: a reward of sampled captions, on the batches that cross-entropy sees."""

    def __init__(self, policy: Policy, data: Data, phase: PolicyPhase, seed: int) -> None:
        super().__init__(policy, data, phase, seed)
        self.dropout = phase.dropout
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
        items = [item.id for item in data.captions.items["train"]]
        order = torch.randperm(len(items), generator=torch.Generator().manual_seed(0)).tolist()
        self.training_items = [items[index] for index in order[:TRAINING_ITEMS]]  # the same whatever the run and seed
        self.reward_seconds = 0.0  # what rewards have cost since the last time this was asked

    def validate(self) -> dict[str, float]:
        """Scores on validation items; and the mean reward of greedy captions of some training items, which still rises
        while scores fall if the policy overfits.
        """
        scores = super().validate()
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):  # for rewards that draw
            found = [
                self.greedy_rewards(self.features(items), items)
                for items in chunks(self.training_items, EVALUATION_BATCH)
            ]
        self.reward_cost()  # is no update's
        return {**scores, "train_reward": torch.cat(found).mean().item()}

    def features(self, items: list[str]) -> Features:
        """Clips as rewards are given them."""
        return self.clips.batch(items)

    def rollouts(self) -> AbstractContextManager[None]:
        """Within, the policy has dropout only if the phase wants it in captions that are reinforced."""
        return nullcontext() if self.dropout else without_dropout(self.policy)

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
        training = self.policy.training
        self.policy.eval()
        with torch.no_grad():
            captions = greedy(self.policy, self.policy.encode(features), self.max_tokens)
        self.policy.train(training)
        return self.rewards(captions, items, features).total

    def repeated(self, items: list[str], times: int) -> tuple[Tensor, list[str]]:
        """Of `times` captions of each of B items, item by item: the row [B * times] and the name of each one's item."""
        rows = torch.arange(len(items), device=self.device).repeat_interleave(times)
        return rows, [item for item in items for _ in range(times)]

    def diagnostics(self, rollout: Rollout, rewards: Rewards) -> dict[str, float]:
        """What training logs of sampled captions and their rewards."""
        return {**rollout_diagnostics(rollout, rewards.total, self.stop_words), **self.reward.statistics(rewards)}

    @contextmanager
    def timed_as_reward(self) -> Iterator[None]:
        """What is done within counts as time for rewards."""
        began = time.perf_counter()
        try:
            yield
        finally:
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

    def parameter_groups(self) -> ParameterGroups:
        if self.phase.baseline != "linear":
            return super().parameter_groups()
        return [(list(self.policy.parameters()), 1.0), (list(self.baseline.parameters()), self.phase.baseline_rate)]

    def loss(self, epoch: int, index: int) -> tuple[Tensor, dict[str, float]]:
        items, _ = self.pairs.batch(epoch, index)
        features, explores, samples = self.clips.batch(items), self.phase.entropy > 0, self.phase.samples
        rows, of_items = self.repeated(items, samples)
        update = (epoch * self.batches + index) // self.phase.gradient_accumulation_steps
        with torch.set_grad_enabled(update >= self.phase.baseline_warmup), self.rollouts():
            memory = self.policy.encode(features).select(rows)
            rollout = sample(self.policy, memory, self.max_tokens, entropy_gradient=explores)
        rewards = self.rewards(rollout, of_items, features, rows)
        statistics, reward = self.diagnostics(rollout, rewards), rewards.total
        regression, baseline = reward.new_zeros(()), reward.new_zeros(len(reward), 1)
        match self.phase.baseline:
            case "greedy":
                greedy_reward = self.greedy_rewards(features, items)
                statistics["greedy_reward"] = greedy_reward.mean().item()
                baseline = greedy_reward[rows].unsqueeze(1)
            case "linear":
                baseline = self.baseline(rollout.hidden)
                regression = baseline_loss(baseline, reward.unsqueeze(1), rollout.mask)
                statistics["baseline_error"] = regression.item()
            case "leave-one-out":
                baseline = leave_one_out(reward.view(-1, samples)).view(-1, 1)
        if self.phase.baseline != "none":
            counted = rollout.mask[:, : baseline.shape[1]]  # where all words have one baseline, a caption counts once
            statistics["baseline_explained"] = explained_variance(baseline, reward.unsqueeze(1), counted)
        loss = policy_gradient_loss(rollout, reward.unsqueeze(1) - baseline)
        statistics = {"loss": loss.item(), **statistics, **self.reward_cost()}
        if explores:
            loss = loss - self.phase.entropy * entropy_bonus(rollout)
        return loss + regression, statistics


@contextmanager
def without_dropout(module: nn.Module) -> Iterator[None]:
    """Within, nothing of `module` is dropped. LSTMs stay in training mode: in no other has cuDNN gradients."""
    dropping = [
        part for part in module.modules() if part.training and isinstance(part, _DropoutNd | nn.MultiheadAttention)
    ]
    between_layers = {lstm: lstm.dropout for lstm in module.modules() if isinstance(lstm, nn.RNNBase)}
    for part in dropping:
        part.eval()
    for lstm in between_layers:
        lstm.dropout = 0.0
    try:
        yield
    finally:
        for part in dropping:
            part.train()
        for lstm, share in between_layers.items():
            lstm.dropout = share
