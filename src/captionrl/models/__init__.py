"""Captioners over the decoder protocol, one file a method."""

from captionrl.config import Sizes
from captionrl.models.attention import AttentionCaptioner, SoftAttention
from captionrl.models.mean_pooling import MeanPooling
from captionrl.models.policy import Extras, Features, Policy, Rows, Step, shift
from captionrl.models.s2vt import S2VT

__all__ = ["Extras", "Features", "Policy", "Rows", "Step", "build_policy", "shift"]

CLASSES: dict[str, type[AttentionCaptioner | MeanPooling | S2VT]] = {
    "attention": AttentionCaptioner,
    "soft-attention": SoftAttention,
    "mean-pooling": MeanPooling,
    "s2vt": S2VT,
}


def build_policy(model: str, features: int, vocabulary: int, sizes: Sizes) -> Policy:
    """A freshly initialised captioner: `model` is a run's `model:`; widths of a frame's feature and the vocabulary."""
    return CLASSES[model](features, vocabulary, sizes)
