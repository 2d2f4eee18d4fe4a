"""The hierarchical captioner: a manager sets goals, a worker writes words, an internal critic says when a goal is met.

Wang et al., CVPR 2018, section 3.2 and supplement C. A step consumes the previous word: first the critic, then the
manager if a segment has ended (or none has begun), then the worker. Between boundaries the manager's state, and with
it the goal, is held.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from captionrl.config import Sizes
from captionrl.models.critic import Critic
from captionrl.models.layers import Attention, BiLSTM, Head, WordEmbedding, initialise, run_lstm
from captionrl.models.policy import Extras, Features, Policy, Rows, shift, still_going


@dataclass(frozen=True)
class Memory(Rows):
    low: Tensor  # [B, N, 2E] h^Ew, what the worker attends to
    low_keys: Tensor  # [B, N, A]
    high: Tensor  # [B, N, M] h^Em, what the manager attends to
    high_keys: Tensor  # [B, N, A]
    mask: Tensor  # [B, N] bool


@dataclass(frozen=True)
class State(Rows):
    worker: Tensor  # [B, H] h^W
    worker_cell: Tensor  # [B, H]
    manager: Tensor  # [B, M] h^M
    manager_cell: Tensor  # [B, M]
    manager_attention: Tensor  # [B, N] of the manager's last move
    critic: Tensor  # [B, C] h^I
    due: Tensor  # [B] bool: the next step begins a segment, whatever the critic says of the word it reads
    segment: Tensor  # [B] int64: segments begun
    noise: Tensor | None = None  # [B, S, G] added to the goals of the first S segments (HRL eq. 23)


@dataclass(frozen=True, kw_only=True)
class HRLExtras(Extras):
    begins: Tensor  # [B] bool: this word begins a segment
    goal: Tensor  # [B, G] g_t, its noise included
    manager: Tensor  # [B, M] h^M_t, for the manager's baseline
    manager_attention: Tensor  # [B, N]


class Manager(nn.Module):
    """High-level encoder, attention, LSTM, and the projection of its state to a goal (HRL eq. 4, 5)."""

    def __init__(self, low: int, sizes: Sizes) -> None:
        super().__init__()
        self.encoder = nn.LSTM(low, sizes.manager_encoder, batch_first=True)
        self.attention = Attention(sizes.manager_encoder, sizes.manager, sizes.attention)
        self.cell = nn.LSTMCell(sizes.manager_encoder + sizes.decoder, sizes.manager)
        self.goal = nn.Linear(sizes.manager, sizes.goal)


class HRL(Policy):
    """Manager, worker and internal critic. What is not the manager's or the critic's is the worker's."""

    # Whether gradients reach across the beginning of a segment. Without it a goal answers for its own segment's words
    # alone, and the state in which it is set is taken as given, as HRL eq. 22 reads.
    gradients_cross_segments = True

    def __init__(self, features: int, vocabulary: int, sizes: Sizes) -> None:
        super().__init__()
        low = 2 * sizes.encoder
        self.critic = Critic(features, vocabulary, sizes)
        self.manager = Manager(low, sizes)
        self.project = nn.Sequential(nn.Linear(features, sizes.projection), nn.Dropout(sizes.dropout))
        self.encoder = BiLSTM(sizes.projection, sizes.encoder)
        self.attention = Attention(low, sizes.decoder, sizes.attention)
        self.words = WordEmbedding(vocabulary, sizes.embedding, sizes.dropout)
        self.cell = nn.LSTMCell(low + sizes.goal + sizes.embedding, sizes.decoder)
        self.head = Head(sizes.decoder, sizes.embedding, vocabulary, sizes.dropout)
        self.widths = [sizes.embedding, sizes.critic]
        initialise(self, sizes.init)
        self.teach("both")

    def teach(self, part: Literal["worker", "manager", "both"]) -> None:
        """Freeze what is not to be taught; gradients still pass through it. The critic is always frozen."""
        self.requires_grad_(part != "manager")
        self.manager.requires_grad_(part != "worker")
        self.critic.requires_grad_(False)

    def embedding(self, tokens: Tensor) -> Tensor:
        """The worker's and the critic's own embedding of each word, side by side."""
        return torch.cat([self.words(tokens), self.critic.embedding(tokens)], -1)

    def encode(self, features: Features) -> Memory:
        low = self.encoder(self.project(features.frames), features.mask)
        high, _ = run_lstm(self.manager.encoder, low, features.mask)
        return Memory(low, self.attention.key(low), high, self.manager.attention.key(high), features.mask)

    def start(self, memory: Memory, noise: Tensor | None = None) -> State:  # type: ignore[override]
        """The state before the first word. `noise` [B, S, G] perturbs the goals of the first S segments (eq. 23)."""

        def zero(width: int) -> Tensor:
            return memory.low.new_zeros(len(memory.low), width)

        worker, manager = zero(self.cell.hidden_size), zero(self.manager.cell.hidden_size)
        segment = torch.zeros(len(memory.low), dtype=torch.int64, device=memory.low.device)
        attention = torch.zeros_like(memory.low[..., 0])
        critic = zero(self.critic.gru.hidden_size)
        return State(worker, worker, manager, manager, attention, critic, segment == 0, segment, noise)

    def advance(self, embedded: Tensor, state: State, memory: Memory) -> tuple[HRLExtras, State]:
        word, heard = embedded.split(self.widths, -1)
        logits, critic = self.critic.step(heard, state.critic)
        begins, due = self._begins(logits > 0, state.due)
        return self._move(word, begins, due, critic, state, memory)

    def _begins(self, signal: Tensor, due: Tensor) -> tuple[Tensor, Tensor]:
        """Whether the next word begins a segment, and whether the one after it is already known to."""
        if self.critic.reads_this:
            return signal | due, torch.zeros_like(due)
        return due, signal

    def _move(
        self, word: Tensor, begins: Tensor, due: Tensor, critic: Tensor, state: State, memory: Memory
    ) -> tuple[HRLExtras, State]:
        """Manager and worker: the embedded previous word [B, E], and which rows begin a segment [B]."""
        moves = begins.unsqueeze(-1)
        worker, worker_cell, manager, manager_cell = state.worker, state.worker_cell, state.manager, state.manager_cell
        if not self.gradients_cross_segments:
            worker, worker_cell, manager, manager_cell = (
                torch.where(moves, tensor.detach(), tensor) for tensor in (worker, worker_cell, manager, manager_cell)
            )
        context, weights = self.manager.attention(manager, memory.high_keys, memory.high, memory.mask)
        moved, moved_cell = self.manager.cell(torch.cat([context, worker], -1), (manager, manager_cell))  # eq. 4
        manager, manager_cell = torch.where(moves, moved, manager), torch.where(moves, moved_cell, manager_cell)
        attended = torch.where(moves, weights, state.manager_attention)
        segment = state.segment + begins
        goal = self.manager.goal(manager)  # eq. 5; held with the state it is read from
        if state.noise is not None:
            last = state.noise.shape[1]
            index = (segment - 1).clamp(max=last - 1).view(-1, 1, 1).expand(-1, 1, goal.shape[-1])
            goal = goal + state.noise.gather(1, index).squeeze(1) * (segment <= last).unsqueeze(-1)  # eq. 23
        context, weights = self.attention(worker, memory.low_keys, memory.low, memory.mask)  # eq. 1-3
        worker, worker_cell = self.cell(torch.cat([context, goal, word], -1), (worker, worker_cell))  # eq. 6
        extras = HRLExtras(
            hidden=worker, attention=weights, begins=begins, goal=goal, manager=manager, manager_attention=attended
        )
        return extras, State(worker, worker_cell, manager, manager_cell, attended, critic, due, segment, state.noise)

    def read(self, tokens: Tensor, memory: Any, boundaries: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As every policy's, the critic in one pass over the words.

        `boundaries` [B, T] bool, True at the last word of each segment, replace the critic's.
        """
        order, going, places = still_going(tokens)
        memory = memory.select(order)
        word, heard = self.embedding(shift(tokens[order])).split(self.widths, -1)
        state, hidden, rows = self.start(memory), [], len(tokens)
        if boundaries is None:
            due, columns = state.due, []
            for signal in (self.critic.read(heard) > 0).unbind(1):
                begun, due = self._begins(signal, due)
                columns.append(begun)
        else:
            columns = [state.due, *boundaries[order, :-1].unbind(1)]
        for embedded, begins, number in zip(word.unbind(1), columns, going, strict=True):
            if number < rows:
                state, memory, rows = state.first(number), memory.first(number), number
            extras, state = self._move(embedded[:number], begins[:number], state.due, state.critic, state, memory)
            hidden.append(extras.hidden)
        return torch.cat(hidden), places
