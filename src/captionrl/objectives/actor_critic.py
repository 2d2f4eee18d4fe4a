"""The losses of policy and value network (Shi et al. 2018, eq. 9 to 12; Sutton and Barto, chapters 6 and 7).

v(s) = E[R | s]: the expected reward of a caption that begins with s                                     (eq. 12)
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, pad

from captionrl.decoding.rollout import Rollout
from captionrl.objectives.reinforce import policy_gradient_loss
from captionrl.text.vocabulary import PAD, UNK


def value_loss(values: Tensor, targets: Tensor) -> Tensor:
    """The mean over N prefixes of |v(s_i) - R|^2 (eq. 9); eq. 11 is minus half its gradient. Both [N]."""
    return mse_loss(values, targets)


def actor_loss(rollout: Rollout, targets: Tensor, values: Tensor | None, given: Tensor | None = None) -> Tensor:
    """The policy's loss, whose negative gradient is that of eq. 10, averaged over captions:

        L = -sum_t (R - v(s_t)) log q(a_t | s_t)

    `targets` [B, T + 1] for R: see `td_targets`; `values` [B, T + 1] are v before each word and after the last one;
    None: no baseline. Where the curriculum's words were `given` [B, G] (PAD: none), their advantage is 1, which makes
    it their cross-entropy; a given <unk> trains nothing, for the policy cannot write it.
    """
    advantage = targets[:, :-1] - (0 if values is None else values[:, :-1])
    if given is not None:
        advantage = advantage.masked_fill(pad(given != PAD, (0, advantage.shape[1] - given.shape[1])), 1)
        rollout = replace(rollout, log_probs=rollout.log_probs.masked_fill(rollout.tokens == UNK, 0))
    return policy_gradient_loss(rollout, advantage)


def td_targets(reward: Tensor, values: Tensor, lengths: Tensor, steps: int | None) -> Tensor:
    """The targets [B, T + 1] of the values of all prefixes, bootstrapped after `steps` more words.

    `values` [B, T + 1] are those before the first of T words and after each; a caption's reward [B] comes when it is
    whole, with `lengths` [B] words (</s> counts). Until then the target is the value of the prefix `steps` words later:
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


def prefix_mask(lengths: Tensor, longest: int) -> Tensor:
    """True [B, longest + 1] for prefixes of captions of these lengths [B], the empty and the whole one included."""
    return torch.arange(longest + 1, device=lengths.device) <= lengths.unsqueeze(1)
