"""The returns of worker and manager: what each word, and each segment, adds to the reward (HRL section 3.3.3)."""

import torch
from torch import Tensor


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


def segment_rewards(rewards: Tensor, begins: Tensor) -> Tensor:
    """f(e_n) [B, T]: column n holds the sum of the rewards of the words of segment n; zero beyond the last segment.

    begins [B, T] bool: the word begins a segment. The first word of a caption always does.
    """
    return torch.zeros_like(rewards).scatter_add(1, _segment(begins), rewards)


def segment_returns(rewards: Tensor, begins: Tensor, discount: float) -> Tensor:
    """R(e) [B, T] of each word's segment: discounted by segments, not by words (HRL eq. 25).

    rewards [B, T] of words, zero beyond a caption's end.
    """
    returns = discounted_returns(segment_rewards(rewards, begins), discount)
    return returns.gather(1, _segment(begins))


def _segment(begins: Tensor) -> Tensor:
    """The number [B, T] of each word's segment, counted from 0."""
    return begins.long().cumsum(1) - 1
