"""Beam search over the decoder protocol, for a whole batch at once."""

import torch
from torch import Tensor

from captionrl.decoding.distribution import log_probabilities
from captionrl.models.policy import Policy, TensorBatch
from captionrl.text.vocabulary import EOS, PAD


def beam_search(
    policy: Policy,
    memory: TensorBatch,
    max_tokens: int,
    width: int,
    state: TensorBatch | None = None,
    *,
    length_normalised: bool = False,
) -> tuple[Tensor, Tensor]:
    """The `width` most probable captions found, best first: tokens [B, W, T] and log-probabilities [B, W].

    Tokens include </s>, PAD beyond it. A caption that has ended stays in the beam at its score and competes with
    those still growing; the search ends when every caption has ended or has `max_tokens` tokens. A score is the
    caption's log-probability; with `length_normalised` captions are ranked, in the search and at its end, by their
    log-probability a token, </s> counted. Places that no caption fills, in a beam wider than the number of possible
    captions, have score -inf. `state` replaces the policy's own `start(memory)`.
    """
    words = memory.first_words()
    batch = len(words)
    items = torch.arange(batch, device=words.device)  # those still searched for: clips leave as their captions end
    first = items.repeat_interleave(width)
    memory, words = memory.select(first), words[first]
    state = state.select(first) if state else policy.start(memory)
    tokens = words.new_full((batch, width, max_tokens), PAD)
    scores = torch.full((batch, width), -torch.inf, dtype=next(policy.parameters()).dtype, device=words.device)
    scores[:, 0] = 0  # all places hold the same empty caption at first: let only the first one grow
    ended = torch.zeros_like(scores, dtype=torch.bool)
    for length in range(max_tokens):
        step = policy.step(words, state, memory)
        log_p = log_probabilities(step.logits).view(len(items), width, -1)
        only_pad = torch.full_like(log_p[0, 0], -torch.inf).index_fill(0, words.new_tensor([PAD]), 0.0)
        log_p = torch.where(ended.unsqueeze(-1), only_pad, log_p)
        vocabulary = log_p.shape[-1]
        grown = scores[items].unsqueeze(-1) + log_p
        if length_normalised:
            lengths = (tokens[items] != PAD).sum(-1) + ~ended
            flat = (grown / lengths.unsqueeze(-1)).flatten(1).topk(width).indices
            scores[items] = grown.flatten(1).gather(1, flat)
        else:
            scores[items], flat = grown.flatten(1).topk(width)
        parent, word = flat // vocabulary, flat % vocabulary
        tokens[items] = tokens[items].gather(1, parent.unsqueeze(-1).expand(-1, -1, max_tokens))
        tokens[items, :, length] = word
        ended = ended.gather(1, parent) | (word == EOS)
        active = (~(ended | scores[items].isneginf())).any(1).nonzero().squeeze(1)
        if len(active) == 0:
            return tokens[..., : length + 1], scores
        rows = active.unsqueeze(1) * width
        state = step.state.select((rows + parent[active]).flatten())
        if len(active) < len(items):
            memory = memory.select((rows + torch.arange(width, device=words.device)).flatten())
            items, ended, word = items[active], ended[active], word[active]
        words = word.flatten()
    return tokens, scores
