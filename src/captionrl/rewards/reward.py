"""What a reward is made of, what it is given, and what it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # as in words.py
    from torch import Tensor, nn

    from captionrl.datasets.prepared import Captions
    from captionrl.features.batch import Features
    from captionrl.rewards.words import SentenceMetric
    from captionrl.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class RewardBatch:
    """B captions to be rewarded, and the clips that they are about."""

    tokens: Tensor  # [B, T] int64, </s> included, PAD beyond each
    lengths: Tensor  # [B] tokens a caption, </s> included
    items: Sequence[str]  # [B] the id of each one's clip
    clips: Features  # of each caption's clip, or, with `rows`, of each clip once
    vocabulary: Vocabulary
    rows: Tensor | None = None  # [B] each caption's clip among `clips`

    @cached_property
    def features(self) -> Features:
        """The features of each caption's clip: frames [B, N, D], mask [B, N]."""
        return self.clips if self.rows is None else self.clips.select(self.rows)

    @cached_property
    def texts(self) -> list[str]:
        """The captions [B], PTB tokens with a space between them, without </s>."""
        rows = zip(self.tokens.tolist(), self.lengths.tolist(), strict=True)
        return [" ".join(self.vocabulary.decode(row[:length])) for row, length in rows]


@dataclass(frozen=True)
class RewardData:
    """What a reward is made from, once a training."""

    captions: Captions  # of the corpus, all splits
    split: str  # whose items are captioned
    vocabulary: Vocabulary
    policy: nn.Module  # the captioner
    features: Mapping[str, Any]  # what the store of the batches' features says of them: backbone, weights_sha256, ...
    eos: bool  # whether </s> counts as a word
    skip: frozenset[str]  # words that do not count, as a rule punctuation
    clip_weights: Path | None  # for CLIPScore: the weights of the model whose image tower gave the features

    @cached_property
    def references(self) -> Mapping[str, list[list[str]]]:
        """The tokens of each item's captions."""
        return self.references_of(self.split)

    def references_of(self, split: str) -> Mapping[str, list[list[str]]]:
        """The captions of each item of a split, as tokens."""
        return {item.id: self.captions.tokens[item.id] for item in self.captions.items[split]}


class Reward(Protocol):
    """Scores captions. It may have `prefix_scores(batch)` [B, T] too, after every word; without it a caption earns
    nothing before its last word. What stands beyond a caption's end means nothing.
    """

    @property
    def maximum(self) -> float | None:
        """The highest score there is, by which sequence-level exploration divides (SLE eq. 2); None: not known."""

    def score(self, batch: RewardBatch) -> Tensor:
        """The score [B] of each caption."""


class MetricReward:
    """A metric of token ids as a reward."""

    def __init__(self, metric: SentenceMetric, maximum: float) -> None:
        self.metric, self.maximum = metric, maximum

    def score(self, batch: RewardBatch) -> Tensor:
        """The score [B] of each caption."""
        return self.metric.score(batch.tokens, batch.lengths, batch.items)

    def prefix_scores(self, batch: RewardBatch) -> Tensor:
        return self.metric.prefix_scores(batch.tokens, batch.lengths, batch.items)


def prefix_scores(reward: Reward, batch: RewardBatch) -> Tensor:
    """The score [B, T] of each caption after every word; of a reward of whole captions all of it at the last word."""
    if hasattr(reward, "prefix_scores"):
        return reward.prefix_scores(batch)
    import torch

    position = torch.arange(batch.tokens.shape[1], device=batch.tokens.device)
    whole = reward.score(batch).unsqueeze(1)
    return torch.where(position >= batch.lengths.unsqueeze(1) - 1, whole, 0)
