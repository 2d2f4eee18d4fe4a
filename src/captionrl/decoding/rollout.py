"""Rollouts: captions written word by word, greedily or by sampling, with what a policy gradient needs of them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from captionrl.decoding.distribution import log_probabilities
from captionrl.models.policy import Extras, Policy, Rows
from captionrl.text.vocabulary import EOS, PAD


@dataclass(frozen=True)
class Rollout(Rows):
    """A batch of captions; everything beyond a caption's </s> is padding, masked and zero."""

    tokens: Tensor  # [B, T] int64, </s> included, PAD beyond
    mask: Tensor  # [B, T] bool, True up to and including </s>
    log_probs: Tensor  # [B, T] of the words written
    entropy: Tensor  # [B, T] in nats, of the distributions they were chosen from
    extras: Extras  # [B, T, ...] what each step showed beside its logits

    @property
    def hidden(self) -> Tensor:
        """What each word's logits were computed from [B, T, H]."""
        return self.extras.hidden

    @property
    def lengths(self) -> Tensor:
        """Tokens a caption [B], </s> included."""
        return self.mask.sum(1)


def greedy(policy: Policy, memory: Rows, max_tokens: int, state: Rows | None = None) -> Rollout:
    """The most probable word at every step, for at most `max_tokens` steps, </s> included.

    `state` replaces the policy's own `start(memory)`, such as one that explores.
    """
    return _roll_out(policy, memory, max_tokens, lambda log_p: log_p.argmax(-1), state)


def sample(policy: Policy, memory: Rows, max_tokens: int) -> Rollout:
    """A word drawn from the policy at every step, with torch's global random generator."""
    return _roll_out(policy, memory, max_tokens, lambda log_p: torch.multinomial(log_p.exp(), 1).squeeze(-1))


def _roll_out(
    policy: Policy, memory: Rows, max_tokens: int, choose: Callable[[Tensor], Tensor], state: Rows | None = None
) -> Rollout:
    state, words = state or policy.start(memory), memory.first_words()
    going = torch.ones_like(words, dtype=torch.bool)
    columns = []
    for _ in range(max_tokens):
        step = policy.step(words, state, memory)
        log_p = log_probabilities(step.logits)
        words = choose(log_p.detach()).masked_fill(~going, PAD)
        written = log_p.gather(-1, words.unsqueeze(-1)).squeeze(-1).masked_fill(~going, 0)
        entropy = -(log_p.detach().exp() * log_p.detach().clamp(min=-1e9)).sum(-1) * going
        columns.append(Rollout(words, going, written, entropy, step.extras.masked(going)))
        state, going = step.state, going & (words != EOS)
        if not going.any():
            break
    return Rollout.stack(columns)
