"""A paper's tables and figures."""

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, model_validator

from captionrl.config.base import Name, Strict

# fmt: off
Metric = Literal[
    "BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr-D", "SPICE", "Embedding",
    "Div-1", "Div-2", "mBleu-4", "self-CIDEr",
]
# fmt: on
CAPTION_METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr-D", "SPICE", "Embedding")
SET_METRICS = ("CIDEr-D", "Div-1", "Div-2", "mBleu-4", "self-CIDEr")  # of several captions an item
SETS = ("rs", "bs")  # sampled at random, the beam's best
GREEDY, LOOK_AHEAD = "greedy", "la"


def split_system(system: str) -> tuple[str, str]:
    """The run and the decoding of a system.

    RUN captions by beam search, RUN.stage0 likewise with the words of Stack-Cap's coarse stage, RUN.stage1 with those
    of the next one; RUN.greedy always writes the most probable word, and RUN.la looks ahead with a value network.
    RUN.rs and RUN.bs write sets of captions.
    """
    run, _, decoding = system.partition(".")
    return run, decoding


def is_set(system: str) -> bool:
    """Whether a system writes several captions an item."""
    return split_system(system)[1] in SETS


def is_described(system: str) -> bool:
    """Whether figures caption items with a system's weights, and so see how it does it; of others they show files."""
    return split_system(system)[1] not in (*SETS, GREEDY, LOOK_AHEAD)


def stage_of(system: str) -> int | None:
    """The stage whose words a system writes, where they are not the last one's."""
    _, decoding = split_system(system)
    return int(decoding.removeprefix("stage")) if decoding.startswith("stage") else None


def decoded_as(run: str, system: str) -> str:
    """What has `run`'s weights and is compared with `system`: a set with a set, greedy captions with greedy ones.

    All others are compared with a beam search's.
    """
    decoding = split_system(system)[1]
    return f"{run}.{decoding}" if decoding in (*SETS, GREEDY) else run


class Row(Strict):
    """A row of a table: a system of ours, one whose numbers are cited, or both side by side."""

    method: str
    run: str | None = None  # RUN, or RUN.DECODING: see split_system
    cited: list[float | None] | None = None
    control: str | None = None  # the run that is its own compute-matched XE, where the table's is another model
    note: str = ""


class Comparison(Strict):
    """A difference between two systems worth an interval of its own."""

    run: str
    to: str
    what: str  # what the difference shows


class Table(Strict):
    title: str
    corpus: str
    metrics: list[Metric]
    baseline: str  # the run that the others are tested against, decoded_as they are
    control: str  # the compute-matched XE, against which they are tested too, likewise
    rows: list[Row]
    comparisons: list[Comparison] = Field(default=[])
    on_request: bool = False  # not built with the paper's other tables, only when asked for by name


class CitedMethod(Strict):
    """A method on a leaderboard: its numbers by column, each list in the order of the metrics."""

    method: str
    cited: dict[str, list[float | None]]


class Leaderboard(Strict):
    """A table that only a server can fill: what it said of others, and the run whose captions are written for it."""

    title: str
    corpus: str
    run: str
    server: str  # where to upload
    metrics: list[Metric]
    columns: list[str] = Field(min_length=1)  # of every metric
    rows: list[CitedMethod]


class Method(Strict):
    """A run of ours, or in examples any system, under the name that figures give it."""

    method: str
    run: str


class CurvesFigure(Strict):
    """Validation scores over a run's training, its phases one after the other."""

    title: str
    corpus: str
    methods: list[Method] = Field(min_length=1)


class ExamplesFigure(Strict):
    """Test items with the captions of several systems; of sets, with all that are in them."""

    title: str
    corpus: str
    methods: list[Method] = Field(min_length=1)
    items: PositiveInt = 4  # those whose ids have the smallest SHA-256
    frames: PositiveInt = 5  # shown of a clip
    attributes: Annotated[int, Field(ge=0)] = 0  # the most probable ones, as the last method's run tells them
    references: Annotated[int, Field(ge=0)] = 3  # the first of an item


class AttentionFigure(Strict):
    """Where an HRL run looks during each segment of its captions of test items."""

    title: str
    corpus: str
    run: str
    items: PositiveInt = 4  # as of ExamplesFigure


class StagesFigure(Strict):
    """What each of Stack-Cap's stages says of test items, and where the fine ones look at each word of the last."""

    title: str
    corpus: str
    run: str
    items: PositiveInt = 4  # as of ExamplesFigure


class ValuesFigure(Strict):
    """What a run's value network expects of good and bad captions of test items, word by word."""

    title: str
    corpus: str
    run: str
    items: Annotated[int, Field(ge=2)] = 4  # as of ExamplesFigure


class TradeoffFigure(Strict):
    """One metric of a table against another, a point a row of ours."""

    title: str
    corpus: str  # the table's
    table: str
    x: str
    y: str


class Figures(Strict):
    """A paper's figures by kind and name; they are drawn with the first seed, curves with all."""

    curves: dict[Name, CurvesFigure] = Field(default={})
    examples: dict[Name, ExamplesFigure] = Field(default={})
    attention: dict[Name, AttentionFigure] = Field(default={})
    stages: dict[Name, StagesFigure] = Field(default={})
    values: dict[Name, ValuesFigure] = Field(default={})
    tradeoffs: dict[Name, TradeoffFigure] = Field(default={})

    @property
    def kinds(self) -> dict[str, dict[str, Any]]:
        """{kind: {name: figure}}"""
        return {kind: getattr(self, kind) for kind in type(self).model_fields}

    @property
    def names(self) -> list[str]:
        """Of all figures, in their order on the page."""
        return sorted(name for figures in self.kinds.values() for name in figures)

    @property
    def captioners(self) -> list[tuple[str, str]]:
        """Every (corpus, run) that captions test items for a figure, each once."""
        looking: list[AttentionFigure | StagesFigure | ValuesFigure]
        looking = [*self.attention.values(), *self.stages.values(), *self.values.values()]
        pairs = [*self._shown, *((figure.corpus, figure.run) for figure in looking)]
        return list(dict.fromkeys((corpus, split_system(name)[0]) for corpus, name in pairs if is_described(name)))

    @property
    def predicted(self) -> list[tuple[str, str]]:
        """Every (corpus, system) of which the predictions are shown, each once."""
        return list(dict.fromkeys((corpus, system) for corpus, system in self._shown if not is_described(system)))

    @property
    def _shown(self) -> list[tuple[str, str]]:
        return [(figure.corpus, method.run) for figure in self.examples.values() for method in figure.methods]

    @property
    def learners(self) -> list[tuple[str, str]]:
        """Every (corpus, run) whose training is drawn as a curve, each once."""
        pairs = [(figure.corpus, method.run) for figure in self.curves.values() for method in figure.methods]
        return list(dict.fromkeys(pairs))

    @model_validator(mode="after")
    def _distinct(self) -> "Figures":
        for name in self.names:
            if self.names.count(name) > 1:
                raise ValueError(f"figures: two are called {name}; every figure is a file of its own")
        return self
