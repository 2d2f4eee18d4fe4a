"""What a step is compared with: a plain PyTorch loop that is right and fair.

The same modules with the same weights; attention keys computed once a caption, the batch trimmed to its longest
caption, an LSTMCell and the full vocabulary's softmax a word.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from captionrl.models import Features
from captionrl.models.attention import AttentionCaptioner, Memory
from captionrl.models.policy import LSTMState
from captionrl.text.vocabulary import BOS, EOS, PAD, UNK


def xe_loss(policy: AttentionCaptioner, features: Features, tokens: Tensor) -> Tensor:
    memory = policy.encode(features)
    state = policy.start(memory)
    words, columns = torch.full_like(tokens[:, 0], BOS), []
    for t in range(tokens.shape[1]):
        logits, state = step(policy, words, state, memory)
        columns.append(logits)
        words = tokens[:, t]
    return cross_entropy(torch.stack(columns, 1).flatten(0, 1), tokens.flatten(), ignore_index=PAD)


def step(policy: AttentionCaptioner, words: Tensor, state: LSTMState, memory: Memory) -> tuple[Tensor, LSTMState]:
    context, _ = policy.attention(state.hidden, memory.keys, memory.values, memory.mask)
    inputs = torch.cat([context, policy.embedding(words)], -1)
    hidden, cell = policy.cell(inputs, (state.hidden, state.cell))
    return policy.head(hidden), LSTMState(hidden, cell)


def roll_out(policy: AttentionCaptioner, memory: Memory, ends: Tensor, greedy: bool) -> tuple[Tensor, Tensor]:
    """Tokens and log-probabilities [B, T]; a caption is made to end after `ends` [B] words, and not before."""
    state = policy.start(memory)
    words = torch.full((len(ends),), BOS, device=ends.device)
    going = torch.ones_like(words, dtype=torch.bool)
    tokens, written = [], []
    for t in range(int(ends.max()) + 1):
        logits, state = step(policy, words, state, memory)
        logits[:, [PAD, BOS, UNK]] = -torch.inf
        logits = pace(logits, ends - t)
        log_p = logits.log_softmax(-1)
        words = log_p.argmax(-1) if greedy else torch.multinomial(log_p.detach().exp(), 1).squeeze(1)
        words = torch.where(going, words, PAD)
        tokens.append(words)
        written.append(log_p.gather(1, words.unsqueeze(1)).squeeze(1).where(going, 0))
        going = going & (words != EOS)
    return torch.stack(tokens, 1), torch.stack(written, 1)


def pace(logits: Tensor, left: Tensor) -> Tensor:
    """Let an untrained model write captions of a trained one's lengths: </s> when no word is left, and not before."""
    end = torch.zeros_like(logits[0]).index_fill(0, torch.tensor([EOS], device=logits.device), 1e4)
    return logits + torch.where((left <= 0).unsqueeze(1), end, -end)
