"""Captioners over the decoder protocol, one file a method; HRL's internal critic, too."""

from torch import nn

from captionrl.config import MODELS, Sizes, load_class
from captionrl.models.policy import Extras, Features, Policy, Rows, Step, shift

__all__ = ["POLICIES", "Extras", "Features", "Policy", "Rows", "Step", "build_module", "build_policy", "shift"]

POLICIES = tuple(model for model in MODELS if model != "critic")


def build_module(model: str, features: int, vocabulary: int, sizes: Sizes) -> nn.Module:
    """A freshly initialised model: `model` is a run's `model:`; widths of a frame's feature and the vocabulary."""
    module: nn.Module = load_class(MODELS[model])(features, vocabulary, sizes)
    return module


def build_policy(model: str, features: int, vocabulary: int, sizes: Sizes) -> Policy:
    """Likewise, of a model that writes captions."""
    policy = build_module(model, features, vocabulary, sizes)
    assert isinstance(policy, Policy)
    return policy
