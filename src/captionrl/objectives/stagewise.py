"""Staged policy gradient: every fine stage shall beat its own greedy captions and the stage before (Gu et al. 2018)."""

from torch import Tensor


def staged_advantage(sampled: Tensor, greedy: Tensor) -> Tensor:
    """Delta r (eq. 15), [B, F] of F fine stages, from the rewards of all stages' samples [B, F + 1] and of the fine
    stages' greedy captions [B, F].

    (r(Y_i) - r(greedy_i)) + (r(Y_i) - r(Y_i-1)): the reward enters twice, and what is taken away does not depend on
    the words of Y_i. So with it the gradient's expectation is twice that of eq. 11, whose direction is all that Adam
    takes from it where no gradient is clipped.
    """
    own = sampled[:, 1:]
    return (own - greedy) + (own - sampled[:, :-1])


def staged_loss(log_probs: Tensor, advantage: Tensor) -> Tensor:
    """The scalar whose gradient is eq. 14: log_probs and advantage [B, F] of the fine stages' sampled captions.

    Summed over stages, averaged over the batch.
    """
    return -(advantage.detach() * log_probs).sum(1).mean()
