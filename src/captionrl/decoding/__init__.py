"""Decoding: greedy, sampling and beam search, each written once over the decoder protocol."""

from captionrl.decoding.beam import beam_search
from captionrl.decoding.distribution import log_probabilities
from captionrl.decoding.rollout import Rollout, greedy, sample

__all__ = ["Rollout", "beam_search", "greedy", "log_probabilities", "sample"]
