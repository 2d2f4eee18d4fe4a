"""The boundary critic's loss, and its precision and recall (HRL eq. 9, 10)."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from captionrl.text.vocabulary import EOS


def boundary_loss(logits: Tensor, truth: Tensor, words: Tensor) -> Tensor:
    """Mean negative log-likelihood, in nats, of the boundaries `truth` [B, T] where `words` [B, T] (HRL eq. 10)."""
    return binary_cross_entropy_with_logits(logits[words], truth[words].to(logits))


def boundary_counts(found: Tensor, truth: Tensor, words: Tensor) -> Tensor:
    """Of each caption, boundaries rightly found, wrongly found and missed: int64 [B, 3]; all arguments bool [B, T]."""
    pairs = (found & truth, found & ~truth, ~found & truth)
    return torch.stack([(pair & words).sum(1) for pair in pairs], 1)


def precision_recall_f1(counts: Tensor) -> tuple[float, float, float]:
    """Of counts [..., 3] summed over captions; 0 where nothing was found or nothing was there."""
    right, wrong, missed = counts.reshape(-1, 3).sum(0).tolist()
    pairs = ((right, right + wrong), (right, right + missed), (2 * right, 2 * right + wrong + missed))
    precision, recall, f1 = (part / whole if whole else 0.0 for part, whole in pairs)
    return precision, recall, f1


def is_word(tokens: Tensor) -> Tensor:
    """Where captions [B, T] have words, neither </s> nor padding: bool [B, T]."""
    return tokens > EOS
