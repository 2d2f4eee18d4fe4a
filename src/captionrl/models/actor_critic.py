"""A policy with a value network and an image-text embedding, its reward model (Shi et al. 2018).

The three share nothing but the picture's feature; a phase trains one or two of them. Equation numbers are
the paper's; where its print is damaged, docs/policy_value.md says how it was read.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from captionrl.config import ProjectionSizes
from captionrl.models.layers import WordEmbedding, lstm_step, mean_frame
from captionrl.models.nic import NIC
from captionrl.models.policy import Features, Policy, TensorBatch
from captionrl.text.vocabulary import PAD


class ImageTextEmbedding(nn.Module):
    """Pictures and captions as directions in one space: linear maps of the feature and of an LSTM's last state."""

    def __init__(self, features: int, vocabulary: int, sizes: ProjectionSizes) -> None:
        super().__init__()
        self.picture = nn.Linear(features, sizes.projection)  # l_m of eq. 5
        self.words = WordEmbedding(vocabulary, sizes.embedding, sizes.dropout)
        self.lstm = nn.LSTM(sizes.embedding, sizes.decoder, batch_first=True)
        self.caption = nn.Linear(sizes.decoder, sizes.projection)

    def pictures(self, features: Features) -> Tensor:
        """Unit vectors [B, J]."""
        return normalize(self.picture(mean_frame(features.frames, features.mask)), dim=-1)

    def captions(self, tokens: Tensor) -> Tensor:
        """Unit vectors [B, J] of captions [B, T], </s> included, PAD beyond; each from the state of its last word."""
        return self._ended(self.read(tokens), tokens)

    def before_and_after_last_word(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors [B, J] of captions as above, read once: from the state of the word before the last one (of the
        first one at the earliest), and from that of the last one.
        """
        hidden = self.read(tokens)
        return self._ended(hidden, tokens, back=1), self._ended(hidden, tokens)

    def _ended(self, hidden: Tensor, tokens: Tensor, back: int = 0) -> Tensor:
        last = ((tokens != PAD).sum(1) - 1 - back).clamp(min=0)
        return self.direction(hidden[torch.arange(len(tokens), device=tokens.device), last])

    def read(self, tokens: Tensor) -> Tensor:
        """The LSTM's states [B, T, H] after each word of captions [B, T]; in float32, as embeddings are."""
        with torch.autocast(tokens.device.type, enabled=False):
            hidden: Tensor = self.lstm(self.words(tokens))[0]
        return hidden

    def direction(self, hidden: Tensor) -> Tensor:
        """Unit vectors [..., J] of what the LSTM has read [..., H]."""
        return normalize(self.caption(hidden), dim=-1)

    def forward(self, features: Features, tokens: Tensor) -> Tensor:
        """The reward of each picture's caption: their cosine [B] (eq. 6)."""
        return (self.pictures(features) * self.captions(tokens)).sum(-1)


@dataclass(frozen=True)
class ValueState(TensorBatch):
    picture: Tensor  # [B, J]
    hidden: Tensor  # [B, H]
    cell: Tensor  # [B, H]


class ValueNetwork(nn.Module):
    """v(s): the reward to expect of a caption that begins with these words (eq. 12; figure 3).

    A three-layer perceptron of both sides of an embedding of its own, and of their product, whose sum is the cosine. It
    steps as a policy does, or reads whole captions.
    """

    def __init__(self, features: int, vocabulary: int, sizes: ProjectionSizes) -> None:
        super().__init__()
        without_dropout = sizes.model_copy(update={"dropout": 0.0})  # a prefix has one value
        self.embedding = ImageTextEmbedding(features, vocabulary, without_dropout)
        width = sizes.decoder
        self.perceptron = nn.Sequential(
            nn.Linear(3 * sizes.projection, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
        )

    def start(self, features: Features) -> ValueState:
        """Before any word."""
        picture = self.embedding.pictures(features)
        zero = picture.new_zeros(len(picture), self.embedding.lstm.hidden_size)
        return ValueState(picture, zero, zero)

    def step(self, tokens: Tensor, state: ValueState) -> ValueState:
        """After one more word each [B]."""
        words = self.embedding.words(tokens)
        return ValueState(state.picture, *lstm_step(self.embedding.lstm, words, state.hidden, state.cell))

    def value(self, state: ValueState) -> Tensor:
        """v [B] of the prefixes read so far."""
        return self._expect(state.picture, state.hidden)

    def forward(self, features: Features, tokens: Tensor) -> Tensor:
        """v [B, T + 1] of every prefix of captions [B, T]: before the first word, and after each.

        What stands beyond a caption's end means nothing.
        """
        before = self.start(features)
        hidden = torch.cat([before.hidden.unsqueeze(1), self.embedding.read(tokens)], 1)
        return self._expect(before.picture.unsqueeze(1).expand(-1, hidden.shape[1], -1), hidden)

    def _expect(self, picture: Tensor, hidden: Tensor) -> Tensor:
        words = self.embedding.direction(hidden)
        return self.perceptron(torch.cat([picture, words, picture * words], -1)).squeeze(-1)


class WithValueAndReward(Policy):
    """Gives a captioner the two networks: `class ActorCritic(WithValueAndReward, NIC)`."""

    def __init__(self, features: int, vocabulary: int, sizes: ProjectionSizes) -> None:
        super().__init__(features, vocabulary, sizes)
        self.value = ValueNetwork(features, vocabulary, sizes)
        self.similarity = ImageTextEmbedding(features, vocabulary, sizes)


class ActorCritic(WithValueAndReward, NIC):
    """The paper's policy network, Show and Tell's LSTM (eq. 1 to 4), with value network and embedding."""
