"""A figure of what a value network expects of captions, good and bad ones, word by word (Shi et al. 2018)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from captionrl.config import Paper, RewardPhase, ValuesFigure
from captionrl.config.backbones import file_name
from captionrl.datasets.prepared import load_captions
from captionrl.decoding.rollout import sample
from captionrl.device import pick_device
from captionrl.evaluation.trained import open_clips
from captionrl.models.actor_critic import WithValueAndReward
from captionrl.rewards.reward import RewardBatch
from captionrl.rewards.weighted import WeightedReward, reward_of
from captionrl.tables.drawing import BLACK, GREY, MARGIN, SEGMENTS, WIDTH, Sheet, plain
from captionrl.tables.examples import Sources, checkpoint_of, examples_of, frames_of
from captionrl.text.vocabulary import EOS, PAD
from captionrl.training.checkpoint import Metadata, load_checkpoint
from captionrl.training.data import EVALUATION_BATCH, FeatureBatches, pad, with_features
from captionrl.training.learners.captioner import chunks

KINDS = ("its reference", "beam search", "the next one's")
COLOURS = (BLACK, *SEGMENTS[:2])  # words are set in them, too
SHARES = np.linspace(0, 1, 11)  # of a caption's words, at which captions of all lengths are compared
PICTURE, ROW = 1.5, 0.42  # inches: its width, and what a row of slanted words takes
SLANTED: dict[str, Any] = {"ha": "right", "va": "top", "rotation": 30, "rotation_mode": "anchor"}
SLANTED |= {"fontsize": 7.5, "parse_math": False}


@dataclass(frozen=True)
class Valued:
    """A caption of T tokens, </s> included, with what a value network expects of it and what it comes to."""

    words: list[str]
    values: np.ndarray  # [T + 1] of every prefix: before the first word, and after each
    reward: float


@dataclass(frozen=True)
class TrainedPolicy:
    """A run's policy and value network, and its reward, on the test items of a corpus."""

    policy: WithValueAndReward
    metadata: Metadata
    reward: WeightedReward
    clips: FeatureBatches
    items: list[str]

    def evaluate(self, items: list[str], captions: Sequence[str]) -> list[Valued]:
        """A caption of each item, cut where the policy's own would be."""
        vocabulary, most = self.metadata.vocabulary, self.metadata.corpus_settings.max_words + 1
        tokens = pad([[*vocabulary.encode(caption.split()), EOS][:most] for caption in captions])
        return self._value(items, tokens.to(self.clips.device))

    def sample(self) -> list[Valued]:
        """A caption of every item, sampled from the policy with the checkpoint's own seed."""
        found, most, device = [], self.metadata.corpus_settings.max_words + 1, self.clips.device
        with torch.inference_mode(), torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(self.metadata.seed)
            for items in chunks(self.items, EVALUATION_BATCH):
                rollout = sample(self.policy, self.policy.encode(self.clips.batch(items)), most)
                found += self._value(items, rollout.tokens)
        return found

    @torch.inference_mode()
    def _value(self, items: list[str], tokens: Tensor) -> list[Valued]:
        features, lengths = self.clips.batch(items), (tokens != PAD).sum(1)
        batch = RewardBatch(tokens, lengths, items, features, self.metadata.vocabulary)
        rewards = self.reward.score(batch).total
        values = self.policy.value(features, tokens).cpu().numpy()
        words = [[self.metadata.words[token] for token in row if token != PAD] for row in tokens.tolist()]
        return [
            Valued(caption, row[: len(caption) + 1], reward)
            for caption, row, reward in zip(words, values, rewards.tolist(), strict=True)
        ]


def draw_values(paper: Paper, figure: ValuesFigure, sources: Sources) -> Sheet:
    """For every example its picture and the values of three captions; then those of sampled captions of all items."""
    trained = _trained(paper, figure, sources)
    sheet, earned = Sheet(), reward_name(trained.reward.weights)
    what = (
        "Value before the first word of three captions and after each: the picture's first reference, what beam search "
        f"writes, the next picture's first reference. Rings: what whole captions earn ({earned})."
    )
    y = sheet.title(f"{figure.title}, {figure.corpus}", what)
    examples = examples_of(paper, figure.corpus, [figure.run], figure.items, sources)
    groups: list[list[Valued]] = []
    for place, example in enumerate(examples):
        (own,), other = example.found[figure.run], examples[(place + 1) % len(examples)]
        texts = [example.references[0], " ".join(own.words), other.references[0]]
        groups.append(trained.evaluate([example.item.id] * len(texts), texts))
    reached = np.concatenate([[*caption.values, caption.reward] for captions in groups for caption in captions])
    limits = float(reached.min()), float(reached.max())
    for example, captions in zip(examples, groups, strict=True):
        y = sheet.heading(example.item.id, y + 0.15, BLACK)
        frames = frames_of(example.item, paper, figure.corpus, [0], sources)
        bottom = sheet.picture(frames[0], MARGIN, y + 0.05, PICTURE) if frames else y
        y = max(bottom, _word_plot(sheet, captions, limits, MARGIN + PICTURE + 0.65, y + 0.05))
    return _share_plot(sheet, trained.sample(), y + 0.2)


