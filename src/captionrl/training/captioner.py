"""How captioners learn: by cross-entropy, by REINFORCE, by hierarchical REINFORCE; and how HRL's critic does."""

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from captionrl.config import CriticPhase, HRLPhase, Phase, ReinforcePhase, RewardPhase, XEPhase
from captionrl.decoding.rollout import Rollout, greedy, sample
from captionrl.models import HRL, Critic, Policy
from captionrl.models.hrl import HRLExtras
from captionrl.objectives.boundaries import boundary_counts, boundary_loss, is_word, precision_recall_f1
from captionrl.objectives.hrl import delta_rewards, discounted_returns, segment_returns
from captionrl.objectives.reinforce import LinearBaseline, health, policy_gradient_loss
from captionrl.objectives.xe import xe_loss
from captionrl.rewards import Bleu, CiderD
from captionrl.text.ptb import PUNCTUATION
from captionrl.text.vocabulary import EOS
from captionrl.training.data import CaptionPairs, Data
from captionrl.training.loop import ParameterGroups

EVALUATION_BATCH = 128


class CaptionLearner:
    """What all share who learn to caption: the policy, its data, and CIDEr-D of greedy captions on validation items."""

    metric = "val_cider"

    def __init__(self, policy: Policy, data: Data, phase: Phase, seed: int) -> None:
        assert data.clips is not None
        self.policy, self.clips, self.device = policy.to(data.device), data.clips, data.device
        self.module: nn.Module = nn.ModuleDict({"policy": self.policy})
        self.max_tokens = data.max_words + 1  # </s>
        self.pairs = CaptionPairs(data, "train", phase.batch, seed)
        self.batches = len(self.pairs)
        self.validation_items = [item.id for item in data.captions.items["val"]]
        references = {item: data.captions.tokens[item] for item in self.validation_items}
        self.cider = CiderD.from_captions(references, vocabulary=data.vocabulary.words, skip=PUNCTUATION)

    def parameter_groups(self) -> ParameterGroups:
        return [(list(self.module.parameters()), 1.0)]

    def validate(self) -> dict[str, float]:
        scores = [self.score(self.greedy(items), items) for items in _chunks(self.validation_items, EVALUATION_BATCH)]
        return {self.metric: 100 * torch.cat(scores).mean().item()}

    def greedy(self, items: list[str]) -> Rollout:
        return greedy(self.policy, self.policy.encode(self.clips.batch(items)), self.max_tokens)

    def score(self, rollout: Rollout, items: list[str]) -> Tensor:
        """CIDEr-D [B], as the tables have it: </s> and punctuation out, document frequencies of validation items."""
        return self.cider.score(rollout.tokens, rollout.lengths, items)


class XELearner(CaptionLearner):
    def __init__(self, policy: Policy, data: Data, phase: XEPhase, seed: int) -> None:
        super().__init__(policy, data, phase, seed)
        self.phase = phase

    def loss(self, epoch: int, index: int) -> tuple[Tensor, dict[str, float]]:
        items, tokens = self.pairs.batch(epoch, index)
        own_words = self.phase.scheduled_sampling.at(epoch)
        boundaries = self.pairs.boundaries(epoch, index).to(self.device) if self.phase.boundaries == "truth" else None
        return xe_loss(self.policy, self.clips.batch(items), tokens.to(self.device), own_words, boundaries)


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
        reward = self.reward.score(rollout.tokens, rollout.lengths, items).to(rollout.log_probs)
        statistics = health(rollout, reward, self.bad_last_words, EOS)
        regression = reward.new_zeros(())
        match self.phase.baseline:
            case "greedy":  # self-critical (Rennie et al. 2017): what the policy would say at test time
                self.policy.eval()
                with torch.no_grad():
                    base = greedy(self.policy, self.policy.encode(features), self.max_tokens)
                self.policy.train()
                greedy_reward = self.reward.score(base.tokens, base.lengths, items).to(reward)
                statistics["greedy_reward"] = greedy_reward.mean().item()
                baseline = greedy_reward.unsqueeze(1).expand_as(rollout.log_probs)
            case "linear":
                baseline = self.baseline(rollout.hidden)
                regression = self.baseline.loss(baseline, reward.unsqueeze(1), rollout.mask)
                statistics["baseline_error"] = regression.item()
            case "none":
                baseline = torch.zeros_like(rollout.log_probs)
        loss = policy_gradient_loss(rollout, reward.unsqueeze(1), baseline)
        return loss + regression, {"loss": loss.item(), **statistics}


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
        return loss + regression, statistics

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
        scores = self.reward.prefix_scores(rollout.tokens, rollout.lengths, items).to(rollout.log_probs)
        return delta_rewards(scores, rollout.mask)


class CriticLearner:
    """HRL's internal critic learns where segments end, from the captions alone."""

    metric = "boundary_f1"

    def __init__(self, critic: Critic, data: Data, phase: CriticPhase, seed: int) -> None:
        self.module: nn.Module = critic.to(data.device)
        self.critic, self.phase, self.device = critic, phase, data.device
        self.pairs = CaptionPairs(data, "train", phase.batch, seed)
        self.held_back = CaptionPairs(data, "val", EVALUATION_BATCH, seed)
        self.batches = len(self.pairs)

    def parameter_groups(self) -> ParameterGroups:
        return [(list(self.module.parameters()), 1.0)]

    def loss(self, epoch: int, index: int) -> tuple[Tensor, dict[str, float]]:
        loss = boundary_loss(*self._read(self.pairs, epoch, index))
        return loss, {"loss": loss.item()}

    def validate(self) -> dict[str, float]:
        counts = []
        for index in range(len(self.held_back)):
            logits, truth, words = self._read(self.held_back, 0, index)
            counts.append(boundary_counts(logits > 0, truth, words))
        precision, recall, f1 = precision_recall_f1(torch.cat(counts))
        return {self.metric: 100 * f1, "precision": 100 * precision, "recall": 100 * recall}

    def _read(self, pairs: CaptionPairs, epoch: int, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, the truth and where there are words [B, T] of a batch."""
        tokens, truth = pairs.batch(epoch, index)[1].to(self.device), pairs.boundaries(epoch, index).to(self.device)
        words = is_word(tokens)
        if not self.phase.close_caption:
            last = words & ~torch.cat([words[:, 1:], torch.zeros_like(words[:, :1])], 1)
            truth = truth & ~last
        return self.critic(tokens), truth, words


LEARNERS: dict[str, Any] = {  # by a phase's `objective`
    "xe": XELearner,
    "reinforce": ReinforceLearner,
    "hrl": HRLLearner,
    "critic": CriticLearner,
}


def _chunks(items: list[str], size: int) -> list[list[str]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
