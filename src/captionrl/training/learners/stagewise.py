"""Rewards at every stage teach Stack-Cap (Gu et al. 2018, eq. 11 to 15)."""

import torch
from torch import Tensor

from captionrl.config import StagewisePhase
from captionrl.decoding.rollout import Rollout, greedy, sample
from captionrl.models import Features
from captionrl.models.stackcap import StackCap
from captionrl.objectives.reinforce import health
from captionrl.objectives.stagewise import staged_advantage, staged_loss
from captionrl.text.vocabulary import EOS
from captionrl.training.data import Data
from captionrl.training.learners.reinforce import RewardLearner


class StagewiseLearner(RewardLearner):
    """Of each clip of a batch, a sample of every stage and a greedy caption of every fine one."""

    policy: StackCap

    def __init__(self, policy: StackCap, data: Data, phase: StagewisePhase, seed: int) -> None:
        super().__init__(policy, data, phase, seed)

    def loss(self, epoch: int, index: int) -> tuple[Tensor, dict[str, float]]:
        items, _ = self.pairs.batch(epoch, index)
        features, stages = self.clips.batch(items), list(range(self.policy.stages))
        sampled, rewards = self._write(features, items, stages, best=False)
        _, greedy_rewards = self._write(features, items, stages[1:], best=True)
        advantage = staged_advantage(rewards, greedy_rewards)
        by_stage = sampled.log_probs.sum(1).view(len(items), len(stages))
        loss = staged_loss(by_stage[:, 1:], advantage)
        last = torch.arange(len(stages) - 1, by_stage.numel(), len(stages), device=self.device)
        statistics = {"loss": loss.item(), **health(sampled.select(last), rewards[:, -1], self.bad_last_words, EOS)}
        statistics["greedy_reward"] = greedy_rewards[:, -1].mean().item()
        statistics |= {f"stage{i}_reward": mean.item() for i, mean in enumerate(rewards.mean(0))}
        return loss, {**statistics, **self.reward_cost()}

    def _write(self, features: Features, items: list[str], stages: list[int], *, best: bool) -> tuple[Rollout, Tensor]:
        """Captions of these stages, clip by clip, and their rewards [B, stages]; the `best` ones or sampled."""
        rows = torch.arange(len(items), device=self.device).repeat_interleave(len(stages))
        with torch.set_grad_enabled(not best):
            self.policy.train(not best)
            memory = self.policy.encode(features).select(rows)
            state = self.policy.start_stages(memory, stages * len(items))
            rollout = (greedy if best else sample)(self.policy, memory, self.max_tokens, state)
            self.policy.train()
        rewards = self.rewards(rollout, [item for item in items for _ in stages])
        return rollout, rewards.view(len(items), len(stages))
