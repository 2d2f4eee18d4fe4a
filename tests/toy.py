"""Toy captioners, small enough that every caption they can write may be enumerated."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from unittest import mock

import torch
from torch import Tensor

from captionrl.config import MODELS, EndToEndSizes, HRLSizes, Sizes, StackCapSizes
from captionrl.datasets.corpus import SPLITS, Item
from captionrl.datasets.prepared import Captions
from captionrl.decoding.rollout import Rollout, greedy, sample
from captionrl.models import Features, Policy, TensorBatch, build_module
from captionrl.models.actor_critic import ActorCritic, WithValueAndReward
from captionrl.models.hrl import HRL
from captionrl.models.s2vt import S2VT
from captionrl.models.stackcap import StackCap
from captionrl.models.top_down import TopDown
from captionrl.rewards.reward import RewardBatch
from captionrl.testing import (
    FEATURE,
    MAX_TOKENS,
    VOCABULARY,
    batch,
    every_caption,
    gradients,
    toy_clips,
    word_log_probs,
)
from captionrl.text.vocabulary import EOS, PAD, Vocabulary
from captionrl.training.data import pad as pad_captions
from captionrl.training.learners.captioner import CaptionLearner

__all__ = ["FEATURE", "MAX_TOKENS", "VOCABULARY", "batch", "every_caption", "gradients", "toy_clips", "word_log_probs"]


class ToySizes(HRLSizes, StackCapSizes, EndToEndSizes):
    """Those of all captioners."""


POLICIES = tuple(model for model in MODELS if model != "boundary-critic")
SIZES = ToySizes(
    projection=7, encoder=5, manager_encoder=4, decoder=8, manager=3, goal=2, boundary_critic=4, critic_input="current",
    attention=6, embedding=9, dropout=0.5, init=1.5,
)  # fmt: skip
SEEDS = range(4, 104)  # the first with which a captioner does what `tells_apart` says


def sizes_for(model: str, given: Mapping[str, object]) -> Sizes:
    """Those of the given sizes that a model has."""
    kind = MODELS[model].sizes
    return kind(**{name: value for name, value in given.items() if name in kind.model_fields})


def toy_policy(model: str, vocabulary: int = VOCABULARY, seed: int | None = None, **sizes: object) -> Policy:
    """Exact (float64, no dropout), and far from uniform: weights are large, and no word is favoured for every clip.

    With the default seed it `tells_apart`, for the default vocabulary and sizes. A head's last layer has a bias.
    """
    torch.manual_seed(seed or seed_of(model))
    policy = build_module(model, FEATURE, vocabulary, sizes_for(model, SIZES.model_dump() | sizes)).double().eval()
    for head in getattr(policy, "heads", [policy.head]):  # of every stage
        head[-1].bias.data.zero_()
    if model == "hrl":  # some captions are cut into segments here, some there, some not at all
        with torch.no_grad():
            policy.boundary_critic.linear.bias -= middle(policy.boundary_critic(every_caption(vocabulary=vocabulary)))
    return policy


@cache
def seed_of(model: str) -> int:
    """The first seed with which a toy `tells_apart`."""
    with torch.random.fork_rng(devices=[]):
        return next(seed for seed in SEEDS if tells_apart(toy_policy(model, seed=seed)))


@torch.no_grad()
def tells_apart(policy: Policy) -> bool:
    """Whether some captions, greedy and sampled ones, end, at different words, and others are cut."""
    memory = policy.encode(batch(toy_clips(*[4, 1, 3] * 20)))
    for how in (greedy, sample):
        torch.manual_seed(0)
        rollout = how(policy, memory, 6)
        ended = (rollout.tokens == EOS).any(1)
        if ended.all() or len(rollout.lengths.unique()) < 3:
            return False
    return True


def middle(values: Tensor) -> Tensor:
    """The middle of the widest gap near the median of the different `values`: no rounding moves one across it."""
    ordered = values.unique()  # sorted; equal beginnings have equal values
    near = ordered[len(ordered) * 2 // 5 : len(ordered) * 3 // 5 + 1]
    widest = near.diff().argmax()
    return near[widest : widest + 2].mean()


class ActorCriticTopDown(WithValueAndReward, TopDown): ...


class ActorCriticS2VT(WithValueAndReward, S2VT): ...


class ActorCriticHRL(WithValueAndReward, HRL): ...


class ActorCriticStackCap(WithValueAndReward, StackCap): ...


ACTOR_CRITICS = {
    "actor-critic": ActorCritic,
    "top-down": ActorCriticTopDown,
    "s2vt": ActorCriticS2VT,
    "hrl": ActorCriticHRL,
    "stack-cap": ActorCriticStackCap,
}


def actor_critic_toy(model: str) -> WithValueAndReward:
    """The toy of this name, with a value network and an embedding."""
    captioner = toy_policy(model)
    policy = ACTOR_CRITICS[model](FEATURE, VOCABULARY, SIZES).double().eval()
    policy.load_state_dict(captioner.state_dict(), strict=False)  # all but the reward_models'
    for layer in policy.value.perceptron[:-1:2]:
        layer.bias.data += 2  # captions for which all units were asleep would have one value
    return policy


def trainable(policy: Policy) -> list[Tensor]:
    """The parameters that learn: all but those of HRL's critic."""
    return [parameter for parameter in policy.parameters() if parameter.requires_grad]


