"""The decoders of sequence-level exploration (Chen and Jin 2020, section 4.3): the picture is the LSTM's first state.

The paper's "encoder" is a mean of CNN features, after which one linear layer brings them to the LSTM's width. So that
layer goes straight to `sizes.decoder`. What the words are read off with, the paper leaves open: one linear layer after
dropout, as in Show and Tell (Vinyals et al. 2015), which it builds on.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from captionrl.config import AttendingSizes, DecoderSizes
from captionrl.models.layers import Attention, WordEmbedding, initialise, mean_frame
from captionrl.models.policy import Extras, Features, LSTMState, Policy, TensorBatch


@dataclass(frozen=True)
class Memory(TensorBatch):
    mean: Tensor  # [B, H] the mean frame or region, projected


@dataclass(frozen=True)
class AttendedMemory(Memory):
    values: Tensor  # [B, N, H] the projected frames or regions
    keys: Tensor  # [B, N, A] their attention keys, computed once a caption
    mask: Tensor  # [B, N] bool


class Pooled(Policy):
    """The mean feature, projected, is the LSTM's state before the first word; after that it sees words alone.

    The paper says that "the hidden state is initialized"; here the cell is too. With a cell of zero the picture has
    only one pass through the gates to reach it, and the captioner learns little from it: docs/sle.md.
    """

    def __init__(self, features: int, vocabulary: int, sizes: DecoderSizes) -> None:
        super().__init__()
        self._layers(features, sizes.embedding, vocabulary, sizes)
        initialise(self, sizes.init)

    def _layers(self, features: int, inputs: int, vocabulary: int, sizes: DecoderSizes) -> None:
        self.project = nn.Sequential(nn.Linear(features, sizes.decoder), nn.Dropout(sizes.dropout))
        self.embedding = WordEmbedding(vocabulary, sizes.embedding, sizes.dropout)
        self.cell = nn.LSTMCell(inputs, sizes.decoder)
        self.head = nn.Sequential(nn.Dropout(sizes.dropout), nn.Linear(sizes.decoder, vocabulary))

    def encode(self, features: Features) -> Memory:
        return Memory(self.project(mean_frame(features.frames, features.mask)))

    def start(self, memory: Memory) -> LSTMState:
        return LSTMState(memory.mean, memory.mean)

    def advance(self, embedded: Tensor, state: LSTMState, memory: Any) -> tuple[Extras, LSTMState]:
        hidden, cell = self.cell(embedded, (state.hidden, state.cell))
        return Extras(hidden), LSTMState(hidden, cell)


class PooledAttention(Pooled):
    """The same first state; at each step, additive attention over the regions as well (the paper's * rows).

    The paper names no kind of attention. Values are the regions after the same linear layer, so that the first state
    is their mean, and the context enters the LSTM beside the word.
    """

    def __init__(self, features: int, vocabulary: int, sizes: AttendingSizes) -> None:
        Policy.__init__(self)
        self._layers(features, sizes.decoder + sizes.embedding, vocabulary, sizes)
        self.attention = Attention(sizes.decoder, sizes.decoder, sizes.attention)
        initialise(self, sizes.init)

    def encode(self, features: Features) -> AttendedMemory:
        values = self.project(features.frames)
        return AttendedMemory(mean_frame(values, features.mask), values, self.attention.key(values), features.mask)

    def advance(self, embedded: Tensor, state: LSTMState, memory: AttendedMemory) -> tuple[Extras, LSTMState]:
        context, weights = self.attention(state.hidden, memory.keys, memory.values, memory.mask)
        hidden, cell = self.cell(torch.cat([context, embedded], -1), (state.hidden, state.cell))
        return Extras(hidden, weights), LSTMState(hidden, cell)
