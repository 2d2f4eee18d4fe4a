"""Statistics of sampled captions: early signs of reinforcement that goes wrong."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from captionrl.decoding.rollout import Rollout
from captionrl.text.vocabulary import EOS


def rollout_diagnostics(sampled: Rollout, reward: Tensor, stop_words: Tensor) -> dict[str, float]:
    """Of B sampled captions with these rewards [B]: their mean reward, entropy in nats a word, length in words, and the
    share that ends in a stop word.

    Stop words [K] are tokens that no training caption ends with ("a", "in", ...). Such endings are what a reward
    without </s> leads to.
    """
    assert sampled.entropy is not None
    lengths = sampled.lengths
    words = lengths - (sampled.tokens == EOS).sum(1)
    last = sampled.tokens.gather(1, (words - 1).clamp(min=0).unsqueeze(1)).squeeze(1)
    return {
        "sample_reward": reward.mean().item(),
        "entropy": (sampled.entropy.sum() / sampled.mask.sum()).item(),
        "length": words.float().mean().item(),
        "stop_word_endings": torch.isin(last, stop_words).float().mean().item(),
    }


def explained_variance(predicted: Tensor, target: Tensor, mask: Tensor) -> float:
    """1 - E[(target - predicted)^2] / Var(target) where `mask` [B, T] is True: the share of the targets' variance that
    predictions explain (R^2). 0: no better than the targets' mean, and where all targets are alike; below 0: worse.

    Predictions and targets [B, T], or [B, 1] for all words of a caption.
    """
    wanted, error = target.expand_as(mask)[mask], (target - predicted).expand_as(mask)[mask]
    if wanted.amin() == wanted.amax():
        return 0.0
    return (1 - error.square().mean() / wanted.var(unbiased=False)).item()


def fall(history: Sequence[dict[str, Any]], metric: str, total: int) -> str | None:
    """A warning, if since the last validation but one it is a quarter of the phase's `total` updates that scores have
    been more than a tenth below that of the start."""
    scores = [(row["update"], row[metric]) for row in history if row["kind"] == "validation"]
    (_, start), (now, score) = scores[0], scores[-1]
    fine = max(index for index, (_, each) in enumerate(scores) if index == 0 or each >= 0.9 * start)
    if start <= 0 or fine >= len(scores) - 2:
        return None
    since = scores[fine + 1][0]
    if not scores[-2][0] - since < total / 4 <= now - since:
        return None
    warning = (
        f"{metric} is {score:.1f}, and since update {since} has been more than a tenth below the start, {start:.1f}. "
        "Likely causes: learning_rate is too high; cross-entropy ended before it had converged; the reward is raised "
        "by captions that nobody would write (see length, entropy, stop_word_endings and the reward's parts)"
    )
    rewards = [row["train_reward"] for row in history if "train_reward" in row]
    if not rewards:
        return warning
    cause = "overfitting is likely" if rewards[-1] > rewards[0] else "not overfitting"
    return f"{warning}. Greedy training reward {rewards[0]:.3g} -> {rewards[-1]:.3g}: {cause}"
