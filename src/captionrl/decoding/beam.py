"""Beam search over the decoder protocol, for a whole batch at once."""

import torch
from torch import Tensor

from captionrl.decoding.distribution import log_probabilities
from captionrl.models.policy import Policy, Rows
from captionrl.text.vocabulary import EOS, PAD


def beam_search(policy: Policy, memory: Rows, max_tokens: int, width: int) -> tuple[Tensor, Tensor]:
    """The `width` most probable captions found, best first: tokens [B, W, T] and log-probabilities [B, W].

    Tokens include </s>, PAD beyond it. A caption that has ended stays in the beam at its score and competes with
    those still growing; the search ends when every caption has ended or has `max_tokens` tokens. There is no length
    normalisation: a score is the caption's log-probability. Places that no caption fills, in a beam wider than the
    number of possible captions, have score -inf.
    """
    words = memory.first_words()
    batch = len(words)
    offsets = torch.arange(batch, device=words.device).unsqueeze(1) * width
    rows = torch.arange(batch, device=words.device).repeat_interleave(width)
    memory, words = memory.select(rows), words.repeat_interleave(width)
    state = policy.start(memory)
    tokens = words.new_empty(batch, width, 0)
    ended = torch.zeros(batch, width, dtype=torch.bool, device=words.device)
    scores: Tensor | None = None
    for _ in range(max_tokens):
        step = policy.step(words, state, memory)
        log_p = log_probabilities(step.logits).view(batch, width, -1)
        if scores is None:  # all places hold the same empty caption at first: let only the first one grow
            scores = log_p.new_full((batch, width), -torch.inf).index_fill(1, words.new_zeros(1), 0.0)
        only_pad = torch.full_like(log_p[0, 0], -torch.inf).index_fill(0, words.new_tensor([PAD]), 0.0)
        log_p = torch.where(ended.unsqueeze(-1), only_pad, log_p)
        vocabulary = log_p.shape[-1]
        scores, flat = (scores.unsqueeze(-1) + log_p).flatten(1).topk(width)
        parent, word = flat // vocabulary, flat % vocabulary
        tokens = torch.cat([tokens.gather(1, parent.unsqueeze(-1).expand_as(tokens)), word.unsqueeze(-1)], -1)
        ended = ended.gather(1, parent) | (word == EOS)
        state = step.state.select((offsets + parent).flatten())
        words = word.flatten()
        if (ended | scores.isneginf()).all():
            break
    assert scores is not None
    return tokens, scores
