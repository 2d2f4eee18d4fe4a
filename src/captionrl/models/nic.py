"""Show and Tell (Vinyals et al. 2015): the picture is an LSTM's first word. Baselines of Stack-Cap: 1 and 3 layers."""

from dataclasses import dataclass

from torch import Tensor, nn

from captionrl.config import DecoderSizes
from captionrl.models.layers import WordEmbedding, initialise, mean_frame
from captionrl.models.policy import Extras, Features, Policy, TensorBatch


@dataclass(frozen=True)
class Memory(TensorBatch):
    picture: Tensor  # [B, E] the mean frame, as wide as a word


@dataclass(frozen=True)
class State(TensorBatch):
    hidden: tuple[Tensor, ...]  # [B, H] of every layer
    cell: tuple[Tensor, ...]  # [B, H]


class NIC(Policy):
    layers = 1

    def __init__(self, features: int, vocabulary: int, sizes: DecoderSizes) -> None:
        super().__init__()
        self.width = width = sizes.decoder
        self.project = nn.Linear(features, sizes.embedding)
        self.embedding = WordEmbedding(vocabulary, sizes.embedding, sizes.dropout)
        inputs = [sizes.embedding, *[width] * (self.layers - 1)]
        self.cells = nn.ModuleList(nn.LSTMCell(size, width) for size in inputs)
        self.head = nn.Sequential(nn.Dropout(sizes.dropout), nn.Linear(width, vocabulary))
        initialise(self, sizes.init)
        for cell in self.cells:  # as in its authors' release: at first nothing is forgotten
            nn.init.ones_(cell.bias_hh[self.width : 2 * self.width])  # type: ignore[index]

    def encode(self, features: Features) -> Memory:
        return Memory(self.project(mean_frame(features.frames, features.mask)))

    def start(self, memory: Memory) -> State:
        zero = (memory.picture.new_zeros(len(memory.picture), self.width),) * self.layers
        return self.advance(memory.picture, State(zero, zero), memory)[1]

    def advance(self, embedded: Tensor, state: State, memory: Memory) -> tuple[Extras, State]:
        hidden, layers = embedded, []
        for layer, *before in zip(self.cells, state.hidden, state.cell, strict=True):
            hidden, cell = layer(hidden, before)
            layers.append((hidden, cell))
        return Extras(hidden), State(*zip(*layers, strict=True))


class NIC3(NIC):
    """The same with three LSTMs, one above the other: Stack-Cap's "LSTM 3 layers"."""

    layers = 3
