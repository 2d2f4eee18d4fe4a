"""The widths of the captioners' layers."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from captionrl.config.base import Positive, Strict


class Sizes(Strict):
    """Widths of the captioners of one paper; one set for all rows of a table, but for what a row is about.

    What one model alone has, has that paper's value where another paper leaves it out.
    """

    # All captioners.
    decoder: PositiveInt  # LSTM; HRL: the worker's
    attention: PositiveInt  # Bahdanau attention's hidden layer
    embedding: PositiveInt  # words
    dropout: Annotated[float, Field(ge=0, lt=1)]
    init: Positive  # every parameter starts uniform in [-init, init]

    # HRL and the baselines of its tables; `projection` also policy and value, end-to-end, soft attention.
    projection: PositiveInt = 512  # a frame's feature -> this; policy and value: so do captions
    encoder: PositiveInt = 512  # Bi-LSTM over frames, each direction

    # HRL alone.
    manager_encoder: PositiveInt = 256  # the LSTM above the Bi-LSTM
    manager: PositiveInt = 256  # the manager's LSTM
    goal: PositiveInt = 16  # the manager's goal for a segment
    boundary_critic: PositiveInt = 128  # the boundary critic's GRU and word embedding
    critic_input: Literal["current", "previous"] = "current"  # z_t sees a_t (eq. 9), or only the words before (eq. 10)

    # Stack-Cap alone.
    stages: Annotated[int, Field(ge=2)] = 3  # the coarse decoder and the fine ones

    # End-to-end alone (Li and Gong).
    attributes: PositiveInt = 400  # how many are predicted at most
