"""The models and objectives that YAML names. A run imports its own and no others: edits of others do not concern it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class ModelSpec:
    """Where a model is, and what must be known of it before it is imported."""

    path: str  # MODULE:NAME
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
    "attention": ModelSpec("captionrl.models.attention:AttentionCaptioner"),
    "soft-attention": ModelSpec("captionrl.models.attention:SoftAttention"),
    "mean-pooling": ModelSpec("captionrl.models.mean_pooling:MeanPooling"),
    "s2vt": ModelSpec("captionrl.models.s2vt:S2VT"),
    "pooled": ModelSpec("captionrl.models.pooled:Pooled"),
    "pooled-attention": ModelSpec("captionrl.models.pooled:PooledAttention"),
    "nic": ModelSpec("captionrl.models.nic:NIC"),
    "nic-3": ModelSpec("captionrl.models.nic:NIC3"),
    "top-down": ModelSpec("captionrl.models.top_down:TopDown"),
    "stack-cap": ModelSpec("captionrl.models.stackcap:StackCap", stages=True),
    "stack-cap-star": ModelSpec("captionrl.models.stackcap:StackCapStar", stages=True),
    "actor-critic": ModelSpec("captionrl.models.actor_critic:ActorCritic", value_network=True),
    "e2e": ModelSpec("captionrl.models.e2e:EndToEnd", cnn=True),
    "hrl": ModelSpec("captionrl.models.hrl:HRL", hierarchical=True, starts_from="boundary-critic"),
    "boundary-critic": ModelSpec("captionrl.models.boundary_critic:BoundaryCritic", captions=False),
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


def trained_by(objective: str) -> list[str]:
    """The names of the models that an objective trains."""
    return [name for name, model in MODELS.items() if OBJECTIVES[objective].trains(model)]
