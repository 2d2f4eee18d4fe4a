"""Rewards: sentence scores of rollouts, from token ids."""

from captionrl.rewards.cider import CiderD, DocumentFrequencies

__all__ = ["CiderD", "DocumentFrequencies"]
