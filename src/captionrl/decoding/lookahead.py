"""Beam search guided by a value network (after Ren et al. 2017), over the decoder protocol."""

from typing import Any, Protocol

import torch
from torch import Tensor

from captionrl.decoding.distribution import log_probabilities
from captionrl.models.policy import Policy, TensorBatch
from captionrl.text.vocabulary import EOS, PAD


class Value(Protocol):
    """A value network with a state of its own, which consumes captions word by word."""

    def step(self, tokens: Tensor, state: Any) -> Any:
        """The state after one more word each [B]."""

    def value(self, state: Any) -> Tensor:
        """The reward [B] to expect of captions that begin with the words of these states."""


def look_ahead(
    policy: Policy, memory: TensorBatch, value: Value, expected: TensorBatch, max_tokens: int, width: int, weight: float
) -> tuple[Tensor, Tensor]:
    """The `width` captions found that score best, best first: tokens [B, W, T] and scores [B, W].

    A prefix scores `weight` * log pi + (1 - weight) * v: its log-probability, and the reward that `value`, which
    starts from the state `expected`, promises of it. (Ren et al. add up the values of all prefixes on the way, which
    favours long captions: here, as in `beam_search`, one that has ended competes with those still growing.) Of every
    prefix the `width` most probable next words are looked at; so with weight 1 this is `beam_search`.
    """
    words = memory.first_words()
    batch, places = len(words), torch.arange(len(words) * width, device=words.device)
    first = places // width
    memory, expected, words = memory.select(first), expected.select(first), words[first]
    state = policy.start(memory)
    tokens = words.new_full((batch, width, max_tokens), PAD)
    log_p = torch.full((batch, width), -torch.inf, dtype=next(policy.parameters()).dtype, device=words.device)
    log_p[:, 0] = 0  # all places hold the same empty caption at first: let only the first one grow
    scores, ended = log_p, torch.zeros_like(log_p, dtype=torch.bool)
    for length in range(max_tokens):
        step = policy.step(words, state, memory)
        log_probs = log_probabilities(step.logits).view(batch, width, -1)
        added, word = log_probs.topk(min(width, log_probs.shape[-1]))  # [B, W, C] of the words looked at
        after = value.step(word.flatten(), expected.select(places.repeat_interleave(word.shape[-1])))
        grown = log_p.unsqueeze(-1) + added
        promised = weight * grown + (1 - weight) * value.value(after).view_as(grown)
        promised = promised.masked_fill(grown.isneginf(), -torch.inf)
        # What has ended goes on as it is, once.
        itself = torch.full_like(grown[0, 0], -torch.inf).index_fill(0, words.new_tensor([0]), 0.0)
        whole = ended.unsqueeze(-1).expand_as(word)
        promised = torch.where(whole, scores.unsqueeze(-1) + itself, promised)
        scores, best = promised.flatten(1).topk(width)
        parent = best // word.shape[-1]
        log_p, word = (rows.flatten(1).gather(1, best) for rows in (grown, word.masked_fill(whole, PAD)))
        tokens = tokens.gather(1, parent.unsqueeze(-1).expand(-1, -1, max_tokens))
        tokens[..., length] = word
        ended = ended.gather(1, parent) | (word == EOS)
        if (ended | scores.isneginf()).all():
            return tokens[..., : length + 1], scores
        item = torch.arange(batch, device=words.device).unsqueeze(1)
        state = step.state.select((item * width + parent).flatten())
        expected = after.select((item * promised[0].numel() + best).flatten())
        words = word.flatten()
    return tokens, scores
