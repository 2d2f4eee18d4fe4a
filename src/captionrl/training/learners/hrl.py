"""Hierarchical REINFORCE teaches HRL's worker and manager."""

import torch
from torch import Tensor, nn

from captionrl.config import HRLPhase
from captionrl.decoding.rollout import Rollout, greedy, sample
from captionrl.models.hrl import HRL, HRLExtras
from captionrl.objectives.hrl import delta_rewards, discounted_returns, segment_returns
from captionrl.objectives.reinforce import LinearBaseline, health, policy_gradient_loss
from captionrl.text.vocabulary import EOS
from captionrl.training.data import Data
from captionrl.training.learners.reinforce import RewardLearner
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
        if update % (self.phase.worker_turn + self.phase.manager_turn) < self.phase.worker_turn:
            loss, regression, statistics = self._worker(items)
        else:
            loss, regression, statistics = self._manager(items, update / self.updates)
        if update < self.phase.baseline_warmup:  # a baseline at zero would praise whatever is said first
            loss = loss * 0
        return loss + regression, {**statistics, **self.reward_cost()}

    def parameter_groups(self) -> ParameterGroups:
        manager = list(self.policy.manager.parameters())
        theirs = {id(parameter) for parameter in manager}
        others = [parameter for parameter in self.module.parameters() if id(parameter) not in theirs]
        return [(others, 1.0), (manager, self.phase.manager_rate)]

    def _worker(self, items: list[str]) -> tuple[Tensor, Tensor, dict[str, float]]:
        """Sampled captions without exploration of goals; the manager stays as it is (HRL eq. 14, 24)."""
        self.policy.teach("worker")
        self.policy.gradients_cross_segments = True
        rollout = sample(self.policy, self.policy.encode(self.clips.batch(items)), self.max_tokens)
        rewards = self._rewards(rollout, items)
        returns = discounted_returns(rewards, self.phase.discount)
        baseline = self.worker_baseline(rollout.hidden)
        regression = self.worker_baseline.loss(baseline, returns, rollout.mask)
        loss = policy_gradient_loss(rollout, returns, baseline)
        statistics = health(rollout, rewards.sum(1), self.bad_last_words, EOS)
        statistics |= {"worker_loss": loss.item(), "worker_baseline_error": regression.item()}
        return loss, regression, statistics

    def _manager(self, items: list[str], done: float) -> tuple[Tensor, Tensor, dict[str, float]]:
        """Greedy captions from perturbed goals; the worker is an oracle that stays as it is (HRL eq. 22, 23, 25).

        `done`: the share of the phase that lies behind.
        """
        self.policy.teach("manager")
        self.policy.gradients_cross_segments = self.phase.gradients_cross_segments
        for module in self.policy.modules():
            if isinstance(module, nn.Dropout):  # an oracle does not waver; recurrent layers must stay in training mode
                module.eval()
        memory = self.policy.encode(self.clips.batch(items))
        scale = self.phase.noise + (self.phase.noise_end - self.phase.noise) * done
        goals = (len(items), self.max_tokens, self.policy.manager.goal.out_features)
        noise = scale * torch.randn(goals, device=self.device)
        rollout = greedy(self.policy, memory, self.max_tokens, self.policy.start(memory, noise))
        shown = rollout.extras
        assert isinstance(shown, HRLExtras)
        rewards = self._rewards(rollout, items)
        returns = segment_returns(rewards, shown.begins, self.phase.discount)
        baseline = self.manager_baseline(shown.manager)
        regression = self.manager_baseline.loss(baseline, returns, shown.begins)
        loss = policy_gradient_loss(rollout, returns, baseline)
        statistics = {
            "manager_loss": loss.item(),
            "manager_baseline_error": regression.item(),
            "explored_reward": rewards.sum(1).mean().item(),
            "segments": shown.begins.sum(1).float().mean().item(),
            "goal_spread": (shown.goal[:, 0] - noise[:, 0]).std(0).mean().item(),  # over clips, of first goals
        }
        return loss, regression, statistics

    def _rewards(self, rollout: Rollout, items: list[str]) -> Tensor:
        """The delta rewards [B, T] of each word."""
        return delta_rewards(self.rewards(rollout, items, of_prefixes=True), rollout.mask)
