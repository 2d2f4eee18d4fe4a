"""The learner of HRL's worker and manager (HRL Algorithm 1)."""

import torch
from torch import Tensor, nn

from captionrl.config import HRLPhase
from captionrl.decoding.rollout import Rollout, greedy, sample
from captionrl.features.batch import Features
from captionrl.models.hrl import HRL, HRLExtras
from captionrl.models.layers import LinearBaseline
from captionrl.objectives.hrl import delta_rewards, manager_loss, worker_loss
from captionrl.rewards.weighted import Rewards
from captionrl.training.data import Data
from captionrl.training.learners.reinforce import RewardLearner, without_dropout
from captionrl.training.loop import ParameterGroups


class HRLLearner(RewardLearner):
    """Worker and manager in turns (HRL Algorithm 1), each with a linear baseline of its own."""

    policy: HRL

    def __init__(self, policy: HRL, data: Data, phase: HRLPhase, seed: int) -> None:
        super().__init__(policy, data, phase, seed)
        self.phase = phase
        self.worker_baseline = LinearBaseline(policy.cell.hidden_size).to(self.device)
        self.manager_baseline = LinearBaseline(policy.manager.cell.hidden_size).to(self.device)
        baselines = {"worker_baseline": self.worker_baseline, "manager_baseline": self.manager_baseline}
        self.module = nn.ModuleDict({"policy": self.policy, **baselines})
        self.updates = phase.epochs * self.batches

    def loss(self, epoch: int, index: int) -> tuple[Tensor, dict[str, float]]:
        items, _ = self.pairs.batch(epoch, index)
        update = epoch * self.batches + index
        if update % (self.phase.worker_updates + self.phase.manager_updates) < self.phase.worker_updates:
            loss, regression, stats = self._worker(items)
        else:
            loss, regression, stats = self._manager(items, update / self.updates)
        if update < self.phase.baseline_warmup:  # an untrained baseline makes every advantage positive
            loss = loss * 0
        return loss + regression, {**stats, **self.reward_cost()}

    def parameter_groups(self) -> ParameterGroups:
        manager = list(self.policy.manager.parameters())
        managers = {id(parameter) for parameter in manager}
        others = [parameter for parameter in self.module.parameters() if id(parameter) not in managers]
        return [(others, 1.0), (manager, self.phase.manager_rate)]

    def _worker(self, items: list[str]) -> tuple[Tensor, Tensor, dict[str, float]]:
        """Captions sampled under the manager's own goals; the manager is frozen."""
        self.policy.set_trainable("worker")
        features = self.clips.batch(items)
        with self.rollouts():
            rollout = sample(self.policy, self.policy.encode(features), self.max_tokens)
        deltas, rewards = self._delta_rewards(rollout, items, features)
        loss, regression = worker_loss(rollout, deltas, self.worker_baseline, self.phase.discount)
        stats = self.diagnostics(rollout, rewards)
        stats |= {"worker_loss": loss.item(), "worker_baseline_error": regression.item()}
        return loss, regression, stats

    def _manager(self, items: list[str], done: float) -> tuple[Tensor, Tensor, dict[str, float]]:
        """Greedy captions under perturbed goals; the worker is frozen, and without dropout.

        `done`: the share of the phase's updates that are done.
        """
        self.policy.set_trainable("manager")
        features = self.clips.batch(items)
        scale = self.phase.noise + (self.phase.noise_end - self.phase.noise) * done
        goals = (len(items), self.max_tokens, self.policy.manager.goal.out_features)
        noise = scale * torch.randn(goals, device=self.device)
        with without_dropout(self.policy):
            memory = self.policy.encode(features)
            start = self.policy.start(memory, noise, detach_segments=not self.phase.gradients_cross_segments)
            rollout = greedy(self.policy, memory, self.max_tokens, start)
        deltas, rewards = self._delta_rewards(rollout, items, features)
        loss, regression = manager_loss(rollout, deltas, self.manager_baseline, self.phase.discount)
        extras = rollout.extras
        assert isinstance(extras, HRLExtras)
        stats = {
            "manager_loss": loss.item(),
            "manager_baseline_error": regression.item(),
            "reward_with_noise": rewards.total.mean().item(),
            "segments": extras.segment_start.sum(1).float().mean().item(),
            "goal_std": (extras.goal[:, 0] - noise[:, 0]).std(0).mean().item(),  # over clips, of first goals
        }
        return loss, regression, stats

    def _delta_rewards(self, rollout: Rollout, items: list[str], features: Features) -> tuple[Tensor, Rewards]:
        """f(a_t) [B, T] of each word, and the rewards of whole captions, which they add up to."""
        rewards = self.rewards(rollout, items, features, of_prefixes=True)
        deltas = delta_rewards(rewards.total, rollout.mask)
        return deltas, Rewards(deltas.sum(1), rewards.parts)
