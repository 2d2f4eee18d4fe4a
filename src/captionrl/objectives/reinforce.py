"""REINFORCE on a caption's reward (HRL eq. 11-14), the regression of its baseline, an entropy bonus."""

from torch import Tensor

from captionrl.decoding.rollout import Rollout


def policy_gradient_loss(rollout: Rollout, advantage: Tensor) -> Tensor:
    """A scalar whose gradient estimates that of minus the expected return of a caption.

        L = -sum_t A_t log pi(a_t | s_t)        (HRL eq. 11-14; SLE eq. 5, 11 with a greedy baseline; E2E eq. 3-5)

    advantage A [B, T] of each word, or [B, 1] where all words of a caption have the same: the return minus a baseline
    that does not depend on the word at its own position or later ones. No gradient goes through it. Summed over words
    and averaged over captions: dividing by the number of words would favour short captions and is no longer the
    gradient of the expected return.
    """
    return -(advantage.detach() * rollout.mask * rollout.log_probs).sum(1).mean()


def leave_one_out(rewards: Tensor) -> Tensor:
    """Of S samples' rewards [B, S, ...] the mean of the other ones: a baseline without a bias (Kool et al. 2019)."""
    return (rewards.sum(1, keepdim=True) - rewards) / (rewards.shape[1] - 1)


def baseline_loss(predicted: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of a baseline's predictions [B, T] where `mask` [B, T]; returns [B, T] or [B, 1]."""
    return ((predicted - returns)[mask] ** 2).mean()


def entropy_bonus(rollout: Rollout) -> Tensor:
    """The entropy, in nats, of the distributions that a caption's words were drawn from: summed over words, as the
    loss is, and averaged over captions (SLE section 4.1: word-level exploration; Mnih et al. 2016).

    The rollout has `entropy_gradient`. That gradient is each distribution's own, given the words before it; that other
    words would have led to distributions of other entropies is left out, as is usual.
    """
    assert rollout.entropy is not None
    return rollout.entropy.sum(1).mean()
