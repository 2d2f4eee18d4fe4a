"""Rewards: scores of captions, most of them from token ids."""

from captionrl.rewards.bleu import Bleu
from captionrl.rewards.cider import Cider, CiderD, DocumentFrequencies
from captionrl.rewards.pairs import PairwiseBleu
from captionrl.rewards.reward import RewardBatch, RewardData
from captionrl.rewards.words import raw_words

__all__ = ["Bleu", "Cider", "CiderD", "DocumentFrequencies", "PairwiseBleu", "RewardBatch", "RewardData", "raw_words"]
