"""Rewards: sentence scores of rollouts, from token ids."""

from captionrl.rewards.bleu import Bleu
from captionrl.rewards.cider import CiderD, DocumentFrequencies
from captionrl.rewards.pairs import PairwiseBleu

__all__ = ["Bleu", "CiderD", "DocumentFrequencies", "PairwiseBleu"]
