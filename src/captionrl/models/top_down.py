"""LSTM with top-down attention (Anderson et al. 2018), as a baseline of Stack-Cap (Gu et al. 2018).

The attention LSTM reads the mean region and directs the attention; the language LSTM writes words from the context.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from captionrl.config import AttendingSizes
from captionrl.models.layers import Attention, WordEmbedding, initialise, mean_frame
from captionrl.models.policy import Extras, Features, Policy, TensorBatch


@dataclass(frozen=True)
class Memory(TensorBatch):
    mean: Tensor  # [B, D]
    values: Tensor  # [B, N, H] the projected regions
    keys: Tensor  # [B, N, A] their attention keys
    mask: Tensor  # [B, N] bool


@dataclass(frozen=True)
class State(TensorBatch):
    looking: Tensor  # [B, H]
    looking_cell: Tensor  # [B, H]
    hidden: Tensor  # [B, H] of the LSTM that writes
    cell: Tensor  # [B, H]


class TopDown(Policy[Memory, State]):
    """An attention LSTM and a language LSTM, and the words by a linear layer of the latter."""

    def __init__(self, features: int, vocabulary: int, sizes: AttendingSizes) -> None:
        super().__init__()
        width = sizes.decoder
        self.embedding = WordEmbedding(vocabulary, sizes.embedding, sizes.dropout)
        self.project = nn.Linear(features, width)
        self.attention = Attention(width, width, sizes.attention)
        self.looking = nn.LSTMCell(width + features + sizes.embedding, width)
        self.writing = nn.LSTMCell(2 * width, width)
        self.head = nn.Sequential(nn.Dropout(sizes.dropout), nn.Linear(width, vocabulary))
        initialise(self, sizes.init)

    def encode(self, features: Features) -> Memory:
        values = self.project(features.frames)
        return Memory(mean_frame(features.frames, features.mask), values, self.attention.key(values), features.mask)

    def start(self, memory: Memory) -> State:
        zero = memory.mean.new_zeros(len(memory.mean), self.writing.hidden_size)
        return State(zero, zero, zero, zero)

    def advance(self, embedded: Tensor, state: State, memory: Memory) -> tuple[Extras, State]:
        seen = torch.cat([state.hidden, memory.mean, embedded], 1)
        looking, looking_cell = self.looking(seen, (state.looking, state.looking_cell))
        context, weights = self.attention(looking, memory.keys, memory.values, memory.mask)
        hidden, cell = self.writing(torch.cat([context, looking], 1), (state.hidden, state.cell))
        return Extras(hidden, weights), State(looking, looking_cell, hidden, cell)
