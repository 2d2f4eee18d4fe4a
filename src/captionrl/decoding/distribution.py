"""The distribution that captions are decoded from."""

import torch
from torch import Tensor

from captionrl.text.vocabulary import BOS, PAD, UNK


def log_probabilities(logits: Tensor) -> Tensor:
    """log pi(word) [..., V]: <pad>, <s> and <unk> are never written, so their mass goes to the other words."""
    never = torch.tensor([PAD, BOS, UNK], device=logits.device)
    return logits.index_fill(-1, never, -torch.inf).log_softmax(-1)
