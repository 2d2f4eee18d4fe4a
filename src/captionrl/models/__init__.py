"""Captioners over the decoder protocol, one file a method; HRL's internal critic, too."""

from torch import nn

from captionrl.config import MODELS, SEEING, Sizes, load_class
from captionrl.models.policy import Extras, Features, Policy, Rows, Step, shift

__all__ = ["Extras", "Features", "Policy", "Rows", "Step", "build_module", "shift"]


def build_module(model: str, features: int, vocabulary: int, sizes: Sizes, backbone: str | None = None) -> nn.Module:
    """A freshly initialised model: `model` is a run's `model:`; widths of a frame's feature and the vocabulary.

    `backbone`: of those features; it names the CNN of a model that has one (SEEING).
    """
    seeing = {"backbone": backbone} if model in SEEING else {}
    module: nn.Module = load_class(MODELS[model])(features, vocabulary, sizes, **seeing)
    return module
