"""What can be configured: pydantic models of params.yaml and papers/*.yaml, the one place where defaults live.

`params.yaml` holds the knobs a user turns, `papers/<paper>.yaml` a paper's facts. A paper's `mini:` block is laid over
the rest at the mini scale, and `overrides: {<paper>: …}` of params.yaml over both. Every mistake in them is one
`UserError` that names the file, the key and the mend.
"""

from captionrl.config.base import Backbone, overlay
from captionrl.config.load import Params, load_paper, load_params, validate_params
from captionrl.config.methods import LEARNERS, MODELS, load_class
from captionrl.config.paper import CorpusSettings, Paper, Run, Sizes
from captionrl.config.phases import (
    ActorCriticPhase,
    AnyPhase,
    BackbonePhase,
    CriticPhase,
    EmbeddingPhase,
    ExplorationPhase,
    HRLPhase,
    JudgedPhase,
    Phase,
    ReinforcePhase,
    RewardPhase,
    ScheduledSampling,
    StagewisePhase,
    ValuePhase,
    XEPhase,
)
from captionrl.config.results import (
    SETS,
    AttentionFigure,
    Contrast,
    CurvesFigure,
    ExamplesFigure,
    Figures,
    Leaderboard,
    Method,
    Row,
    StagesFigure,
    Table,
    TradeoffFigure,
    decoded_as,
    is_set,
    split_system,
    stage_of,
)

__all__ = [
    "LEARNERS",
    "MODELS",
    "SETS",
    "ActorCriticPhase",
    "AnyPhase",
    "AttentionFigure",
    "Backbone",
    "BackbonePhase",
    "Contrast",
    "CorpusSettings",
    "CriticPhase",
    "CurvesFigure",
    "EmbeddingPhase",
    "ExamplesFigure",
    "ExplorationPhase",
    "Figures",
    "HRLPhase",
    "JudgedPhase",
    "Leaderboard",
    "Method",
    "Paper",
    "Params",
    "Phase",
    "ReinforcePhase",
    "RewardPhase",
    "Row",
    "Run",
    "ScheduledSampling",
    "Sizes",
    "StagesFigure",
    "StagewisePhase",
    "Table",
    "TradeoffFigure",
    "ValuePhase",
    "XEPhase",
    "decoded_as",
    "is_set",
    "load_class",
    "load_paper",
    "load_params",
    "overlay",
    "split_system",
    "stage_of",
    "validate_params",
]
