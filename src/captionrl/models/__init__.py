"""Captioners over the decoder protocol, one file a method; and HRL's boundary critic."""

from typing import Any

from torch import nn

from captionrl.config import MODELS, Sizes
from captionrl.dotted import load_object
from captionrl.features.batch import Features, TensorBatch
from captionrl.models.policy import Extras, Policy, Step, shift

__all__ = ["Extras", "Features", "Policy", "Step", "TensorBatch", "build_module", "shift"]


def build_module(model: str, features: int, vocabulary: int, sizes: Sizes, backbone: str | None = None) -> nn.Module:
    """A freshly initialised model: `model` is a run's `model:`; widths of a frame's feature and the vocabulary.

    `backbone`: of those features; it names the CNN of a model that has one.
    """
    spec = MODELS[model]
    arguments: tuple[Any, ...] = (features, vocabulary, sizes) if spec.captions else (vocabulary, sizes)
    module: nn.Module = load_object(spec.path)(*arguments, **({"backbone": backbone} if spec.cnn else {}))
    return module
