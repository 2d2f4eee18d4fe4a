"""Captioners over the decoder protocol, one file a method."""

from captionrl.config import Sizes
from captionrl.models.attention import AttentionCaptioner, SoftAttention
from captionrl.models.critic import Critic
from captionrl.models.hrl import HRL
from captionrl.models.mean_pooling import MeanPooling
from captionrl.models.policy import Extras, Features, Policy, Rows, Step, shift
from captionrl.models.s2vt import S2VT

__all__ = ["HRL", "Critic", "Extras", "Features", "Policy", "Rows", "Step", "build_policy", "shift"]

CLASSES: dict[str, type[AttentionCaptioner | MeanPooling | S2VT | HRL]] = {
    "attention": AttentionCaptioner,
    "soft-attention": SoftAttention,
    "mean-pooling": MeanPooling,
    "s2vt": S2VT,
    "hrl": HRL,
}


def build_policy(model: str, features: int, vocabulary: int, sizes: Sizes) -> Policy:
    """A freshly initialised captioner: `model` is a run's `model:`; widths of a frame's feature and the vocabulary."""
    return CLASSES[model](features, vocabulary, sizes)


def build_module(model: str, features: int, vocabulary: int, sizes: Sizes) -> Policy | Critic:
    """Likewise, or HRL's internal critic, which is no policy."""
    return (
        Critic(features, vocabulary, sizes) if model == "critic" else build_policy(model, features, vocabulary, sizes)
    )
