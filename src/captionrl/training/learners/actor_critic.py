"""A value network learns what captions earn, and a policy from what it expects (Shi et al. 2018, eq. 9 to 12)."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, pad

from captionrl.config import ActorCriticPhase, JudgedPhase
from captionrl.decoding.rollout import sample
from captionrl.models import Features
from captionrl.models.actor_critic import Judged
from captionrl.objectives.actor_critic import beginnings, explained, td_targets
from captionrl.objectives.reinforce import health, policy_gradient_loss
from captionrl.rewards import Bleu, CiderD
from captionrl.text.vocabulary import EOS, PAD, UNK
from captionrl.training.data import EVALUATION_BATCH, Data
from captionrl.training.learners.captioner import CaptionLearner, chunks
from captionrl.training.learners.reinforce import RewardLearner, reward_of


def mixed_reward(
    policy: Judged,
    phase: JudgedPhase,
    metric: CiderD | Bleu,
    features: Features,
    tokens: Tensor,
    lengths: Tensor,
    items: list[str],
) -> tuple[Tensor, dict[str, float]]:
    """The reward [B] of captions [B, T]: their cosine and their metric, weighted as the phase says; both means."""
    with torch.no_grad():
        policy.similarity.eval()  # the reward of a caption is no matter of chance
        cosine = policy.similarity(features, tokens)
    score = metric.score(tokens, lengths, items).to(cosine)
    told = {"embedding_reward": cosine.mean().item(), "metric_reward": score.mean().item()}
    return phase.embedding * cosine + (1 - phase.embedding) * score, told


class ValueLearner(CaptionLearner):
    """Captions sampled from a policy that stays as it is teach the value of their beginnings (eq. 9)."""

    metric = "val_explained"
    policy: Judged

    def __init__(self, policy: Judged, data: Data, phase: JudgedPhase, seed: int) -> None:
        super().__init__(policy, data, phase, seed)
        self.module = nn.ModuleDict({"value": self.policy.value})
        self.policy.eval()
        self.policy.value.embedding.load_state_dict(self.policy.similarity.state_dict())  # it knows what fits already
        self.phase, self.seed = phase, seed
        self.train_metric, self.val_metric = (
            reward_of(phase, data.captions, data.vocabulary.words, split) for split in ("train", "val")
        )

    def loss(self, epoch: int, index: int) -> tuple[Tensor, dict[str, float]]:
        values, rewards = self._read(self.pairs.batch(epoch, index)[0], self.train_metric)
        loss = mse_loss(values, rewards)
        return loss, {"loss": loss.item(), "sample_reward": rewards.mean().item()}

    def validate(self) -> dict[str, float]:
        """The share, in per cent, that values explain of rewards; captions are sampled with the same seed each time."""
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            found = [self._read(items, self.val_metric) for items in chunks(self.validation_items, EVALUATION_BATCH)]
        values, rewards = (torch.cat(parts) for parts in zip(*found, strict=True))
        return {self.metric: 100 * explained(values, rewards).item()}

    def _read(self, items: list[str], metric: CiderD | Bleu) -> tuple[Tensor, Tensor]:
        """The values [N] of all beginnings of a sampled caption an item, and what each of these captions earns [N]."""
        features = self.clips.batch(items)
        with torch.no_grad():
            rollout = sample(self.policy, self.policy.encode(features), self.max_tokens)
        tokens, lengths = rollout.tokens, rollout.lengths
        with torch.autocast(self.device.type, enabled=False):  # differences of values are smaller than halves can tell
            rewards, _ = mixed_reward(self.policy, self.phase, metric, features, tokens, lengths, items)
            values = self.policy.value(features, tokens)
        there = beginnings(lengths, tokens.shape[1])
        return values[there], rewards.unsqueeze(1).expand_as(values)[there]


class ActorCriticLearner(RewardLearner):
    """The advantage of each word over the value of the beginning before it teaches the policy (eq. 10)."""

    policy: Judged

    def __init__(self, policy: Judged, data: Data, phase: ActorCriticPhase, seed: int) -> None:
        super().__init__(policy, data, phase, seed)
        self.phase = phase
        self.policy.similarity.requires_grad_(False)

    def loss(self, epoch: int, index: int) -> tuple[Tensor, dict[str, float]]:
        items, captions = self.pairs.batch(epoch, index)
        features, given = self.clips.batch(items), self.given(captions, epoch)
        rollout = sample(self.policy, self.policy.encode(features), self.max_tokens, given=given)
        tokens, lengths = rollout.tokens, rollout.lengths
        with torch.autocast(self.device.type, enabled=False):  # as above
            with self.timed_as_reward():
                reward, told = mixed_reward(self.policy, self.phase, self.reward, features, tokens, lengths, items)
            values = self.policy.value(features, tokens)
        targets = td_targets(reward, values, lengths, self.phase.steps)
        there = beginnings(lengths, tokens.shape[1])
        value_loss = mse_loss(values[there], targets[there])  # its gradient is -2 times eq. 11, averaged
        baseline = values[:, :-1] if self.phase.baseline == "value" else torch.zeros_like(rollout.log_probs)
        advantage = targets[:, :-1] - baseline  # eq. 10
        if given is not None:  # with an advantage of 1 this is cross-entropy; what cannot be written teaches nothing
            advantage = advantage.masked_fill(pad(given != PAD, (0, advantage.shape[1] - given.shape[1])), 1)
            rollout = replace(rollout, log_probs=rollout.log_probs.masked_fill(tokens == UNK, 0))
        policy_loss = policy_gradient_loss(rollout, advantage, torch.zeros_like(advantage))
        told |= health(rollout, reward, self.bad_last_words, EOS)
        told |= {"policy_loss": policy_loss.item(), "value_loss": value_loss.item()}
        told |= {"explained": explained(values[there], targets[there]).item(), **self.reward_cost()}
        return policy_loss + value_loss, told

    def given(self, tokens: Tensor, epoch: int) -> Tensor | None:
        """Of captions [B, T], PAD beyond each, those words that the curriculum does not yet leave to the policy."""
        if self.phase.curriculum is None:
            return None
        own = self.phase.curriculum * (1 + epoch)
        kept = (tokens != PAD).sum(1, keepdim=True) - own
        return tokens.masked_fill(torch.arange(tokens.shape[1]) >= kept, PAD).to(self.device)
