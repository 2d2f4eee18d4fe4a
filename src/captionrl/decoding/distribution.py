"""The distribution that captions are decoded from, and draws from it."""

from functools import cache

import torch
from torch import Tensor

from captionrl.text.vocabulary import BOS, PAD, UNK


def log_probabilities(logits: Tensor) -> Tensor:
    """log pi(word) [..., V] from logits [..., V] (HRL eq. 8).

    <pad>, <s> and <unk> are never written, so their mass goes to the other words.
    """
    exact = torch.promote_types(logits.dtype, torch.float32)  # of halves, too
    return logits.index_fill(-1, _never_written(logits.device), -torch.inf).log_softmax(-1, dtype=exact)


@cache
def _never_written(device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # gradients need it, too, whoever asks first
        return torch.tensor([PAD, BOS, UNK], device=device)


def draw(log_p: Tensor) -> Tensor:
    """A word [...] from each distribution [..., V], with torch's global random generator.

    One uniform number a row, looked up in the cumulated probabilities: torch.multinomial draws one a word, which takes
    longer than the softmax. Its resolution is float32's: words below 1e-7 are drawn as often as rounding will have it.
    """
    cumulated = log_p.exp().cumsum(-1)
    uniform = torch.rand_like(cumulated[..., :1]) * cumulated[..., -1:]  # below 1, and so the product below the sum
    words = torch.searchsorted(cumulated, uniform, right=True).squeeze(-1)
    return words.clamp(max=log_p.shape[-1] - 1)  # beyond only if log_p is NaN, of which the training loop complains
