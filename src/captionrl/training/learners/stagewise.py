"""The learner of Stack-Cap's intermediate rewards (Gu et al. 2018, eq. 11 to 15)."""

from collections.abc import Callable

import torch
from torch import Tensor

from captionrl.config import StagewisePhase
from captionrl.decoding.rollout import Rollout, greedy, sample
from captionrl.features.batch import Features
from captionrl.models import Policy
from captionrl.models.stackcap import StackCap
from captionrl.objectives.stagewise import staged_advantage, staged_loss
from captionrl.rewards.weighted import Rewards
from captionrl.training.data import Data
from captionrl.training.learners.reinforce import RewardLearner


class StagewiseLearner(RewardLearner):
    """Of each clip of a batch, a sample of every stage and a greedy caption of every fine one."""

    policy: StackCap

    def __init__(self, policy: Policy, data: Data, phase: StagewisePhase, seed: int) -> None:
        super().__init__(policy, data, phase, seed)
        self.relative_to = phase.relative_to

    def loss(self, epoch: int, index: int) -> tuple[Tensor, dict[str, float]]:
        items, _ = self.pairs.batch(epoch, index)
        features, fine = self.clips.batch(items), range(1, self.policy.decoder_stages)
        with torch.no_grad():
            _, coarse = self._write(sample, features, items, range(1))  # only what stage 1 is compared with
            self.policy.eval()
            _, best = self._write(greedy, features, items, fine)
            self.policy.train()
        torch.clear_autocast_cache()  # of weights as cast without gradients, which older torch would use again
        rollout, own = self._write(sample, features, items, fine)
        coarse_rewards, greedy_rewards, own_rewards = (
            found.total.view(len(items), -1) for found in (coarse, best, own)
        )
        rewards = torch.cat([coarse_rewards, own_rewards], 1)
        advantage = staged_advantage(rewards, greedy_rewards, self.relative_to)
        loss = staged_loss(rollout.log_probs.sum(1).view_as(advantage), advantage)
        last = torch.arange(len(fine) - 1, own_rewards.numel(), len(fine), device=self.device)
        statistics = {"loss": loss.item(), **self.diagnostics(rollout.select(last), own.select(last))}
        statistics["greedy_reward"] = greedy_rewards[:, -1].mean().item()
        statistics |= {f"stage{i}_reward": mean.item() for i, mean in enumerate(rewards.mean(0))}
        return loss, {**statistics, **self.reward_cost()}

    def _write(
        self, how: Callable[..., Rollout], features: Features, items: list[str], stages: range
    ) -> tuple[Rollout, Rewards]:
        """Captions of these stages, clip by clip, by `sample` or `greedy`, and their rewards [B x stages]."""
        rows, of_items = self.repeated(items, len(stages))
        with self.rollouts():
            memory = self.policy.encode(features).select(rows)
            start = self.policy.start_stages(memory, [*stages] * len(items))
            rollout = how(self.policy, memory, self.max_tokens, start)
        return rollout, self.rewards(rollout, of_items, features, rows)
