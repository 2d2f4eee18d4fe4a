"""Statistics of sampled captions: early signs of reinforcement that goes wrong."""

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