def rewarded(learner: CaptionLearner, captions: Tensor, items: list[str]) -> Tensor:
    """A learner's reward [C] of captions [C, T], PAD beyond each, of these items."""
    clips = learner.clips.batch(items)
    return learner.reward.score(RewardBatch(captions, (captions != PAD).sum(1), items, clips, learner.vocabulary)).total


def true_values(captions: Tensor, probability: Tensor, reward: Tensor) -> Tensor:
    """E[reward | beginning] [C, T + 1] of all beginnings of all captions [C, T]: before the first word, after each."""
    columns = []
    for length in range(captions.shape[1] + 1):
        same = (captions[:, None, :length] == captions[:, :length]).all(-1).to(probability)
        columns.append(same @ (probability * reward) / (same @ probability))
    return torch.stack(columns, 1)


def rollout_of(policy: Policy, memory: TensorBatch, tokens: Tensor) -> Rollout:
    """The rollout that `sample` returns when the words it happens to draw are `tokens` [B, T], PAD beyond </s>."""
    active = [column[column != PAD] for column in tokens.unbind(1)]  # captions leave the batch as they end
    with mock.patch("captionrl.decoding.rollout.draw", side_effect=active):
        return sample(policy, memory, tokens.shape[1])


@dataclass(frozen=True)
class RewardsToy:
    """Four captions of two clips, with what rewards are made from."""

    policy: Policy
    captions: Captions
    vocabulary: Vocabulary
    batch: RewardBatch
    mask: Tensor


def rewards_toy() -> RewardsToy:
    references = {
        "clip0": ["a dog runs on grass .", "the dog is running"],
        "clip1": ["a man plays a guitar", "a man with a guitar ."],
        "clip2": ["a cat sleeps"],
    }
    tokens = {item: [text.split() for text in texts] for item, texts in references.items()}
    vocabulary = Vocabulary.build([text for texts in tokens.values() for text in texts], min_count=1)
    written = ["a dog runs", "a man plays a guitar", "dog", "a guitar ."]
    captions = pad_captions([[*vocabulary.encode(text.split()), EOS] for text in written])
    items = ["clip0", "clip1", "clip0", "clip1"]
    frames = torch.tensor([0.0, 1.0]).view(2, 1, 1).expand(2, 1, FEATURE)
    clips, rows = Features(frames, torch.ones(2, 1, dtype=torch.bool)), torch.tensor([0, 1, 0, 1])
    mask = captions != PAD
    prepared = Captions({split: [Item(item, split, None) for item in references] for split in SPLITS}, {}, tokens)
    batch = RewardBatch(captions, mask.sum(1), items, clips, vocabulary, rows)
    return RewardsToy(toy_policy("pooled", len(vocabulary)).float(), prepared, vocabulary, batch, mask)
