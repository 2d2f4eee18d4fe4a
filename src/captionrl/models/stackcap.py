"""Stack-Cap (Gu et al. 2018): a coarse decoder and fine decoders above it, each of which writes the caption anew.

Equation numbers are the paper's. Stage 0 is the coarse one; the last stage's words are the caption. As eq. 2 hands the
last stage's state back to the first, a word of any stage comes from a step of all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from captionrl.config import StackCapSizes
from captionrl.models.layers import Attention, WordEmbedding, initialise, mean_frame
from captionrl.models.policy import Extras, Features, Policy, Step, TensorBatch


@dataclass(frozen=True)
class Memory(TensorBatch):
    mean: Tensor  # [B, D] f(V)
    values: tuple[Tensor, ...]  # [B, N, H] each fine stage's attention values, computed once a caption
    keys: tuple[Tensor, ...]  # [B, N, A] and its attention keys
    mask: Tensor  # [B, N] bool


@dataclass(frozen=True)
class State(TensorBatch):
    hidden: tuple[Tensor, ...]  # [B, H] of every stage
    cell: tuple[Tensor, ...]  # [B, H]
    stage: Tensor  # [B] int64, whose words a row writes


@dataclass(frozen=True, kw_only=True)
class StageExtras(Extras):
    """`hidden` [B, S * H] has all stages side by side, `attention` is the last stage's."""

    attentions: Tensor  # [B, F, N] of every fine stage


class Part(nn.Module):
    """One stage's hidden state [..., H] out of all side by side [..., S * H]."""

    def __init__(self, stage: int, width: int) -> None:
        super().__init__()
        self.place = slice(stage * width, (stage + 1) * width)

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden[..., self.place]


class StackCap(Policy[Memory, State]):
    """`sizes.stages` LSTMs; each fine one's attention starts from what the stage before it looked at (eq. 5 to 8).

    The stages share word embedding and regions. Each has its own LSTM, words and, a fine one, attention.
    """

    stacked = True

    def __init__(self, features: int, vocabulary: int, sizes: StackCapSizes) -> None:
        super().__init__()
        self.width, self.decoder_stages = sizes.decoder, sizes.stages
        self.feedback_gradients = sizes.feedback_gradients
        fine = range(sizes.stages - 1)
        self.embedding = WordEmbedding(vocabulary, sizes.embedding, sizes.dropout)  # W_e
        self.coarse = nn.LSTMCell(features + self.width + sizes.embedding, self.width)
        self.values = nn.ModuleList(nn.Linear(features, self.width) for _ in fine)  # W_v-alpha and b_v-alpha
        self.attention = nn.ModuleList(Attention(features, self.width, sizes.attention) for _ in fine)
        self.fine = nn.ModuleList(nn.LSTMCell(2 * self.width + sizes.embedding, self.width) for _ in fine)
        *intermediate, self.head = [
            nn.Sequential(Part(stage, self.width), nn.Dropout(sizes.dropout), nn.Linear(self.width, vocabulary))
            for stage in range(sizes.stages)
        ]
        self.intermediate = nn.ModuleList(intermediate)
        initialise(self, sizes.init)

    @property
    def heads(self) -> list[nn.Module]:
        """The words of every stage, from all stages' hidden states [..., S * H]."""
        return [*self.intermediate, self.head]

    def encode(self, features: Features) -> Memory:
        frames, mask = features.frames, features.mask
        values = tuple(layer(frames) for layer in self.values)
        keys = tuple(attention.key(frames) for attention in self.attention)  # type: ignore[operator]
        return Memory(mean_frame(frames, mask), values, keys, mask)

    def start(self, memory: Memory) -> State:
        return self.start_stages(memory, [self.decoder_stages - 1] * len(memory.mean))

    def start_stages(self, memory: Memory, stages: Sequence[int]) -> State:
        """The state before the first word of rows that each write the words of their own stage [B]."""
        zero = (memory.mean.new_zeros(len(memory.mean), self.width),) * self.decoder_stages
        return State(zero, zero, torch.tensor(stages, dtype=torch.int64, device=memory.mean.device))

    def advance(self, embedded: Tensor, state: State, memory: Memory) -> tuple[StageExtras, State]:
        before = list(zip(state.hidden, state.cell, strict=True))
        last = state.hidden[-1] if self.feedback_gradients else state.hidden[-1].detach()
        stages = [self.coarse(torch.cat([memory.mean, last, embedded], 1), before[0])]  # eq. 1, 2
        maps, context = [], torch.zeros_like(state.hidden[0])  # alpha of stage 0 is zero
        for i, (attention, fine) in enumerate(zip(self.attention, self.fine, strict=True)):
            hidden, _ = stages[i]
            query = hidden + context if self.stacked else hidden  # eq. 8
            context, weights = attention(query, memory.keys[i], memory.values[i], memory.mask)  # eq. 5 to 7
            stages.append(fine(torch.cat([context, hidden, embedded], 1), before[i + 1]))  # eq. 3, 4
            maps.append(weights)
        hiddens, cells = zip(*stages, strict=True)
        extras = StageExtras(torch.cat(hiddens, 1), maps[-1], attentions=torch.stack(maps, 1))
        return extras, replace(state, hidden=hiddens, cell=cells)

    def step(self, tokens: Tensor, state: State, memory: Memory) -> Step:
        """As every policy's; the logits [B, V] are those of each row's own stage."""
        extras, state = self.advance(self.embedding(tokens), state, memory)
        counts = torch.bincount(state.stage, minlength=self.decoder_stages).tolist()
        if len(tokens) in counts:
            return Step(self.heads[counts.index(len(tokens))](extras.hidden), state, extras)
        order = state.stage.argsort(stable=True)
        parts = zip(self.heads, extras.hidden[order].split(counts), strict=True)
        logits = torch.cat([head(hidden) for head, hidden in parts if len(hidden)])
        return Step(logits[order.argsort()], state, extras)


class StackCapStar(StackCap):
    """Stack-Cap*: the fine stages' attentions know nothing of each other."""

    stacked = False
