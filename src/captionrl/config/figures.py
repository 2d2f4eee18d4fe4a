"""A paper's figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveInt, model_validator

from captionrl.config.base import Name, Strict, known
from captionrl.config.systems import is_described, split_system

if TYPE_CHECKING:
    from captionrl.config.paper import Paper


class Figure(Strict):
    """What all figures share."""

    title: str
    corpus: str

    def check(self, paper: Paper, place: str) -> None:
        """Raises a ValueError that names the key below `place`."""
        known(self.corpus, paper.corpora, f"{place}.corpus", "corpus")


class Method(Strict):
    """A run of ours, or in examples any system, under the name that figures give it."""

    method: str
    run: str


class CurvesFigure(Figure):
    """Validation scores over a run's training, its phases one after the other."""

    methods: list[Method] = Field(min_length=1)

    def check(self, paper: Paper, place: str) -> None:
        super().check(paper, place)
        for index, method in enumerate(self.methods):
            at = f"{place}.methods[{index}].run"
            paper.check_system(method.run, self.corpus, at)
            if split_system(method.run)[1]:
                raise ValueError(f"{at}: {method.run}: curves are of runs; leave the decoding out")
            if not paper.lineage(method.run):
                raise ValueError(f"{at}: {method.run} is not trained to write captions; give a run that is")


class ExamplesFigure(Figure):
    """Test items with the captions of several systems; of sets, with all that are in them."""

    methods: list[Method] = Field(min_length=1)
    items: PositiveInt = 4  # those whose ids have the smallest SHA-256
    frames: PositiveInt = 5  # shown of a clip
    attributes: Annotated[int, Field(ge=0)] = 0  # the most probable ones, as predicted by the last method's run
    references: Annotated[int, Field(ge=0)] = 3  # the first of an item

    def check(self, paper: Paper, place: str) -> None:
        super().check(paper, place)
        for index, method in enumerate(self.methods):
            paper.check_system(method.run, self.corpus, f"{place}.methods[{index}].run")
        last, _ = split_system(self.methods[-1].run)
        if self.attributes and not any(paper.needs_attributes(phase, self.corpus) for _, phase in paper.ancestry(last)):
            what = "give a run whose phases have alpha below 1 as the last of methods, or set attributes to 0"
            raise ValueError(f"{place}.attributes: {last} is not trained to predict any; {what}")


class RunFigure(Figure):
    """A figure of test items that is about one run."""

    run: str
    items: PositiveInt = 4  # as of ExamplesFigure

    def check(self, paper: Paper, place: str) -> None:
        super().check(paper, place)
        known(self.run, paper.runs, f"{place}.run", "run")


class AttentionFigure(RunFigure):
    """Where an HRL run looks during each segment of its captions of test items."""

    def check(self, paper: Paper, place: str) -> None:
        super().check(paper, place)
        if not (paper.model_of(self.run).hierarchical and paper.runs[self.run].visual_input):
            raise ValueError(f"{place}.run: {self.run} has no segments with attention; give a run of HRL")


class StagesFigure(RunFigure):
    """What each of Stack-Cap's stages says of test items, and where the fine ones look at each word of the last."""

    def check(self, paper: Paper, place: str) -> None:
        super().check(paper, place)
        if not (paper.model_of(self.run).stages and paper.runs[self.run].visual_input):
            raise ValueError(f"{place}.run: {self.run} has no stages with attention; give a run of Stack-Cap")


class ValuesFigure(RunFigure):
    """What a run's value network expects of good and bad captions of test items, word by word."""

    items: Annotated[int, Field(ge=2)] = 4  # as of ExamplesFigure

    def check(self, paper: Paper, place: str) -> None:
        super().check(paper, place)
        run = paper.runs[self.run]
        if not (run.visual_input and paper.phases[run.phases[-1]].trains_value_network):
            what = "give a run with visual input that ends with a phase of objective value or actor-critic"
            raise ValueError(f"{place}.run: {self.run} has no value network trained on what it is shown; {what}")


class TradeoffFigure(Figure):
    """One metric of a table against another, a point a row of ours. Its corpus is the table's."""

    table: str
    x: str
    y: str

    def check(self, paper: Paper, place: str) -> None:
        super().check(paper, place)
        known(self.table, paper.tables, f"{place}.table", "table")
        table = paper.tables[self.table]
        if self.corpus != table.corpus:
            raise ValueError(f"{place}.corpus: {self.table} is about {table.corpus}; give that")
        for key, metric in (("x", self.x), ("y", self.y)):
            known(metric, table.metrics, f"{place}.{key}", "metric")


class Figures(Strict):
    """A paper's figures by kind and name; they are drawn with the first seed, curves with all."""

    curves: dict[Name, CurvesFigure] = Field(default={})
    examples: dict[Name, ExamplesFigure] = Field(default={})
    attention: dict[Name, AttentionFigure] = Field(default={})
    stages: dict[Name, StagesFigure] = Field(default={})
    values: dict[Name, ValuesFigure] = Field(default={})
    tradeoffs: dict[Name, TradeoffFigure] = Field(default={})

    @property
    def kinds(self) -> dict[str, dict[str, Figure]]:
        """{kind: {name: figure}}"""
        return {kind: getattr(self, kind) for kind in type(self).model_fields}

    @property
    def names(self) -> list[str]:
        """Of all figures, in their order on the page."""
        return sorted(name for figures in self.kinds.values() for name in figures)

    @property
    def captioners(self) -> list[tuple[str, str]]:
        """Every (corpus, run) whose checkpoint a figure of test items needs, each once."""
        drawn: list[RunFigure]
        drawn = [*self.attention.values(), *self.stages.values(), *self.values.values()]
        pairs = [(corpus, split_system(name)[0]) for corpus, name in self._shown if is_described(name)]
        pairs += [(figure.corpus, figure.run) for figure in drawn]
        with_attributes = (figure for figure in self.examples.values() if figure.attributes)
        pairs += [(figure.corpus, split_system(figure.methods[-1].run)[0]) for figure in with_attributes]
        return list(dict.fromkeys(pairs))

    @property
    def rewarded(self) -> list[tuple[str, str]]:
        """Every (corpus, run) whose reward is computed for a figure, each once."""
        return list(dict.fromkeys((figure.corpus, figure.run) for figure in self.values.values()))

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

    def check(self, paper: Paper) -> None:
        """Raises a ValueError that names the key."""
        for kind, figures in self.kinds.items():
            for name, figure in figures.items():
                figure.check(paper, f"figures.{kind}.{name}")

    @model_validator(mode="after")
    def _check_names(self) -> Figures:
        for name in self.names:
            if self.names.count(name) > 1:
                raise ValueError(f"two are called {name}; every figure is a file of its own")
        return self
