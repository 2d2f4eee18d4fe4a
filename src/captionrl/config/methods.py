"""The models and objectives that YAML names: the package's by name, a user's own by MODULE:NAME.

A run imports its own model and learners and no others: edits of others do not concern it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from captionrl.config.base import own_settings
from captionrl.config.sizes import (
    AttendingSizes,
    BoundaryCriticSizes,
    DecoderSizes,
    EncoderSizes,
    EndToEndSizes,
    HRLSizes,
    ProjectionSizes,
    Sizes,
    SoftAttentionSizes,
    StackCapSizes,
)
from captionrl.dotted import is_dotted, load_object


@dataclass(frozen=True)
class ModelSpec:
    """Where a model is, and what must be known of it before it is imported."""

    path: str  # MODULE:NAME
    sizes: type[Sizes]  # what it reads of a paper's `sizes:`
    captions: bool = True  # it writes captions
    cnn: bool = False  # it has a CNN of its own and takes frames, not features
    stages: bool = False  # it has several decoder stages, each of which writes a caption (Stack-Cap)
    hierarchical: bool = False  # it writes captions segment by segment (HRL)
    value_network: bool = False  # it has a value network and an image-text embedding
    starts_from: str | None = None  # the model whose checkpoint it may start from, beside its own


@dataclass(frozen=True)
class ObjectiveSpec:
    """Where the learner of an objective is, and what it trains."""

    path: str  # MODULE:NAME
    trains: Callable[[ModelSpec], bool]  # which models
    captions: bool = True  # whether it trains a model to write captions


MODELS = {  # by a run's `model:`
    "attention": ModelSpec("captionrl.models.attention:AttentionCaptioner", EncoderSizes),
    "soft-attention": ModelSpec("captionrl.models.attention:SoftAttention", SoftAttentionSizes),
    "show-attend-tell": ModelSpec("captionrl.models.attention:ShowAttendTell", SoftAttentionSizes),
    "mean-pooling": ModelSpec("captionrl.models.mean_pooling:MeanPooling", ProjectionSizes),
    "s2vt": ModelSpec("captionrl.models.s2vt:S2VT", ProjectionSizes),
    "pooled": ModelSpec("captionrl.models.pooled:Pooled", DecoderSizes),
    "pooled-attention": ModelSpec("captionrl.models.pooled:PooledAttention", AttendingSizes),
    "nic": ModelSpec("captionrl.models.nic:NIC", DecoderSizes),
    "nic-3": ModelSpec("captionrl.models.nic:NIC3", DecoderSizes),
    "top-down": ModelSpec("captionrl.models.top_down:TopDown", AttendingSizes),
    "stack-cap": ModelSpec("captionrl.models.stackcap:StackCap", StackCapSizes, stages=True),
    "stack-cap-star": ModelSpec("captionrl.models.stackcap:StackCapStar", StackCapSizes, stages=True),
    "actor-critic": ModelSpec("captionrl.models.actor_critic:ActorCritic", ProjectionSizes, value_network=True),
    "e2e": ModelSpec("captionrl.models.e2e:EndToEnd", EndToEndSizes, cnn=True),
    "hrl": ModelSpec("captionrl.models.hrl:HRL", HRLSizes, hierarchical=True, starts_from="boundary-critic"),
    "boundary-critic": ModelSpec(
        "captionrl.models.boundary_critic:BoundaryCritic", BoundaryCriticSizes, captions=False
    ),
}


def _any_captioner(model: ModelSpec) -> bool:
    return model.captions and not model.cnn


OBJECTIVES = {  # by a phase's `objective:`
    "xe": ObjectiveSpec("captionrl.training.learners.xe:XELearner", _any_captioner),
    "reinforce": ObjectiveSpec("captionrl.training.learners.reinforce:ReinforceLearner", _any_captioner),
    "sle": ObjectiveSpec("captionrl.training.learners.exploration:ExplorationLearner", _any_captioner),
    "stagewise": ObjectiveSpec("captionrl.training.learners.stagewise:StagewiseLearner", lambda model: model.stages),
    "embedding": ObjectiveSpec(
        "captionrl.training.learners.embedding:EmbeddingLearner", lambda model: model.value_network, captions=False
    ),
    "value": ObjectiveSpec(
        "captionrl.training.learners.actor_critic:ValueLearner", lambda model: model.value_network, captions=False
    ),
    "actor-critic": ObjectiveSpec(
        "captionrl.training.learners.actor_critic:ActorCriticLearner", lambda model: model.value_network
    ),
    "multitask-xe": ObjectiveSpec("captionrl.training.learners.multitask:MultitaskXELearner", lambda model: model.cnn),
    "multitask": ObjectiveSpec("captionrl.training.learners.multitask:MultitaskLearner", lambda model: model.cnn),
    "hrl": ObjectiveSpec("captionrl.training.learners.hrl:HRLLearner", lambda model: model.hierarchical),
    "boundaries": ObjectiveSpec(
        "captionrl.training.learners.boundary_critic:BoundaryCriticLearner",
        lambda model: not model.captions,
        captions=False,
    ),
}


def model_spec(name: str) -> ModelSpec:
    """The model that a run's `model:` names: one of MODELS, or a user's own class MODULE:NAME and its class `Sizes`.

    What is known of a captioner of MODELS holds for a class derived from it, too: the objectives of the one train the
    other. Raises KeyError for a name of neither kind, and UserError where a user's own cannot be loaded.
    """
    if name in MODELS or not is_dotted(name):
        return MODELS[name]
    bases = [f"{kind.__module__}:{kind.__qualname__}" for kind in getattr(load_object(name), "__mro__", ())]
    specs = {spec.path: spec for spec in MODELS.values() if spec.captions}
    spec = next((specs[path] for path in bases if path in specs), ModelSpec(name, Sizes))
    own = own_settings(name, "Sizes", Sizes)
    return replace(spec, path=name, sizes=spec.sizes if own is Sizes else own)


def objective_spec(name: str) -> ObjectiveSpec:
    """The objective that a phase's `objective:` names: one of OBJECTIVES, or a user's own learner MODULE:NAME.

    That trains any captioner without a CNN. Raises KeyError for a name of neither kind.
    """
    if name in OBJECTIVES or not is_dotted(name):
        return OBJECTIVES[name]
    return ObjectiveSpec(name, _any_captioner)


def trained_by(objective: str) -> list[str]:
    """The names of the package's models that an objective trains."""
    return [name for name, model in MODELS.items() if objective_spec(objective).trains(model)]
