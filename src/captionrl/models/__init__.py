"""Captioners over the decoder protocol, one file a method; and HRL's boundary critic."""

from typing import Any

from torch import nn

from captionrl.config import Sizes, model_spec
from captionrl.dotted import is_dotted, load_object
from captionrl.errors import UserError
from captionrl.features.batch import Features, TensorBatch
from captionrl.models.policy import Extras, Policy, Step, shift

__all__ = ["Extras", "Features", "Policy", "Step", "TensorBatch", "build_module", "shift"]


def build_module(model: str, features: int, vocabulary: int, sizes: Sizes, backbone: str | None = None) -> nn.Module:
    """A freshly initialised model: `model` is a run's `model:`; widths of a frame's feature and the vocabulary.

    `sizes`: of the model's own class. `backbone`: of those features; it names the CNN of a model that has one.
    Raises KeyError for a name that is no model's, UserError where a user's own cannot be loaded or is no Policy.
    """
    spec = model_spec(model)
    kind = load_object(spec.path)
    if is_dotted(model) and not (isinstance(kind, type) and issubclass(kind, Policy)):
        raise UserError(f"{model}: is no Policy; derive the class from captionrl.models.Policy")
    arguments: tuple[Any, ...] = (features, vocabulary, sizes) if spec.captions else (vocabulary, sizes)
    module: nn.Module = kind(*arguments, **({"backbone": backbone} if spec.cnn else {}))
    return module
