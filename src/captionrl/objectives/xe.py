"""Cross-entropy (HRL eq. 26), with scheduled sampling (Bengio et al. 2015)."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from captionrl.decoding.distribution import log_probabilities
from captionrl.models.policy import Features, Policy, Rows, shift
from captionrl.text.vocabulary import PAD


def xe_loss(
    policy: Policy, features: Features, tokens: Tensor, own_words: float = 0.0, boundaries: Tensor | None = None
) -> tuple[Tensor, dict[str, float]]:
    """Mean negative log-likelihood, in nats, of the words of `tokens` [B, T] (</s> included, PAD beyond).

    `own_words`: the probability that an input word is drawn from the policy instead of taken from the caption.
    `boundaries` [B, T]: where segments end, if HRL's critic is not to say; not together with `own_words`.
    """
    memory = policy.encode(features)
    words = (tokens != PAD).flatten().nonzero().squeeze(1)  # padding, a third of a batch, need not reach the vocabulary
    if own_words > 0:
        logits = _scheduled_sampling(policy, memory, tokens, own_words).flatten(0, 1).index_select(0, words)
    else:
        hidden = policy.read(tokens, memory, boundaries)
        logits = policy.head(hidden.flatten(0, 1).index_select(0, words))
    loss = cross_entropy(logits, tokens.flatten()[words])
    return loss, {"loss": loss.item()}


def _scheduled_sampling(policy: Policy, memory: Rows, tokens: Tensor, own_words: float) -> Tensor:
    """Logits [B, T, V] where each input word after <s> is, with probability `own_words`, the policy's own draw."""
    state, columns = policy.start(memory), []
    own: Tensor | None = None
    for words in shift(tokens).unbind(1):
        if own is not None:
            words = torch.where(torch.rand(words.shape, device=words.device) < own_words, own, words)
        logits, state, _ = policy.step(words, state, memory)
        columns.append(logits)
        own = torch.multinomial(log_probabilities(logits.detach()).exp(), 1).squeeze(-1)
    return torch.stack(columns, 1)
