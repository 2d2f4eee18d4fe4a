"""What the benches work on: captions of a made-up language, and a captioner that ends them on request."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import plain
import torch
from torch import Tensor

from captionrl.config import load_paper
from captionrl.models import Features, Step
from captionrl.models.attention import AttentionCaptioner, Memory
from captionrl.models.policy import LSTMState
from captionrl.text.vocabulary import EOS, PAD, SPECIALS

WORDS = 10_000
REFERENCES = 20
VOCABULARY = [*SPECIALS, *(f"w{number}" for number in range(WORDS))]
# Of a thousand of MSR-VTT's 130,260 training captions so many have 1, 2, 3, … words; the longest are cut to 29.
COUNTS = [0, 0, 4, 60, 99, 124, 113, 106, 103, 92, 72, 53, 41, 31, 24, 18, 13, 10, 8, 7, 5, 4, 3, 2, 2, 2, 1, 1, 3]
LENGTHS = torch.tensor([length for length, count in enumerate(COUNTS, 1) for _ in range(count)])
GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")


class Text:
    """Captions of a language whose words are distributed as Zipf says, and in which captions of an item are alike."""

    def __init__(self, seed: int = 1) -> None:
        self.random = np.random.default_rng(seed)
        share = 1 / np.arange(1, WORDS + 1)
        self.share = share / share.sum()

    def words(self, number: int) -> list[str]:
        return [f"w{word}" for word in self.random.choice(WORDS, number, p=self.share)]

    def caption(self, others: list[list[str]], length: int) -> list[str]:
        """Pieces of three to six words, half of them from other captions of the item."""
        caption: list[str] = []
        while len(caption) < length:
            piece = int(self.random.integers(3, 7))
            if others and self.random.random() < 0.5:
                other = others[self.random.integers(len(others))]
                start = self.random.integers(max(1, len(other) - piece))
                caption += other[start : start + piece]
            else:
                caption += self.words(piece)
        return caption[:length]

    def item(self) -> list[list[str]]:
        references: list[list[str]] = []
        for length in self.random.integers(5, 21, REFERENCES):
            references.append(self.caption(references, int(length)))
        return references


@dataclass(frozen=True)
class PacedState(LSTMState):
    left: Tensor  # [B] words until </s>


class Paced(AttentionCaptioner):
    """The attention captioner of papers/hrl, untrained; it writes captions of the lengths `ends` [B]."""

    ends: Tensor

    def start(self, memory: Memory) -> PacedState:  # type: ignore[override]
        state = super().start(memory)
        return PacedState(state.hidden, state.cell, self.ends)

    def advance(self, embedded: Tensor, state: PacedState, memory: Memory):  # type: ignore[override,no-untyped-def]
        extras, following = super().advance(embedded, state, memory)
        return extras, PacedState(following.hidden, following.cell, state.left - 1)

    def step(self, tokens: Tensor, state: PacedState, memory: Memory) -> Step:  # type: ignore[override]
        logits, following, extras = super().step(tokens, state, memory)
        return Step(plain.pace(logits, state.left), following, extras)


@dataclass(frozen=True)
class Batch:
    """A captioner of a scale, and a batch of clips and captions for it."""

    policy: Paced
    features: Features  # [B, 50, 2048], at the scale "mini" [B, 5, 32]
    ends: Tensor  # [B] words a caption
    tokens: Tensor  # [B, T] captions of these lengths
    references: dict[str, list[list[str]]]  # of each clip

    @classmethod
    def make(cls, scale: str, size: int, length: int | None = None) -> "Batch":
        """Captions of MSR-VTT's lengths, or all of `length` words."""
        torch.manual_seed(1)
        paper = load_paper(Path(__file__).parents[1] / "papers/hrl", scale)
        corpus = "msrvtt" if scale == "paper" else "msrvtt-mini"
        frames, width = (50, 2048) if scale == "paper" else (5, 32)
        policy = Paced(width, len(VOCABULARY), paper.sizes_of("xe-baseline", corpus)).to(DEVICE)
        features = Features(torch.rand(size, frames, width), torch.ones(size, frames, dtype=torch.bool))
        ends = LENGTHS[torch.randint(len(LENGTHS), (size,))] if length is None else torch.full((size,), length)
        policy.ends = ends.to(DEVICE)
        tokens = torch.randint(len(SPECIALS), len(VOCABULARY), (size, int(ends.max()) + 1))
        position = torch.arange(tokens.shape[1])
        tokens = tokens.masked_fill(position == ends.unsqueeze(1), EOS).masked_fill(position > ends.unsqueeze(1), PAD)
        text = Text()
        references = {f"video{number}": text.item() for number in range(size)}
        return cls(policy, features.map(lambda tensor: tensor.to(DEVICE)), policy.ends, tokens.to(DEVICE), references)
