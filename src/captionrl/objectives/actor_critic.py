"""What a value network learns and teaches (Shi et al. 2018, eq. 9 to 12; Sutton and Barto, chapters 6 and 7)."""

import torch
from torch import Tensor


def td_targets(reward: Tensor, values: Tensor, lengths: Tensor, steps: int | None) -> Tensor:
    """What the value of each beginning should have been, in the hindsight of `steps` more words [B, T + 1].

    `values` [B, T + 1] are those before the first of T words and after each; a caption's reward [B] comes when it is
    whole, with `lengths` [B] words (</s> counts). Until then a beginning is worth what the one `steps` words later is:
    steps=1 is TD(0). Where the caption ends by then, and with None everywhere, the target is the reward itself (eq. 9).
    Nothing is discounted: the value is the whole caption's expected reward (eq. 12). No gradient goes through targets.
    """
    position = torch.arange(values.shape[1], device=values.device)
    targets = reward.unsqueeze(1).expand_as(values)
    if steps is None:
        return targets.detach()
    later = (position + steps).clamp(max=values.shape[1] - 1).expand_as(values)
    whole = position + steps >= lengths.unsqueeze(1)
    return torch.where(whole, targets, values.gather(1, later)).detach()


def beginnings(lengths: Tensor, longest: int) -> Tensor:
    """True [B, longest + 1] for beginnings of captions of these lengths [B], the empty and the whole one included."""
    return torch.arange(longest + 1, device=lengths.device) <= lengths.unsqueeze(1)


def explained(values: Tensor, targets: Tensor) -> Tensor:
    """The share of the targets' variance that values [N] explain: 1 if they are equal, 0 of the best constant.

    Of targets that are all alike, as of a batch of one caption, there is nothing to explain: 0.
    """
    share = 1 - (values - targets).square().mean() / targets.var(unbiased=False)
    return share.where(targets.amin() < targets.amax(), 0)
