"""Rollouts: captions written word by word, greedily or by sampling, with what a policy gradient needs of them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from captionrl.decoding.distribution import draw, log_probabilities
from captionrl.models.policy import Extras, Policy, TensorBatch
from captionrl.text.vocabulary import EOS, PAD


@dataclass(frozen=True)
class Rollout(TensorBatch):
    """A batch of captions; everything beyond a caption's </s> is padding, masked and zero."""

    tokens: Tensor  # [B, T] int64, </s> included, PAD beyond
    mask: Tensor  # [B, T] bool, True up to and including </s>
    log_probs: Tensor  # [B, T] of the words written
    extras: Extras  # [B, T, ...] what each step showed beside its logits
    entropy: Tensor | None  # [B, T] in nats, of the distributions that sampled words were drawn from

    @property
    def hidden(self) -> Tensor:
        """What each word's logits were computed from [B, T, H]."""
        return self.extras.hidden

    @property
    def lengths(self) -> Tensor:
        """Tokens a caption [B], </s> included."""
        return self.mask.sum(1)


def greedy(policy: Policy, memory: TensorBatch, max_tokens: int, state: TensorBatch | None = None) -> Rollout:
    """The most probable word at every step, for at most `max_tokens` steps, </s> included.

    `state` replaces the policy's own `start(memory)`, such as one that explores.
    """
    return _roll_out(policy, memory, max_tokens, lambda log_p: log_p.argmax(-1), state)


def sample(
    policy: Policy,
    memory: TensorBatch,
    max_tokens: int,
    state: TensorBatch | None = None,
    *,
    given: Tensor | None = None,
    entropy_gradient: bool = False,
) -> Rollout:
    """A word drawn from the policy at every step, with torch's global random generator; `state` as of `greedy`.

    `given` [B, G]: words that captions begin with, whatever was drawn, PAD where they go on by themselves.
    `entropy_gradient`: whether the entropies have a gradient, which costs the memory of a [B, V] a step.
    """
    entropy = _entropy if entropy_gradient else _entropy_alone
    return _roll_out(policy, memory, max_tokens, draw, state, entropy, given)


def _roll_out(
    policy: Policy,
    memory: TensorBatch,
    max_tokens: int,
    choose: Callable[[Tensor], Tensor],
    state: TensorBatch | None = None,
    entropy: Callable[[Tensor], Tensor] | None = None,
    given: Tensor | None = None,
) -> Rollout:
    """Captions leave the batch as they end: what is computed is only ever about those that go on."""
    state, words = state or policy.start(memory), memory.first_words()
    batch, rows = len(words), torch.arange(len(words), device=words.device)
    columns = []
    for length in range(max_tokens):
        step = policy.step(words, state, memory)
        log_p = log_probabilities(step.logits)
        words = choose(log_p.detach())
        if given is not None and length < given.shape[1]:
            words = torch.where(given[rows, length] == PAD, words, given[rows, length])
        written = log_p.gather(-1, words.unsqueeze(-1)).squeeze(-1)
        uncertain = entropy(log_p) if entropy else None
        column = Rollout(words, torch.ones_like(words, dtype=torch.bool), written, step.extras, uncertain)
        columns.append(column if len(rows) == batch else column.scatter_rows(rows, batch))
        state, active = step.state, (words != EOS).nonzero().squeeze(1)
        if len(active) == 0:
            break
        if len(active) < len(rows):
            rows, words, state, memory = rows[active], words[active], state.select(active), memory.select(active)
    return Rollout.stack(columns)


def _entropy(log_p: Tensor) -> Tensor:
    """Of distributions [..., V], with a gradient: where a word is impossible, that of entr is not a number."""
    return -(log_p.exp() * log_p.clamp(min=torch.finfo(log_p.dtype).min)).sum(-1)


def _entropy_alone(log_p: Tensor) -> Tensor:
    return torch.special.entr(log_p.detach().exp()).sum(-1)
