"""Hierarchical REINFORCE: the losses of worker and manager, and the returns in them (HRL section 3.3)."""

from typing import NamedTuple

import torch
from torch import Tensor

from captionrl.decoding.rollout import Rollout
from captionrl.models.hrl import HRLExtras
from captionrl.models.layers import LinearBaseline
from captionrl.objectives.reinforce import baseline_loss, leave_one_out, policy_gradient_loss


class PartLoss(NamedTuple):
    """What the worker, or the manager, learns from a batch of captions."""

    loss: Tensor  # scalar; no gradient reaches the baseline
    returns: Tensor  # [B, T] R
    expected: Tensor  # [B, T] b, the baseline of R
    places: Tensor  # [B, T] bool, where the baseline is learned

    @property
    def regression(self) -> Tensor:
        """The baseline's own loss, a scalar; no gradient reaches the policy."""
        return baseline_loss(self.expected, self.returns, self.places)


def worker_loss(
    rollout: Rollout, rewards: Tensor, baseline: LinearBaseline | None, discount: float, samples: int = 1
) -> PartLoss:
    """The worker's loss for captions sampled under the manager's own goals.

        L = -sum_t A_t log pi(a_t | s_t),    A_t = R(a_t) - b(h^W_t)                               (HRL eq. 14)
        R(a_t) = sum_k discount^k f(a_t+k)                                                         (HRL eq. 24)

    rewards f(a_t) [B, T]: see `delta_rewards`. Summed over words, averaged over captions. Without a baseline, b of word
    t is the mean R from step t on of the clip's other samples, zero beyond their ends: it does not depend on this
    caption, so it has no bias. `samples` of each clip then stand side by side.
    """
    returns = discounted_returns(rewards, discount)
    if baseline is not None:
        expected = baseline(rollout.hidden)
    else:
        expected = leave_one_out(returns.view(-1, samples, returns.shape[1])).view_as(returns)
    return PartLoss(policy_gradient_loss(rollout, returns - expected), returns, expected, rollout.mask)


def manager_loss(rollout: Rollout, rewards: Tensor, baseline: LinearBaseline, discount: float) -> PartLoss:
    """The manager's loss for greedy captions under perturbed goals.

        L = -sum_n A_n sum_{t in segment n} log pi(a_t | s_t, g_n),    A_n = R(e_n) - b(h^M_n)     (HRL eq. 22)
        g_n = mu_theta(s_n) + noise, whose gradient is that of mu_theta                            (HRL eq. 23)
        R(e_n) = sum_k discount^k f(e_n+k),    f(e_n) = sum_{t in segment n} f(a_t)                (HRL eq. 25)

    The worker is the manager's environment: its weights are frozen (`HRL.set_trainable`), and the gradient reaches the
    manager through the goals alone, and ends where a segment begins (`HRL.start(detach_segments=True)`). rewards
    f(a_t) [B, T]: see `delta_rewards`. The baseline is learned where segments begin.
    """
    extras = rollout.extras
    assert isinstance(extras, HRLExtras)
    returns = segment_returns(rewards, extras.segment_start, discount)
    expected = baseline(extras.manager)
    return PartLoss(policy_gradient_loss(rollout, returns - expected), returns, expected, extras.segment_start)


def delta_rewards(prefix_scores: Tensor, mask: Tensor) -> Tensor:
    """f(a_t) [B, T]: how much each word changes the score of the caption so far; their sum is the caption's score.

    prefix_scores [B, T] of the caption up to and including each word; mask [B, T], zero beyond a caption's end.
    """
    before = torch.cat([torch.zeros_like(prefix_scores[:, :1]), prefix_scores[:, :-1]], 1)
    return (prefix_scores - before) * mask


def discounted_returns(rewards: Tensor, discount: float) -> Tensor:
    """R_t = sum_k discount^k r_{t+k} of rewards [B, T] (HRL eq. 24)."""
    returns, ahead = torch.empty_like(rewards), torch.zeros_like(rewards[:, 0])
    for t in range(rewards.shape[1] - 1, -1, -1):
        ahead = rewards[:, t] + discount * ahead
        returns[:, t] = ahead
    return returns


def segment_rewards(rewards: Tensor, segment_start: Tensor) -> Tensor:
    """f(e_n) [B, T]: column n holds the sum of the rewards of the words of segment n; zero beyond the last segment.

    segment_start [B, T] bool: the word begins a segment. The first word of a caption always does.
    """
    return torch.zeros_like(rewards).scatter_add(1, _segment(segment_start), rewards)


def segment_returns(rewards: Tensor, segment_start: Tensor, discount: float) -> Tensor:
    """R(e) [B, T] of each word's segment: discounted by segments, not by words (HRL eq. 25).

    rewards [B, T] of words, zero beyond a caption's end.
    """
    returns = discounted_returns(segment_rewards(rewards, segment_start), discount)
    return returns.gather(1, _segment(segment_start))


def _segment(segment_start: Tensor) -> Tensor:
    """The number [B, T] of each word's segment, counted from 0."""
    return segment_start.long().cumsum(1) - 1
