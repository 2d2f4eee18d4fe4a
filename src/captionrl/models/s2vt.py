"""S2VT (Venugopalan et al. 2015, ICCV): two LSTMs read the frames, and the same two then write the words."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from captionrl.config import ProjectionSizes
from captionrl.models.layers import Head, WordEmbedding, initialise, lstm_step, run_lstm
from captionrl.models.policy import Extras, Features, Policy, TensorBatch


@dataclass(frozen=True)
class State(TensorBatch):
    """Both LSTMs' states. After the last frame this is all that S2VT knows of the clip, so it is the memory too."""

    hidden1: Tensor  # [B, H]
    cell1: Tensor
    hidden2: Tensor
    cell2: Tensor


class S2VT(Policy):
    """Both LSTMs are torch's (Li and Gong 2019, eq. 1)."""

    def __init__(self, features: int, vocabulary: int, sizes: ProjectionSizes) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(features, sizes.projection), nn.Dropout(sizes.dropout))
        self.embedding = WordEmbedding(vocabulary, sizes.embedding, sizes.dropout)
        self.visual = nn.LSTM(sizes.projection, sizes.decoder, batch_first=True)
        self.seen: nn.Module = nn.Identity()  # what the language LSTM gets of the visual one's outputs
        self.language = nn.LSTM(sizes.decoder + sizes.embedding, sizes.decoder, batch_first=True)
        self.head = Head(sizes.decoder, sizes.embedding, vocabulary, sizes.dropout)
        initialise(self, sizes.init)

    def encode(self, features: Features) -> State:
        """Reading: the language LSTM gets no word yet, a zero where its embedding will be."""
        outputs, (hidden1, cell1) = run_lstm(self.visual, self.project(features.frames), features.mask)
        seen = self.seen(outputs)
        wordless = seen.new_zeros(*seen.shape[:2], self.language.input_size - seen.shape[-1])
        _, (hidden2, cell2) = run_lstm(self.language, torch.cat([seen, wordless], -1), features.mask)
        return State(hidden1[0], cell1[0], hidden2[0], cell2[0])

    def start(self, memory: State) -> State:
        return memory

    def advance(self, embedded: Tensor, state: State, memory: State) -> tuple[Extras, State]:
        """Writing: the visual LSTM gets no frame any more, a zero where the frame was."""
        frameless = embedded.new_zeros(len(embedded), self.visual.input_size)
        hidden1, cell1 = lstm_step(self.visual, frameless, state.hidden1, state.cell1)
        hidden2, cell2 = lstm_step(
            self.language, torch.cat([self.seen(hidden1), embedded], -1), state.hidden2, state.cell2
        )
        return Extras(hidden2), State(hidden1, cell1, hidden2, cell2)
