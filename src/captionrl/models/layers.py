"""Layers that the captioners share."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def run_lstm(lstm: nn.LSTM, inputs: Tensor, mask: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """An LSTM over inputs [B, N, D] that never sees padding: outputs [B, N, H], and the state after the last frame.

    mask [B, N] bool is True where there is a frame.
    """
    lengths = mask.sum(1).cpu()
    packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
    outputs, state = lstm(packed)
    return pad_packed_sequence(outputs, batch_first=True, total_length=mask.shape[1])[0], state


def lstm_step(lstm: nn.LSTM, inputs: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """One step of a one-layer LSTM: inputs [B, D] -> hidden and cell [B, H]."""
    hidden, cell = torch.lstm_cell(inputs, (hidden, cell), *lstm.all_weights[0])
    return hidden, cell


class BiLSTM(nn.Module):
    """A bidirectional LSTM whose backward direction begins at each clip's own last frame.

    Two plain LSTMs, the second on each clip turned round: twice as fast on a CPU as one over packed sequences. As
    padding only ever follows the frames, neither direction reads it before a frame.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.forward_lstm = nn.LSTM(inputs, width, batch_first=True)
        self.backward_lstm = nn.LSTM(inputs, width, batch_first=True)

    def forward(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Inputs [B, N, D] -> [B, N, 2 * width]; zero at padding."""
        ahead, _ = self.forward_lstm(inputs)
        behind, _ = self.backward_lstm(reverse_valid(inputs, mask))
        outputs = torch.cat([ahead, reverse_valid(behind, mask)], -1)
        return outputs.masked_fill(~mask.unsqueeze(-1), 0)


def reverse_valid(frames: Tensor, mask: Tensor) -> Tensor:
    """Each clip's frames [B, N, D] in reverse order, its padding left where it is."""
    position = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    order = torch.where(mask, mask.sum(1, keepdim=True) - 1 - position, position)
    return frames.gather(1, order.unsqueeze(-1).expand_as(frames))


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
    """Linear -> Tanh -> Linear to the vocabulary, after dropout (HRL eq. 7, supplement C)."""

    def __init__(self, hidden: int, width: int, vocabulary: int, dropout: float) -> None:
        super().__init__(nn.Dropout(dropout), nn.Linear(hidden, width), nn.Tanh(), nn.Linear(width, vocabulary))


def mean_frame(frames: Tensor, mask: Tensor) -> Tensor:
    """The mean [B, D] over those of the frames (or regions) [B, N, D] that are there."""
    return frames.masked_fill(~mask.unsqueeze(-1), 0).sum(1) / mask.sum(1, keepdim=True)


class WordEmbedding(nn.Sequential):
    """Tokens [...] -> [..., width], with dropout."""

    def __init__(self, vocabulary: int, width: int, dropout: float) -> None:
        super().__init__(nn.Embedding(vocabulary, width), nn.Dropout(dropout))


class LinearBaseline(nn.Module):
    """b_t: a linear regressor on the detached state that word t, or a goal, is computed from (HRL section 3.3.1)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.regressor = nn.Linear(hidden, 1)
        nn.init.zeros_(self.regressor.weight)
        nn.init.zeros_(self.regressor.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """The expected return [B, T] as predicted from states [B, T, H]."""
        return self.regressor(hidden.detach()).squeeze(-1)


def initialise(module: nn.Module, bound: float) -> None:
    """Every parameter uniform in [-bound, bound] (HRL supplement D)."""
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -bound, bound)
