"""Attention captioners: the encoder-decoder of HRL's XE- and RL-baseline, and soft attention of videos and pictures.

Yao et al. 2015 and Xu et al. 2015.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from captionrl.config import EncoderSizes, SoftAttentionSizes
from captionrl.models.layers import Attention, BiLSTM, Head, WordEmbedding, initialise, mean_frame
from captionrl.models.policy import Extras, Features, LSTMState, Policy, TensorBatch


@dataclass(frozen=True)
class Memory(TensorBatch):
    values: Tensor  # [B, N, E] encoded frames
    keys: Tensor  # [B, N, A] their attention keys, computed once a caption
    mask: Tensor  # [B, N] bool


class AttentionCaptioner(Policy[Memory, LSTMState]):
    """Bi-LSTM encoder, attention, LSTM decoder (HRL supplement C, the worker without manager and goal)."""

    def __init__(self, features: int, vocabulary: int, sizes: EncoderSizes) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(features, sizes.projection), nn.Dropout(sizes.dropout))
        self.encoder = BiLSTM(sizes.projection, sizes.encoder)
        self._decoder(2 * sizes.encoder, vocabulary, sizes)
        initialise(self, sizes.init)

    def _decoder(self, values: int, vocabulary: int, sizes: SoftAttentionSizes) -> None:
        self.attention = Attention(values, sizes.decoder, sizes.attention)
        self.embedding = WordEmbedding(vocabulary, sizes.embedding, sizes.dropout)
        self.cell = nn.LSTMCell(values + sizes.embedding, sizes.decoder)
        self.head = Head(sizes.decoder, sizes.embedding, vocabulary, sizes.dropout)

    def encode(self, features: Features) -> Memory:
        values = self.encoder(self.project(features.frames), features.mask)
        return Memory(values, self.attention.key(values), features.mask)

    def start(self, memory: Memory) -> LSTMState:
        zero = memory.values.new_zeros(len(memory.values), self.cell.hidden_size)
        return LSTMState(zero, zero)

    def advance(self, embedded: Tensor, state: LSTMState, memory: Memory) -> tuple[Extras, LSTMState]:
        context, weights = self.attention(state.hidden, memory.keys, memory.values, memory.mask)  # HRL eq. 1-3
        hidden, cell = self.cell(torch.cat([context, embedded], -1), (state.hidden, state.cell))  # eq. 6, no goal
        return Extras(hidden, weights), LSTMState(hidden, cell)


class SoftAttention(AttentionCaptioner):
    """Attention straight over the frames, with no encoder; the word is read off state, context and last word."""

    def __init__(self, features: int, vocabulary: int, sizes: SoftAttentionSizes) -> None:
        Policy.__init__(self)
        self.project = nn.Sequential(nn.Linear(features, sizes.projection), nn.Dropout(sizes.dropout))
        self._decoder(sizes.projection, vocabulary, sizes)
        read = sizes.decoder + sizes.projection + sizes.embedding
        self.head = Head(read, sizes.embedding, vocabulary, sizes.dropout)
        initialise(self, sizes.init)

    def encode(self, features: Features) -> Memory:
        values = self.project(features.frames)
        return Memory(values, self.attention.key(values), features.mask)

    def advance(self, embedded: Tensor, state: LSTMState, memory: Memory) -> tuple[Extras, LSTMState]:
        context, weights = self.attention(state.hidden, memory.keys, memory.values, memory.mask)
        inputs = torch.cat([context, embedded], -1)
        hidden, cell = self.cell(inputs, (state.hidden, state.cell))
        return Extras(torch.cat([hidden, inputs], -1), weights), LSTMState(hidden, cell)  # Yao et al. 2015, section 3.1


class ShowAttendTell(SoftAttention):
    """The same, begun at the mean region: a layer each for hidden state and cell (Xu et al. 2015, section 3.1.2)."""

    def __init__(self, features: int, vocabulary: int, sizes: SoftAttentionSizes) -> None:
        super().__init__(features, vocabulary, sizes)
        self.first_hidden = nn.Sequential(nn.Linear(sizes.projection, sizes.decoder), nn.Tanh())
        self.first_cell = nn.Sequential(nn.Linear(sizes.projection, sizes.decoder), nn.Tanh())
        for layer in (self.first_hidden, self.first_cell):
            initialise(layer, sizes.init)

    def start(self, memory: Memory) -> LSTMState:
        mean = mean_frame(memory.values, memory.mask)
        return LSTMState(self.first_hidden(mean), self.first_cell(mean))
