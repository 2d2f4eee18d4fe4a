"""The decoder protocol, which training and decoding use every captioner by.

    memory = policy.encode(features)            # the encoded clips
    state  = policy.start(memory)               # before the first word
    step   = policy.step(tokens, state, memory) # Step(logits [B, V], state, extras)

Memory, state and extras are dataclasses of tensors with a leading batch axis, so that beam search, sampling and
batching can re-order them without knowing what is in them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from captionrl.errors import UserError
from captionrl.features.batch import Features, TensorBatch
from captionrl.text.vocabulary import BOS, PAD


@dataclass(frozen=True)
class LSTMState(TensorBatch):
    """The state of a decoder that is one LSTM."""

    hidden: Tensor  # [B, H]
    cell: Tensor  # [B, H]


@dataclass(frozen=True)
class Extras(TensorBatch):
    """Outputs of a step beside its logits."""

    hidden: Tensor  # [B, H] what the logits are computed from, for baselines
    attention: Tensor | None = None  # [B, N] weights over the frames


class Step(NamedTuple):
    logits: Tensor  # [B, V]
    state: TensorBatch
    extras: Extras


M = TypeVar("M", bound=TensorBatch)  # a policy's memory
S = TypeVar("S", bound=TensorBatch)  # its state


class Policy(nn.Module, ABC, Generic[M, S]):
    """A captioner that embeds a word, advances a recurrent state, and reads logits off it.

    A method defines `encode`, `start` and `advance`; stepping and teacher forcing follow from them. It is made by
    `Captioner(features, vocabulary, sizes)`: widths of a frame's feature and of the vocabulary, and its own sizes. The
    rules are in docs/architecture.md, "Decoder protocol"; captionrl.testing checks them.
    """

    embedding: Callable[[Tensor], Tensor]  # tokens [...] -> [..., E]
    head: nn.Module  # hidden [..., H] -> logits [..., V]
    decoder_stages: int = 1  # each writes a caption of its own; the last one's is the policy's

    @property
    def heads(self) -> list[nn.Module]:
        """Those of all stages; the last one is `head`."""
        return [self.head]

    @abstractmethod
    def encode(self, features: Features) -> M:
        """All that the decoder needs of a batch of clips, tensors [B, ...]; called once a batch, B >= 1.

        Frames that are masked out are not read, whatever is in them.
        """

    @abstractmethod
    def start(self, memory: M) -> S:
        """The state before the first word, tensors [B, ...], for a memory of B >= 1 rows.

        Everything that a later step knows of the words before it is in the state.
        """

    @abstractmethod
    def advance(self, embedded: Tensor, state: S, memory: M) -> tuple[Extras, S]:
        """Consume the embedded previous word [B, E]: what the next word's logits are computed from, and the new state.

        State and memory have the same B >= 1 rows, which may be fewer than at the last step: captions that have ended
        leave the batch. No row depends on another. A state may grow from step to step, extras keep their shape.
        """

    def start_stages(self, memory: M, stages: Sequence[int]) -> S:
        """`start` for rows that each write, and read back, the words of their own stage [B]."""
        return self.start(memory)

    def step(self, tokens: Tensor, state: S, memory: M) -> Step:
        """Consume the previous words [B]; logits [B, V] of the next ones."""
        extras, state = self.advance(self.embedding(tokens), state, memory)
        return Step(self.head(extras.hidden), state, extras)

    def predictions(self, hidden: Tensor) -> list[Tensor]:
        """Logits [..., V] of every prediction of a word that cross-entropy trains, the last one the policy's own."""
        return [head(hidden) for head in self.heads]

    @torch.no_grad()
    def sharpen(self, temperature: float) -> None:
        """Divide the logits of all stages by `temperature`. Greedy captions stay; below 1 samples come nearer to them.

        Raises UserError where logits do not come from a linear layer that serves nothing else.
        """
        every = [parameter for _, parameter in self.named_parameters(remove_duplicate=False)]
        for head in self.heads:
            last = head[-1] if isinstance(head, nn.Sequential) else head
            own = [parameter for parameter in last.parameters() if sum(parameter is other for other in every) == 1]
            if not isinstance(last, nn.Linear) or len(own) < len(list(last.parameters())):
                what = f"the logits of {type(self).__name__} do not come from a linear layer of their own"
                raise UserError(f"start_temperature: {what}; leave it at 1")
            for parameter in own:
                parameter.div_(temperature)

    def teacher_forced_hidden(
        self, tokens: Tensor, memory: M, boundaries: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What the head computes each word's logits from under teacher forcing, for `tokens` [B, T].

        Returns hidden [W, H] of the W words that are not padding, and the place [W] of each in tokens.flatten(). Equal
        to stepping through the words, with one embedding for the whole batch, and captions leave it as they end.
        An override may return the words in another order. `boundaries` [B, T] is for those who know segments.
        """
        order, active, places = active_rows(tokens)
        memory = memory.select(order)
        state, hidden, rows = self.start(memory), [], len(tokens)
        for embedded, number in zip(self.embedding(shift(tokens[order])).unbind(1), active, strict=True):
            if number == 0:
                break
            if number < rows:
                state, memory, rows = state.narrow(number), memory.narrow(number), number
            extras, state = self.advance(embedded[:number], state, memory)
            hidden.append(extras.hidden)
        return torch.cat(hidden), places

    def teacher_forcing(self, tokens: Tensor, memory: M) -> Tensor:
        """Logits [B, T, V] of every word of `tokens` [B, T] given the ones before it; zero at padding."""
        hidden, places = self.teacher_forced_hidden(tokens, memory)
        logits = self.head(hidden)
        return logits.new_zeros(tokens.numel(), logits.shape[-1]).index_copy(0, places, logits).view(*tokens.shape, -1)


def active_rows(tokens: Tensor) -> tuple[Tensor, list[int], Tensor]:
    """Captions [B, T], PAD beyond each, as a batch that they leave as they end.

    Returns the captions' order [B], longest first; how many of them have a word at each position [T]; and the places
    in tokens.flatten() of these words, position by position in that order.
    """
    lengths, order = (tokens != PAD).sum(1).sort(descending=True, stable=True)
    position = torch.arange(tokens.shape[1], device=tokens.device)
    words = (lengths > position.unsqueeze(1)).nonzero()  # [W, 2]: position, row of the order
    return order, (lengths > position.unsqueeze(1)).sum(1).tolist(), order[words[:, 1]] * tokens.shape[1] + words[:, 0]


def shift(tokens: Tensor) -> Tensor:
    """The decoder's input words: <s> before `tokens` [B, T], the last word dropped."""
    return torch.cat([tokens.new_full((len(tokens), 1), BOS), tokens[:, :-1]], 1)
