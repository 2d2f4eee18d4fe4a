"""The widths of models' layers, a class a model or family: just what it reads, no more.

A paper's `sizes:` is one set for all rows of a table; each model gets those of its own class. What several classes
have means the same in each, and has the same default.
"""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from captionrl.config.base import Positive, Strict

Dropout = Annotated[float, Field(ge=0, lt=1)]


class Sizes(Strict):
    """Base class of every model's sizes, a user's own too."""


class DecoderSizes(Sizes):
    """An LSTM that writes words."""

    decoder: PositiveInt  # LSTM; HRL: the worker's
    embedding: PositiveInt  # words
    dropout: Dropout
    init: Positive  # a captioner's parameters start uniform in [-init, init], biases of NIC's forget gates at 1


class AttendingSizes(DecoderSizes):
    """One that attends to regions or frames: SLE's *, top-down."""

    attention: PositiveInt  # Bahdanau attention's hidden layer


class ProjectionSizes(DecoderSizes):
    """One behind a projection of frames: mean-pooling, S2VT; of pictures and captions: policy and value."""

    projection: PositiveInt = 512  # a frame's feature -> this; policy and value: so do captions


class SoftAttentionSizes(ProjectionSizes, AttendingSizes):
    """Attention to projected frames."""


class EncoderSizes(SoftAttentionSizes):
    """Attention to what an encoder makes of the projected frames."""

    encoder: PositiveInt = 512  # Bi-LSTM over frames, each direction


class BoundaryCriticSizes(Sizes):
    boundary_critic: PositiveInt = 128  # the boundary critic's GRU and word embedding
    critic_input: Literal["current", "previous"] = "current"  # z_t sees a_t (eq. 9), or only the words before (eq. 10)
    close_caption: bool = True  # whether a caption's last word ends a segment, so that </s> gets a goal of its own
    init: Positive  # as of DecoderSizes


class HRLSizes(BoundaryCriticSizes, EncoderSizes):
    """The worker has what the attention captioner has."""

    manager_encoder: PositiveInt = 256  # the LSTM above the Bi-LSTM
    manager: PositiveInt = 256  # the manager's LSTM
    goal: Annotated[int, Field(ge=0)] = 16  # the manager's goal for a segment; 0: an ablation without goals
    segment_words: PositiveInt | None = None  # words of every segment, in place of the boundary critic's: an ablation


class StackCapSizes(AttendingSizes):
    stages: Annotated[int, Field(ge=2, le=100)] = 3  # the coarse decoder and the fine ones
    # Whether gradients pass through the state that the last stage hands to the coarse one (eq. 2), as in the authors'
    # code: then a stage's loss reaches later stages, too; else just the parameters up to its own, as eq. 9 has it.
    feedback_gradients: bool = True


class EndToEndSizes(ProjectionSizes):
    attributes: PositiveInt = 400  # how many are predicted at most
