"""Pictures and their captions side by side in one space (Shi et al. 2018, eq. 5)."""

import torch
from torch import Tensor


def ranking_loss(pictures: Tensor, captions: Tensor, same: Tensor, margin: float) -> Tensor:
    """How far other captions of the batch, and other pictures, come within `margin` of a pair's own cosine (eq. 5).

    Unit vectors [B, J] of both sides of the pairs; `same` [B, B] is True where caption j is of picture i, too, and so
    no rival. The sums of both hinges, averaged over pairs.
    """
    cosines = pictures @ captions.T
    own = cosines.diagonal()
    among_captions = (margin + cosines - own.unsqueeze(1)).relu().masked_fill(same, 0)
    among_pictures = (margin + cosines - own.unsqueeze(0)).relu().masked_fill(same, 0)
    return (among_captions + among_pictures).sum() / len(own)


def adjacent_loss(pictures: Tensor, before: Tensor, after: Tensor, gamma: float) -> Tensor:
    """Eq. 5 as it is printed: gamma max[0, h_{T-1}(S) . l(f) - h_T(S) . l(f)], averaged over pairs.

    Unit vectors [B, J] of pictures, of their captions one word before the end, and of the whole captions. It asks of a
    caption's last word that it brings the caption no farther from its picture, and nothing of any other caption: with
    all captions, or all pictures, in one place it is 0 and has no gradient.
    """
    return gamma * ((before - after) * pictures).sum(-1).relu().mean()


def ranks(cosines: Tensor, own: Tensor) -> Tensor:
    """The place [Q] of the best of each query's own answers among all, 0 the first; cosines and own [Q, A].

    Of equal cosines, a stranger's counts as the better one.
    """
    best = cosines.masked_fill(~own, -torch.inf).amax(1, keepdim=True)
    return ((cosines >= best) & ~own).sum(1)
