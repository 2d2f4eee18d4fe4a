"""Mean-Pooling (Venugopalan et al. 2015, NAACL): the mean frame at every step of a two-layer LSTM."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from captionrl.config import ProjectionSizes
from captionrl.models.layers import Head, WordEmbedding, initialise, mean_frame
from captionrl.models.policy import Extras, Features, Policy, TensorBatch


@dataclass(frozen=True)
class Memory(TensorBatch):
    mean: Tensor  # [B, P]


@dataclass(frozen=True)
class State(TensorBatch):
    hidden1: Tensor  # [B, H]
    cell1: Tensor
    hidden2: Tensor
    cell2: Tensor


class MeanPooling(Policy):
    """Two LSTMs, one above the other, the lower of which reads the mean frame beside each word."""

    def __init__(self, features: int, vocabulary: int, sizes: ProjectionSizes) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(features, sizes.projection), nn.Dropout(sizes.dropout))
        self.embedding = WordEmbedding(vocabulary, sizes.embedding, sizes.dropout)
        self.lower = nn.LSTMCell(sizes.projection + sizes.embedding, sizes.decoder)
        self.upper = nn.LSTMCell(sizes.decoder, sizes.decoder)
        self.head = Head(sizes.decoder, sizes.embedding, vocabulary, sizes.dropout)
        initialise(self, sizes.init)

    def encode(self, features: Features) -> Memory:
        return Memory(self.project(mean_frame(features.frames, features.mask)))

    def start(self, memory: Memory) -> State:
        zero = memory.mean.new_zeros(len(memory.mean), self.lower.hidden_size)
        return State(zero, zero, zero, zero)

    def advance(self, embedded: Tensor, state: State, memory: Memory) -> tuple[Extras, State]:
        hidden1, cell1 = self.lower(torch.cat([memory.mean, embedded], -1), (state.hidden1, state.cell1))
        hidden2, cell2 = self.upper(hidden1, (state.hidden2, state.cell2))
        return Extras(hidden2), State(hidden1, cell1, hidden2, cell2)
