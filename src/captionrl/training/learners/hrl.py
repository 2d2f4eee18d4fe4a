"""The learner of HRL's worker and manager (HRL Algorithm 1)."""

from typing import Literal

import torch
from torch import Tensor, nn

from captionrl.config import HRLPhase
from captionrl.decoding.rollout import Rollout, greedy, sample
from captionrl.features.batch import Features
from captionrl.models.hrl import HRL, HRLExtras, Memory
from captionrl.models.layers import LinearBaseline
from captionrl.objectives.hrl import PartLoss, delta_rewards, manager_loss, worker_loss
from captionrl.rewards.weighted import Rewards
from captionrl.training.data import Data
from captionrl.training.diagnostics import explained_variance
from captionrl.training.learners.reinforce import RewardLearner, without_dropout
from captionrl.training.loop import ParameterGroups


class HRLLearner(RewardLearner):
    """Worker and manager in turns (HRL Algorithm 1), each with a baseline of its own."""

    policy: HRL

    def __init__(self, policy: HRL, data: Data, phase: HRLPhase, seed: int) -> None:
        super().__init__(policy, data, phase, seed)
        self.phase = phase
        self.baselines = nn.ModuleDict()  # those that learn
        self.worker_baseline: LinearBaseline | None = None
        if phase.baseline == "linear":
            self.worker_baseline = LinearBaseline(policy.cell.hidden_size).to(self.device)
            self.baselines["worker_baseline"] = self.worker_baseline
        self.manager_baseline = LinearBaseline(policy.manager.cell.hidden_size).to(self.device)
        self.baselines["manager_baseline"] = self.manager_baseline
        self.module = nn.ModuleDict({"policy": self.policy, **self.baselines})
        self.updates = phase.epochs * self.batches

    def loss(self, epoch: int, index: int) -> tuple[Tensor, dict[str, float]]:
        items, _ = self.pairs.batch(epoch, index)
        update = epoch * self.batches + index
        part, turn = self._turn(update)
        learned, stats = self._worker(items) if part == "worker" else self._manager(items, update / self.updates)
        loss = regression = learned.regression
        # An untrained baseline makes every advantage positive. While it learns alone the policy has no gradient at all:
        # one of zero would move Adam's moments.
        if turn >= self.phase.baseline_warmup or f"{part}_baseline" not in self.baselines:
            loss = learned.loss + regression
        stats |= {
            f"{part}_loss": learned.loss.item(),
            f"{part}_baseline_error": regression.item(),
            f"{part}_baseline_explained": explained_variance(learned.expected, learned.returns, learned.places),
        }
        return loss, {**stats, **self.reward_cost()}

    def parameter_groups(self) -> ParameterGroups:
        manager, baselines = list(self.policy.manager.parameters()), list(self.baselines.parameters())
        apart = {id(parameter) for parameter in manager + baselines}
        others = [parameter for parameter in self.module.parameters() if id(parameter) not in apart]
        return [(others, 1.0), (manager, self.phase.manager_rate), (baselines, self.phase.baseline_rate)]

    def _turn(self, update: int) -> tuple[Literal["worker", "manager"], int]:
        """Who learns in an update, and after how many updates of its own."""
        workers, managers = self.phase.worker_updates, self.phase.manager_updates
        cycle, place = divmod(update, workers + managers)
        if place < workers:
            return "worker", cycle * workers + place
        return "manager", cycle * managers + place - workers

    def _worker(self, items: list[str]) -> tuple[PartLoss, dict[str, float]]:
        """Captions sampled under the manager's own goals; the manager is frozen."""
        self.policy.set_trainable("worker")
        features, samples = self.clips.batch(items), self.phase.samples
        rows, of_items = self.repeated(items, samples)
        with self.rollouts():
            memory = self.policy.encode(features).select(rows)
            start = self.policy.start(memory, detach_goals=not self.phase.gradients_through_manager)
            rollout = sample(self.policy, memory, self.max_tokens, state=start)
        deltas, rewards = self._delta_rewards(rollout, of_items, features, rows)
        learned = worker_loss(rollout, deltas, self.worker_baseline, self.phase.discount, samples)
        return learned, self.diagnostics(rollout, rewards)

    def _manager(self, items: list[str], done: float) -> tuple[PartLoss, dict[str, float]]:
        """Greedy captions under perturbed goals; the worker is frozen, and without dropout.

        `done`: the share of the phase's updates that are done.
        """
        self.policy.set_trainable("manager")
        features = self.clips.batch(items)
        scale = self.phase.noise + (self.phase.noise_end - self.phase.noise) * done
        size = (len(items), self.max_tokens, self.policy.manager.goal.out_features)
        with without_dropout(self.policy):
            memory = self.policy.encode(features)
            goal_std = self._goal_std(memory)
            if self.phase.noise_scale == "goals":
                scale = scale * goal_std
            noise = scale * torch.randn(size, device=self.device)
            start = self.policy.start(memory, noise, detach_segments=not self.phase.gradients_cross_segments)
            rollout = greedy(self.policy, memory, self.max_tokens, start)
        deltas, rewards = self._delta_rewards(rollout, items, features)
        extras = rollout.extras
        assert isinstance(extras, HRLExtras)
        stats = {
            "reward_with_noise": rewards.total.mean().item(),
            "segments": extras.segment_start.sum(1).float().mean().item(),
            "goal_std": goal_std,
        }
        return manager_loss(rollout, deltas, self.manager_baseline, self.phase.discount), stats

    @torch.no_grad()
    def _goal_std(self, memory: Memory) -> float:
        """The standard deviation of the first goals, without noise, over clips; mean over their dimensions."""
        extras = self.policy.step(memory.first_words(), self.policy.start(memory), memory).extras
        assert isinstance(extras, HRLExtras)
        torch.clear_autocast_cache()  # of weights as cast without gradients, which older torch would use again
        return extras.goal.float().std(0, correction=0).mean().item()

    def _delta_rewards(
        self, rollout: Rollout, items: list[str], features: Features, rows: Tensor | None = None
    ) -> tuple[Tensor, Rewards]:
        """f(a_t) [B, T] of each word, and the rewards of whole captions, which they add up to."""
        rewards = self.rewards(rollout, items, features, rows, of_prefixes=True)
        deltas = delta_rewards(rewards.total, rollout.mask)
        return deltas, Rewards(deltas.sum(1), rewards.parts)
