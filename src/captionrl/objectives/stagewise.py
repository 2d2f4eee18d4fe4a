"""Intermediate rewards: every fine stage is compared with its own greedy caption and with the stage before.

Stack-Cap (Gu et al. 2018), eq. 11 to 15.
"""

from typing import Literal

from torch import Tensor


def staged_advantage(
    sampled: Tensor, greedy: Tensor, relative_to: Literal["both", "greedy", "stage-before"] = "both"
) -> Tensor:
    """The advantage [B, F] of the sampled captions Y_i of F fine stages (eq. 15):

        Delta r_i = (r(Y_i) - r(greedy_i)) + (r(Y_i) - r(Y_i-1))

    `sampled` [B, F + 1]: rewards of the samples of all stages, the coarse one first; `greedy` [B, F]: of the fine
    stages' greedy captions. The reward enters twice, and what is subtracted does not depend on the words of Y_i. So
    with it the gradient's expectation is twice that of eq. 11, whose direction is all that Adam takes from it where no
    gradient is clipped. `relative_to`: one of the brackets alone, whose expectation is that of eq. 11.
    """
    own = sampled[:, 1:]
    match relative_to:
        case "greedy":
            return own - greedy
        case "stage-before":
            return own - sampled[:, :-1]
        case _:
            return (own - greedy) + (own - sampled[:, :-1])


def staged_loss(log_probs: Tensor, advantage: Tensor) -> Tensor:
    """L = -sum_i Delta r_i log p(Y_i): both arguments [B, F], of the fine stages' samples.

    Its gradient is eq. 14, the estimate with a baseline (eq. 12, 13 without) of that of the expected reward (eq. 11).

    Summed over stages, averaged over the batch.
    """
    return -(advantage.detach() * log_probs).sum(1).mean()
