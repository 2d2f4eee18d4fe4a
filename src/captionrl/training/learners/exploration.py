"""The learner of sequence-level exploration (Chen and Jin 2020, Algorithm 1)."""

import torch
from torch import Tensor

from captionrl.config import ExplorationPhase
from captionrl.decoding.rollout import sample
from captionrl.errors import UserError
from captionrl.models import Policy
from captionrl.objectives.exploration import (
    exploration_loss,
    leave_one_out_baseline,
    mean_baseline,
    pairwise_distances,
)
from captionrl.rewards import PairwiseBleu
from captionrl.text.punctuation import PUNCTUATION
from captionrl.text.vocabulary import BOS, EOS, PAD
from captionrl.training.data import Data
from captionrl.training.learners.reinforce import RewardLearner


class ExplorationLearner(RewardLearner):
    """Several sampled captions of each item of a batch: rewarded for their score and for their differences."""

    def __init__(self, policy: Policy, data: Data, phase: ExplorationPhase, seed: int) -> None:
        super().__init__(policy, data, phase, seed)
        self.phase = phase
        unit = phase.reward_scale or self.reward.maximum  # eq. 2 wants a reward in [0, 1]
        if unit is None or unit <= 0:
            what = f"the highest reward by {', '.join(phase.weights)} is {'not known' if unit is None else f'{unit:g}'}"
            raise UserError(f"{what}; give the phase a reward_scale, or what is your own a `maximum`")
        self.unit = unit
        words = data.vocabulary.words
        self.bleu = PairwiseBleu(words)
        skipped = frozenset() if phase.punctuation_in_reward else PUNCTUATION
        punctuation = [index for index, word in enumerate(words) if word in skipped]
        self.no_words = torch.tensor([PAD, BOS, EOS, *punctuation], device=self.device)

    def loss(self, epoch: int, index: int) -> tuple[Tensor, dict[str, float]]:
        items, _ = self.pairs.batch(epoch, index)
        features, samples = self.clips.batch(items), self.phase.samples
        by_item = len(items), samples
        rows, of_items = self.repeated(items, samples)
        with self.rollouts():
            rollout = sample(self.policy, self.policy.encode(features).select(rows), self.max_tokens)
        rewards = self.rewards(rollout, of_items, features, rows)
        greedy_reward = self.greedy_rewards(features, items)
        with self.timed_as_reward():
            tokens = rollout.tokens.view(*by_item, -1)
            distances = pairwise_distances(self.bleu, tokens, self.no_words).to(rewards.total)
        baseline = mean_baseline if self.phase.diversity_baseline == "mean" else leave_one_out_baseline
        loss, statistics = exploration_loss(
            rollout.log_probs.sum(1).view(by_item),
            rewards.total.view(by_item) / self.unit,
            distances,
            alpha=self.phase.alpha,
            reward_baseline=greedy_reward.unsqueeze(1) / self.unit,
            distance_baseline=baseline(distances),
        )
        statistics |= self.diagnostics(rollout, rewards)
        return loss, {**statistics, "greedy_reward": greedy_reward.mean().item(), **self.reward_cost()}
