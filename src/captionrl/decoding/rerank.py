"""The caption of a beam that an image-text embedding finds nearest to the picture."""

from collections.abc import Callable

import torch
from torch import Tensor


def nearest(pictures: Tensor, directions: Callable[[Tensor], Tensor], tokens: Tensor, scores: Tensor) -> Tensor:
    """Of W captions of each item, tokens [B, W, T], the one of the highest cosine with its picture: [B, 1, T].

    `pictures` are unit vectors [B, J], and `directions` gives those of captions [N, T] -> [N, J]. Places of the beam
    that no caption fills have `scores` [B, W] of -inf. Of equal cosines the first one's caption is taken.
    """
    found = directions(tokens.flatten(0, 1)).unflatten(0, scores.shape)
    cosines = (pictures.unsqueeze(1) * found).sum(-1).masked_fill(scores.isneginf(), -torch.inf)
    return tokens[torch.arange(len(tokens), device=tokens.device), cosines.argmax(1)].unsqueeze(1)
