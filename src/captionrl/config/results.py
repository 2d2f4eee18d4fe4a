"""A paper's tables and figures."""

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, model_validator

from captionrl.config.base import Name, Strict


class Row(Strict):
    """A row of a table: a run of ours, a system whose numbers are cited, or both side by side."""

    method: str
    run: str | None = None
    cited: list[float] | None = None
    control: str | None = None  # its own equal-budget control, where the table's is another model
    note: str = ""


class Contrast(Strict):
    """A difference between two runs worth an interval of its own."""

    run: str
    to: str
    what: str  # what the difference shows


class Table(Strict):
    title: str
    corpus: str
    metrics: list[Literal["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr-D"]]
    baseline: str  # the run that the others are tested against
    control: str  # the equal-budget control, against which they are tested too
    rows: list[Row]
    contrasts: list[Contrast] = Field(default=[])
    on_request: bool = False  # not built with the paper's other tables, only when asked for by name


class Method(Strict):
    """A run of ours under the name that figures give it."""

    method: str
    run: str


class CurvesFigure(Strict):
    """Validation scores over a run's training, its phases one after the other."""

    title: str
    corpus: str
    methods: list[Method] = Field(min_length=1)


class ExamplesFigure(Strict):
    """Test items with the captions of several runs."""

    title: str
    corpus: str
    methods: list[Method] = Field(min_length=1)
    items: PositiveInt = 4  # those whose ids have the smallest SHA-256
    frames: PositiveInt = 5  # shown of a clip
    references: Annotated[int, Field(ge=0)] = 3  # the first of an item


class AttentionFigure(Strict):
    """Where an HRL run looks during each segment of its captions of test items."""

    title: str
    corpus: str
    run: str
    items: PositiveInt = 4  # as of ExamplesFigure


class Figures(Strict):
    """A paper's figures by kind and name; they are drawn with the first seed, curves with all."""

    curves: dict[Name, CurvesFigure] = Field(default={})
    examples: dict[Name, ExamplesFigure] = Field(default={})
    attention: dict[Name, AttentionFigure] = Field(default={})

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
        """Every (corpus, run) that captions test items, each once."""
        pairs = [(figure.corpus, method.run) for figure in self.examples.values() for method in figure.methods]
        return list(dict.fromkeys([*pairs, *((figure.corpus, figure.run) for figure in self.attention.values())]))

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
