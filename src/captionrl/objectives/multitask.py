"""Captions and attributes as two tasks of one model (Li and Gong 2019, section 3.2)."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from captionrl.decoding.rollout import Rollout
from captionrl.objectives.reinforce import policy_gradient_loss


def multi_sample_loss(rollout: Rollout, rewards: Tensor, greedy_rewards: Tensor, *, per_word: bool = True) -> Tensor:
    """REINFORCE+ with M sampled captions of each clip against its greedy one, averaged over samples and clips:

        L_r = -1/M sum_m (r(s_m) - b) log p(s_m)                                                (eq. 7; eq. 6 if M = 1)

    `per_word`: log p of a caption is the mean over its T words, </s> among them, as eq. 2 defines it; else it is their
    sum, with which L_r has the gradient of the expected reward, and some T times the weight beside L_a (eq. 8). The
    rollout has the M captions of a clip one after the other, rewards [B * M]; b: greedy_rewards [B].
    """
    advantage = rewards - greedy_rewards.repeat_interleave(len(rewards) // len(greedy_rewards))
    if per_word:
        advantage = advantage / rollout.lengths
    return policy_gradient_loss(rollout, advantage.unsqueeze(1))


def attribute_loss(logits: Tensor, present: Tensor) -> Tensor:
    """L_a: mean binary cross-entropy, in nats, over the attributes of logits [B, A] and over clips.

    `present` [B, A]: whether a caption of the clip has the attribute.
    """
    return binary_cross_entropy_with_logits(logits.float(), present.float())


def multitask_loss(captions: Tensor | None, attributes: Tensor | None, alpha: float) -> Tensor:
    """L = alpha L_r + (1 - alpha) L_a (eq. 8); None stands for a loss whose weight is 0."""
    weighted = [(alpha, captions), (1 - alpha, attributes)]
    return torch.stack([weight * loss for weight, loss in weighted if loss is not None]).sum()
