"""Where the methods are that YAML names. A run imports its own and no others: an edit of another is nothing to it."""

from importlib import import_module
from typing import Any

MODELS = {  # by a run's `model:`
    "attention": "captionrl.models.attention:AttentionCaptioner",
    "soft-attention": "captionrl.models.attention:SoftAttention",
    "mean-pooling": "captionrl.models.mean_pooling:MeanPooling",
    "s2vt": "captionrl.models.s2vt:S2VT",
    "pooled": "captionrl.models.pooled:Pooled",
    "pooled-attention": "captionrl.models.pooled:PooledAttention",
    "nic": "captionrl.models.nic:NIC",
    "nic-3": "captionrl.models.nic:NIC3",
    "top-down": "captionrl.models.top_down:TopDown",
    "stack-cap": "captionrl.models.stackcap:StackCap",
    "stack-cap-star": "captionrl.models.stackcap:StackCapStar",
    "actor-critic": "captionrl.models.actor_critic:ActorCritic",
    "e2e": "captionrl.models.e2e:EndToEnd",
    "hrl": "captionrl.models.hrl:HRL",
    "critic": "captionrl.models.critic:Critic",
}
LEARNERS = {  # by a phase's `objective:`
    "xe": "captionrl.training.learners.xe:XELearner",
    "reinforce": "captionrl.training.learners.reinforce:ReinforceLearner",
    "sle": "captionrl.training.learners.exploration:ExplorationLearner",
    "stagewise": "captionrl.training.learners.stagewise:StagewiseLearner",
    "embedding": "captionrl.training.learners.embedding:EmbeddingLearner",
    "value": "captionrl.training.learners.actor_critic:ValueLearner",
    "actor-critic": "captionrl.training.learners.actor_critic:ActorCriticLearner",
    "multitask-xe": "captionrl.training.learners.multitask:MultitaskXELearner",
    "multitask": "captionrl.training.learners.multitask:MultitaskLearner",
    "hrl": "captionrl.training.learners.hrl:HRLLearner",
    "critic": "captionrl.training.learners.critic:CriticLearner",
}


def load_class(place: str) -> Any:
    """The class that stands at MODULE:NAME."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