def reward_name(weights: dict[str, float]) -> str:
    """What a phase rewards, in words."""
    words = {"embedding": "cosine of picture and caption"}
    parts = [(weight, words.get(name, name)) for name, weight in weights.items() if weight]
    return " + ".join(what if len(parts) == weight == 1 else f"{weight:g} {what}" for weight, what in parts)


def thirds(captions: Sequence[Valued]) -> tuple[list[Valued], list[Valued]]:
    """The captions with the highest rewards, and those with the lowest: a third of all each."""
    ranked = sorted(captions, key=lambda caption: caption.reward)
    third = max(1, len(ranked) // 3)
    return ranked[-third:], ranked[:third]


def at_shares(captions: Sequence[Valued]) -> np.ndarray:
    """The values [N, 11] of N captions at SHARES of their words; between two words on the line between their values."""
    places = (np.linspace(0, 1, len(caption.values)) for caption in captions)
    return np.stack([np.interp(SHARES, x, caption.values) for x, caption in zip(places, captions, strict=True)])


def _trained(paper: Paper, figure: ValuesFigure, sources: Sources) -> TrainedPolicy:
    path = checkpoint_of(paper, figure.corpus, figure.run, sources)
    policy, metadata = load_checkpoint(path)
    phase = paper.phase_of(metadata.phase, figure.corpus)
    assert isinstance(policy, WithValueAndReward)
    assert isinstance(phase, RewardPhase)
    home, where = sources.work / figure.corpus, pick_device(sources.device)
    clips = open_clips(path, metadata, home / "features" / f"{file_name(metadata.backbone)}.h5", where)
    prepared = load_captions(home / f"captions{paper.corpora[figure.corpus].variant}")
    captions = with_features(prepared, clips.store, "test")
    reward = reward_of(phase, policy.to(where), captions, metadata.vocabulary, "test", clips.store.attributes)
    return TrainedPolicy(policy, metadata, reward, clips, [item.id for item in captions.items["test"]])


def _word_plot(sheet: Sheet, captions: Sequence[Valued], limits: tuple[float, float], left: float, top: float) -> float:
    """A line a caption over its words, which stand below, a row a caption, each under its point."""
    longest = max(len(caption.words) for caption in captions)
    height, right = 1.5, 0.15

    def draw(axes: Axes) -> None:
        for caption, colour in zip(captions, COLOURS, strict=True):
            axes.plot(caption.values, color=colour, linewidth=1.4, marker="o", markersize=2.5)
            axes.plot(len(caption.words), caption.reward, "o", color=colour, markersize=6, markerfacecolor="none")
        for row, (caption, colour) in enumerate(zip(captions, COLOURS, strict=True)):
            for place, word in enumerate(caption.words, start=1):
                depth = -(0.1 + ROW * row) / height  # of the axes' height
                axes.text(place, depth, word, color=colour, transform=axes.get_xaxis_transform(), **SLANTED)
        _plain_axes(axes)
        axes.set_xlim(-0.3, longest + 0.5)
        margin = 0.06 * (limits[1] - limits[0])
        axes.set_ylim(limits[0] - margin, limits[1] + margin)
        axes.set_xticks(range(longest + 1), [])

    bottom = sheet.plot(draw, left, top, WIDTH - left - MARGIN - right, height)
    for row, (name, colour) in enumerate(zip(KINDS, COLOURS, strict=True)):
        sheet.text(plain(name, colour), MARGIN, bottom + 0.1 + ROW * row, PICTURE, 8, "bold")
    return sheet.reach(bottom + 0.1 + ROW * len(captions))


def _share_plot(sheet: Sheet, captions: Sequence[Valued], top: float) -> Sheet:
    """The mean over captions and their middle half, of the best third of them and of the worst."""
    best, worst = thirds(captions)

    def draw(axes: Axes) -> None:
        for name, group, colour in (("best third", best, COLOURS[1]), ("worst third", worst, COLOURS[2])):
            values, shares = at_shares(group), 100 * SHARES
            axes.fill_between(shares, *np.quantile(values, [0.25, 0.75], axis=0), color=colour, alpha=0.18, lw=0)
            axes.plot(shares, values.mean(0), color=colour, linewidth=1.6, label=name)
            reward = float(np.mean([caption.reward for caption in group]))
            axes.plot(100, reward, "o", color=colour, markersize=6, markerfacecolor="none", clip_on=False)
        _plain_axes(axes)
        axes.set_xlim(0, 100)
        axes.set_xlabel("words so far, % of the caption", fontsize=9)
        axes.legend(loc="lower left", fontsize=9, frameon=False, bbox_to_anchor=(0, 1), borderaxespad=0.2, ncols=2)

    what = (
        f"A caption sampled from the policy for each of the {len(captions):,} test items: the third of them that earns "
        "most, and the third that earns least. Mean value and the captions' middle half; rings: the mean they earn."
    )
    y = sheet.text(plain(what, GREY), MARGIN, top, WIDTH - 2 * MARGIN)
    y = sheet.plot(draw, MARGIN + 0.55, y + 0.35, WIDTH - 2 * MARGIN - 0.7, 2.4)
    sheet.reach(y + 0.4)  # the axis' numbers and name
    return sheet


def _plain_axes(axes: Axes) -> None:
    axes.set_ylabel("value", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, color=GREY, labelcolor=BLACK)
    axes.yaxis.set_major_locator(MaxNLocator(4))
