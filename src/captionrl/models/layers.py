"""Layers that the captioners share."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def run_lstm(lstm: nn.LSTM, inputs: Tensor, mask: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """An LSTM over inputs [B, N, D] that never sees padding: outputs [B, N, H], and the state after the last frame.

    Packing makes the backward direction start at each clip's own last frame.
    """
    lengths = mask.sum(1).cpu()
    packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
    outputs, state = lstm(packed)
    return pad_packed_sequence(outputs, batch_first=True, total_length=mask.shape[1])[0], state


class Attention(nn.Module):
    """Additive attention (Bahdanau et al. 2015; HRL eq. 1-3)."""

    def __init__(self, values: int, query: int, width: int) -> None:
        super().__init__()
        self.key = nn.Linear(values, width)  # W_a and b_a of HRL eq. 3
        self.query = nn.Linear(query, width, bias=False)  # U_a
        self.energy = nn.Linear(width, 1, bias=False)  # w

    def forward(self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Query [B, Q] over keys [B, N, A] = self.key(values), computed once: context [B, V] and weights [B, N]."""
        energy = self.energy(torch.tanh(keys + self.query(query).unsqueeze(1))).squeeze(-1)
        weights = energy.masked_fill(~mask, -torch.inf).softmax(-1)
        return torch.einsum("bn,bnd->bd", weights, values), weights


class Head(nn.Sequential):
    """Linear -> Tanh -> Linear to the vocabulary (HRL supplement C), after dropout."""

    def __init__(self, hidden: int, width: int, vocabulary: int, dropout: float) -> None:
        super().__init__(nn.Dropout(dropout), nn.Linear(hidden, width), nn.Tanh(), nn.Linear(width, vocabulary))


class WordEmbedding(nn.Sequential):
    def __init__(self, vocabulary: int, width: int, dropout: float) -> None:
        super().__init__(nn.Embedding(vocabulary, width), nn.Dropout(dropout))


def initialise(module: nn.Module, bound: float) -> None:
    """Every parameter uniform in [-bound, bound] (HRL supplement D)."""
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -bound, bound)
