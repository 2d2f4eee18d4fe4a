"""Learners of a value network, and of policy and value network together (Shi et al. 2018, eq. 9 to 12)."""

import torch
from torch import Tensor, nn

from captionrl.config import ActorCriticPhase, ValuePhase
from captionrl.decoding.rollout import sample
from captionrl.models.actor_critic import WithValueAndReward
from captionrl.objectives.actor_critic import actor_loss, prefix_mask, td_targets, value_loss
from captionrl.rewards.reward import RewardBatch
from captionrl.rewards.weighted import Rewards, WeightedReward, reward_of
from captionrl.text.vocabulary import PAD
from captionrl.training.data import EVALUATION_BATCH, Data
from captionrl.training.diagnostics import explained_variance
from captionrl.training.learners.captioner import CaptionLearner, chunks
from captionrl.training.learners.reinforce import RewardLearner


class ValueLearner(CaptionLearner):
    """Trains the value network on captions sampled from a policy that stays as it is (eq. 9)."""

    metric = "val_explained_variance"
    policy: WithValueAndReward

    def __init__(self, policy: WithValueAndReward, data: Data, phase: ValuePhase, seed: int) -> None:
        super().__init__(policy, data, phase, seed)
        self.module = nn.ModuleDict({"value": self.policy.value})
        self.policy.eval()
        if phase.from_embedding is not False:
            self.policy.value.embedding.load_state_dict(self.policy.similarity.state_dict())
        self.phase, self.seed = phase, seed
        self.vocabulary = data.vocabulary
        self.train_reward, self.val_reward = (
            reward_of(phase, self.policy, data.captions, self.vocabulary, split, self.clips.store.attributes)
            for split in ("train", "val")
        )

    def loss(self, epoch: int, index: int) -> tuple[Tensor, dict[str, float]]:
        values, targets, rewards = self._values_and_rewards(self.pairs.batch(epoch, index)[0], self.train_reward)
        loss = value_loss(values, targets)
        statistics = {"loss": loss.item(), "sample_reward": rewards.total.mean().item()}
        statistics["value_explained"] = explained_variance(values, targets, torch.ones_like(values, dtype=torch.bool))
        return loss, {**statistics, **self.train_reward.statistics(rewards)}

    def validate(self) -> dict[str, float]:
        """R^2, in per cent, of values as predictions of rewards; captions are sampled with the same seed each time."""
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            found = [
                self._values_and_rewards(items, self.val_reward)[:2]
                for items in chunks(self.validation_items, EVALUATION_BATCH)
            ]
        values, rewards = (torch.cat(parts) for parts in zip(*found, strict=True))
        return {self.metric: 100 * explained_variance(values, rewards, torch.ones_like(values, dtype=torch.bool))}

    def _values_and_rewards(self, items: list[str], reward: WeightedReward) -> tuple[Tensor, Tensor, Rewards]:
        """The values [N] of all prefixes of a sampled caption an item, the reward [N] of each one's caption, and the
        rewards of the captions.
        """
        features = self.clips.batch(items)
        with torch.no_grad():
            rollout = sample(self.policy, self.policy.encode(features), self.max_tokens)
        tokens, lengths = rollout.tokens, rollout.lengths
        with torch.autocast(self.device.type, enabled=False):  # differences of values underflow in bfloat16
            rewards = reward.score(RewardBatch(tokens, lengths, items, features, self.vocabulary))
            values = self.policy.value(features, tokens)
        prefixes = prefix_mask(lengths, tokens.shape[1])
        return values[prefixes], rewards.total.unsqueeze(1).expand_as(values)[prefixes], rewards


class ActorCriticLearner(RewardLearner):
    """Trains policy and value network on the same sampled captions (eq. 10, 11)."""

    policy: WithValueAndReward

    def __init__(self, policy: WithValueAndReward, data: Data, phase: ActorCriticPhase, seed: int) -> None:
        super().__init__(policy, data, phase, seed)
        self.phase = phase
        self.policy.similarity.requires_grad_(False)

    def loss(self, epoch: int, index: int) -> tuple[Tensor, dict[str, float]]:
        items, captions = self.pairs.batch(epoch, index)
        features, given = self.clips.batch(items), self.given(captions, epoch)
        with self.rollouts():
            rollout = sample(self.policy, self.policy.encode(features), self.max_tokens, given=given)
        tokens, lengths = rollout.tokens, rollout.lengths
        rewards = self.rewards(rollout, items, features)
        with torch.autocast(self.device.type, enabled=False):  # as above
            values = self.policy.value(features, tokens)
        targets = td_targets(rewards.total, values, lengths, self.phase.steps)
        prefixes = prefix_mask(lengths, tokens.shape[1])
        if given is not None:  # rewards say nothing of a beginning whose next word the policy does not choose
            places = torch.arange(prefixes.shape[1], device=self.device)
            prefixes &= places >= (given != PAD).sum(1, keepdim=True)
        regression = value_loss(values[prefixes], targets[prefixes])
        baseline = values if self.phase.baseline == "value" else None
        policy_loss = actor_loss(rollout, targets, baseline, given)
        stats = self.diagnostics(rollout, rewards)
        stats |= {"policy_loss": policy_loss.item(), "value_loss": regression.item()}
        stats["value_explained"] = explained_variance(values, targets, prefixes)
        return policy_loss + regression, {**stats, **self.reward_cost()}

    def given(self, tokens: Tensor, epoch: int) -> Tensor | None:
        """Of captions [B, T], PAD beyond each, those words that the curriculum does not yet leave to the policy."""
        if self.phase.curriculum is None:
            return None
        own = self.phase.curriculum * (1 + epoch)
        kept = (tokens != PAD).sum(1, keepdim=True) - own
        return tokens.masked_fill(torch.arange(tokens.shape[1]) >= kept, PAD).to(self.device)
