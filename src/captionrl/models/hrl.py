"""The hierarchical captioner: a manager sets goals, a worker writes words, a boundary critic says when a goal is met.

Wang et al., CVPR 2018, section 3.2 and supplement C. A step consumes the previous word: first the critic, then the
manager if a segment has ended (or none has begun), then the worker. Between boundaries the manager's state, and with
it the goal, is held.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from captionrl.config import HRLSizes
from captionrl.models.boundary_critic import BoundaryCritic
from captionrl.models.layers import Attention, BiLSTM, Head, WordEmbedding, initialise, run_lstm
from captionrl.models.policy import Extras, Features, Policy, TensorBatch, active_rows, shift


@dataclass(frozen=True)
class Memory(TensorBatch):
    low: Tensor  # [B, N, 2E] h^Ew, what the worker attends to
    low_keys: Tensor  # [B, N, A]
    high: Tensor  # [B, N, M] h^Em, what the manager attends to
    high_keys: Tensor  # [B, N, A]
    mask: Tensor  # [B, N] bool


@dataclass(frozen=True)
class State(TensorBatch):
    worker: Tensor  # [B, H] h^W
    worker_cell: Tensor  # [B, H]
    manager: Tensor  # [B, M] h^M
    manager_cell: Tensor  # [B, M]
    manager_attention: Tensor  # [B, N] of the manager's last move
    boundary_critic: Tensor  # [B, C] h^I
    start_pending: Tensor  # [B] bool: the next word begins a segment, whatever the critic says of the word it reads
    segment: Tensor  # [B] int64: segments begun
    words: Tensor  # [B] int64: words written
    noise: Tensor | None = None  # [B, S, G] added to the goals of the first S segments (HRL eq. 23)
    detach_segments: Tensor | None = None  # [B] bool: no gradient passes the beginning of a segment (eq. 22)
    detach_goals: Tensor | None = None  # [B] bool: nor from a goal to what it is set by


@dataclass(frozen=True, kw_only=True)
class HRLExtras(Extras):
    segment_start: Tensor  # [B] bool: this word begins a segment
    goal: Tensor  # [B, G] g_t, its noise included
    manager: Tensor  # [B, M] h^M_t, for the manager's baseline
    manager_attention: Tensor  # [B, N]


class Manager(nn.Module):
    """High-level encoder, attention, LSTM, and the projection of its state to a goal (HRL eq. 4, 5)."""

    def __init__(self, low: int, sizes: HRLSizes) -> None:
        super().__init__()
        self.encoder = nn.LSTM(low, sizes.manager_encoder, batch_first=True)
        self.attention = Attention(sizes.manager_encoder, sizes.manager, sizes.attention)
        self.cell = nn.LSTMCell(sizes.manager_encoder + sizes.decoder, sizes.manager)
        self.goal = nn.Linear(sizes.manager, sizes.goal)


class HRL(Policy[Memory, State]):
    """Manager, worker and boundary critic. What is not the manager's or the critic's is the worker's."""

    def __init__(self, features: int, vocabulary: int, sizes: HRLSizes) -> None:
        super().__init__()
        low = 2 * sizes.encoder
        self.boundary_critic = BoundaryCritic(vocabulary, sizes)
        self.manager = Manager(low, sizes)
        self.project = nn.Sequential(nn.Linear(features, sizes.projection), nn.Dropout(sizes.dropout))
        self.encoder = BiLSTM(sizes.projection, sizes.encoder)
        self.attention = Attention(low, sizes.decoder, sizes.attention)
        self.words = WordEmbedding(vocabulary, sizes.embedding, sizes.dropout)
        self.cell = nn.LSTMCell(low + sizes.goal + sizes.embedding, sizes.decoder)
        self.head = Head(sizes.decoder, sizes.embedding, vocabulary, sizes.dropout)
        self.widths = [sizes.embedding, sizes.boundary_critic]
        self.segment_words = sizes.segment_words
        initialise(self, sizes.init)
        self.set_trainable("both")

    def set_trainable(self, part: Literal["worker", "manager", "both"]) -> None:
        """Freeze all but this part; gradients still pass through what is frozen. The critic always is."""
        self.requires_grad_(part != "manager")
        self.manager.requires_grad_(part != "worker")
        self.boundary_critic.requires_grad_(False)

    def embedding(self, tokens: Tensor) -> Tensor:
        """The worker's and the critic's own embedding of each word, side by side."""
        return torch.cat([self.words(tokens), self.boundary_critic.embedding(tokens)], -1)

    def encode(self, features: Features) -> Memory:
        low = self.encoder(self.project(features.frames), features.mask)
        high, _ = run_lstm(self.manager.encoder, low, features.mask)
        return Memory(low, self.attention.key(low), high, self.manager.attention.key(high), features.mask)

    def start(
        self, memory: Memory, noise: Tensor | None = None, detach_segments: bool = False, detach_goals: bool = False
    ) -> State:
        """The state before the first word. `noise` [B, S, G] perturbs the goals of the first S segments (eq. 23).

        With `detach_segments` no gradient passes the beginning of a segment: a goal is responsible for the words of
        its own segment alone, and the state in which it is set is taken as given, as in eq. 22. With `detach_goals`
        none passes the goals, which the worker then takes as given, as in eq. 14.
        """

        def zero(width: int) -> Tensor:
            return memory.low.new_zeros(len(memory.low), width)

        worker, manager = zero(self.cell.hidden_size), zero(self.manager.cell.hidden_size)
        none = torch.zeros(len(memory.low), dtype=torch.int64, device=memory.low.device)
        attention = torch.zeros_like(memory.low[..., 0])
        critic = zero(self.boundary_critic.gru.hidden_size)
        first = none == 0
        cut, given = first.clone() if detach_segments else None, first.clone() if detach_goals else None
        return State(worker, worker, manager, manager, attention, critic, first, none, none, noise, cut, given)

    def advance(self, embedded: Tensor, state: State, memory: Memory) -> tuple[HRLExtras, State]:
        word, critic_embedding = embedded.split(self.widths, -1)
        logits, critic = self.boundary_critic.step(critic_embedding, state.boundary_critic)
        segment_start, start_pending = self._segment_start(logits > 0, state.start_pending, state.words)
        return self._decoder_step(word, segment_start, start_pending, critic, state, memory)

    def _segment_start(self, signal: Tensor, start_pending: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """Whether the next word begins a segment, and whether the one after it is already known to.

        signal [B] bool is the boundary critic's, words [B] the number of those written.
        """
        if self.segment_words is not None:
            return words % self.segment_words == 0, torch.zeros_like(start_pending)
        if self.boundary_critic.reads_current:
            return signal | start_pending, torch.zeros_like(start_pending)
        return start_pending, signal

    def _decoder_step(
        self, word: Tensor, segment_start: Tensor, start_pending: Tensor, critic: Tensor, state: State, memory: Memory
    ) -> tuple[HRLExtras, State]:
        """Manager and worker: the embedded previous word [B, E], and which rows begin a segment [B]."""
        starts = segment_start.unsqueeze(-1)
        worker, worker_cell, manager, manager_cell = state.worker, state.worker_cell, state.manager, state.manager_cell
        if state.detach_segments is not None:
            cut = starts & state.detach_segments.unsqueeze(-1)
            worker, worker_cell, manager, manager_cell = (
                torch.where(cut, tensor.detach(), tensor) for tensor in (worker, worker_cell, manager, manager_cell)
            )
        context, weights = self.manager.attention(manager, memory.high_keys, memory.high, memory.mask)
        moved, moved_cell = self.manager.cell(torch.cat([context, worker], -1), (manager, manager_cell))  # eq. 4
        manager, manager_cell = torch.where(starts, moved, manager), torch.where(starts, moved_cell, manager_cell)
        attended = torch.where(starts, weights, state.manager_attention)
        segment = state.segment + segment_start
        goal = self.manager.goal(manager)  # eq. 5; held with the state it is computed from
        if state.detach_goals is not None:
            goal = goal.detach()
        if state.noise is not None:
            goal = goal + noise_of(state.noise, segment)  # eq. 23
        context, weights = self.attention(worker, memory.low_keys, memory.low, memory.mask)  # eq. 1-3
        worker, worker_cell = self.cell(torch.cat([context, goal, word], -1), (worker, worker_cell))  # eq. 6
        extras = HRLExtras(
            hidden=worker,
            attention=weights,
            segment_start=segment_start,
            goal=goal,
            manager=manager,
            manager_attention=attended,
        )
        return extras, replace(
            state,
            worker=worker,
            worker_cell=worker_cell,
            manager=manager,
            manager_cell=manager_cell,
            manager_attention=attended,
            boundary_critic=critic,
            start_pending=start_pending,
            segment=segment,
            words=state.words + 1,
        )

    def teacher_forced_hidden(
        self, tokens: Tensor, memory: Memory, boundaries: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """As every policy's, the critic in one pass over the words.

        `boundaries` [B, T] bool, True at the last word of each segment, replace the critic's (but not segment_words).
        """
        order, active, places = active_rows(tokens)
        memory = memory.select(order)
        word, critic_embedding = self.embedding(shift(tokens[order])).split(self.widths, -1)
        state, hidden, rows = self.start(memory), [], len(tokens)
        if boundaries is None or self.segment_words is not None:
            start_pending, columns = state.start_pending, list[Tensor]()
            for signal in (self.boundary_critic.logits(critic_embedding) > 0).unbind(1):
                segment_start, start_pending = self._segment_start(signal, start_pending, state.words + len(columns))
                columns.append(segment_start)
        else:
            ends = self.boundary_critic.truth(boundaries, tokens)[order]
            columns = [state.start_pending, *ends[:, :-1].unbind(1)]
        for embedded, segment_start, number in zip(word.unbind(1), columns, active, strict=True):
            if number == 0:
                break
            if number < rows:
                state, memory, rows = state.narrow(number), memory.narrow(number), number
            extras, state = self._decoder_step(
                embedded[:number], segment_start[:number], state.start_pending, state.boundary_critic, state, memory
            )
            hidden.append(extras.hidden)
        return torch.cat(hidden), places


def noise_of(noise: Tensor, segment: Tensor) -> Tensor:
    """The noise [B, G] of each row's segment [B], counted from 1, of noise [B, S, G]; zero beyond the S-th."""
    last = noise.shape[1]
    index = (segment - 1).clamp(max=last - 1).view(-1, 1, 1).expand(-1, 1, noise.shape[2])
    return noise.gather(1, index).squeeze(1) * (segment <= last).unsqueeze(-1)
