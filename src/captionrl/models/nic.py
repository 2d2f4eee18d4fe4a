"""Show and Tell (Vinyals et al. 2015): the picture is an LSTM's first word. Baselines of Stack-Cap: 1 and 3 layers."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from captionrl.config import Sizes
from captionrl.models.layers import WordEmbedding, initialise, mean_frame
from captionrl.models.policy import Extras, Features, Policy, Rows


@dataclass(frozen=True)
class Memory(Rows):
    picture: Tensor  # [B, E] the mean frame, as wide as a word


@dataclass(frozen=True)
class State(Rows):
    hidden: Tensor  # [B, L, H] of every layer
    cell: Tensor  # [B, L, H]


class NIC(Policy):
    layers = 1

    def __init__(self, features: int, vocabulary: int, sizes: Sizes) -> None:
        super().__init__()
        self.width = width = sizes.decoder
        self.project = nn.Linear(features, sizes.embedding)
        self.embedding = WordEmbedding(vocabulary, sizes.embedding, sizes.dropout)
        inputs = [sizes.embedding, *[width] * (self.layers - 1)]
        self.cells = nn.ModuleList(nn.LSTMCell(size, width) for size in inputs)
        self.head = nn.Sequential(nn.Dropout(sizes.dropout), nn.Linear(width, vocabulary))
        initialise(self, sizes.init)

    def encode(self, features: Features) -> Memory:
        return Memory(self.project(mean_frame(features.frames, features.mask)))

    def start(self, memory: Memory) -> State:  # type: ignore[override]
        zero = memory.picture.new_zeros(len(memory.picture), self.layers, self.width)
        return self.advance(memory.picture, State(zero, zero), memory)[1]

    def advance(self, embedded: Tensor, state: State, memory: Memory) -> tuple[Extras, State]:
        hiddens: list[Tensor] = []
        cells: list[Tensor] = []
        for layer, cell in enumerate(self.cells):
            inputs = hiddens[-1] if layer else embedded
            hidden, kept = cell(inputs, (state.hidden[:, layer], state.cell[:, layer]))
            hiddens.append(hidden)
            cells.append(kept)
        return Extras(hiddens[-1]), State(torch.stack(hiddens, 1), torch.stack(cells, 1))


class NIC3(NIC):
    layers = 3
