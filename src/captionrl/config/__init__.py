"""What can be configured: pydantic models of params.yaml and papers/*/*.yaml, the one place where defaults live.

`params.yaml` holds the settings that a user changes, `papers/<paper>/paper.yaml` what a paper states. At another scale
`papers/<paper>/<scale>.yaml` is laid over it, and `overrides: {<paper>: …}` of params.yaml over both. Every mistake in
them is one `UserError` that names the file, the key and the fix.
"""

from captionrl.config.base import Backbone, Scale, overlay
from captionrl.config.figures import (
    AttentionFigure,
    CurvesFigure,
    ExamplesFigure,
    Figures,
    Method,
    StagesFigure,
    TradeoffFigure,
    ValuesFigure,
)
from captionrl.config.load import Params, find_paper, find_papers, load_paper, load_params, validate_params
from captionrl.config.methods import MODELS, OBJECTIVES, trained_by
from captionrl.config.paper import CorpusSettings, Paper, Run
from captionrl.config.phases import (
    ActorCriticPhase,
    AnyPhase,
    Augmentation,
    BackbonePhase,
    BoundaryPhase,
    EmbeddingPhase,
    EndToEndPhase,
    ExplorationPhase,
    HRLPhase,
    MixedRewardPhase,
    MultitaskPhase,
    MultitaskXEPhase,
    Phase,
    ReinforcePhase,
    RewardPhase,
    ScheduledSampling,
    StagewisePhase,
    ValuePhase,
    XEPhase,
)
from captionrl.config.settings import render_settings
from captionrl.config.sizes import Sizes
from captionrl.config.systems import (
    GREEDY,
    LOOKAHEAD,
    SETS,
    decoded_as,
    is_described,
    is_set,
    split_system,
    stage_of,
)
from captionrl.config.tables import Comparison, Leaderboard, Row, Table

__all__ = [
    "GREEDY",
    "LOOKAHEAD",
    "MODELS",
    "OBJECTIVES",
    "SETS",
    "ActorCriticPhase",
    "AnyPhase",
    "AttentionFigure",
    "Augmentation",
    "Backbone",
    "BackbonePhase",
    "BoundaryPhase",
    "Comparison",
    "CorpusSettings",
    "CurvesFigure",
    "EmbeddingPhase",
    "EndToEndPhase",
    "ExamplesFigure",
    "ExplorationPhase",
    "Figures",
    "HRLPhase",
    "Leaderboard",
    "Method",
    "MixedRewardPhase",
    "MultitaskPhase",
    "MultitaskXEPhase",
    "Paper",
    "Params",
    "Phase",
    "ReinforcePhase",
    "RewardPhase",
    "Row",
    "Run",
    "Scale",
    "ScheduledSampling",
    "Sizes",
    "StagesFigure",
    "StagewisePhase",
    "Table",
    "TradeoffFigure",
    "ValuePhase",
    "ValuesFigure",
    "XEPhase",
    "decoded_as",
    "find_paper",
    "find_papers",
    "is_described",
    "is_set",
    "load_paper",
    "load_params",
    "overlay",
    "render_settings",
    "split_system",
    "stage_of",
    "trained_by",
    "validate_params",
]
