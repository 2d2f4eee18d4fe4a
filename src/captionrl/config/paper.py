"""papers/<paper>.yaml: corpora, sizes, phases, runs, tables and figures of one paper, and what follows from them."""

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, model_validator

from captionrl.config.base import Backbone, Name, Positive, Strict, known, within
from captionrl.config.methods import LEARNERS, MODELS
from captionrl.config.phases import LEARNS, AnyPhase
from captionrl.config.results import Figures, Table


class CorpusSettings(Strict):
    max_frames: PositiveInt  # the encoder's fixed step count
    max_words: PositiveInt  # of a caption, </s> not counted
    min_count: PositiveInt  # a word rarer than this in the training captions becomes <unk>
    segmentation: Literal["corenlp", "grammar", "shallow"] = "corenlp"  # what cuts captions into chunks
    backbone: Backbone | None = None  # another one than the paper's
    sizes: dict[str, Any] = Field(default={})  # laid over the paper's sizes for this corpus
    phases: dict[str, dict[str, Any]] = Field(default={})  # likewise over its phases


class Sizes(Strict):
    """Widths of the captioners of one paper; one set for all rows of a table, but for what a row is about."""

    projection: PositiveInt  # frame feature -> this
    encoder: PositiveInt  # Bi-LSTM, each direction
    manager_encoder: PositiveInt  # HRL: the LSTM above it
    decoder: PositiveInt  # LSTM; HRL: the worker's
    manager: PositiveInt  # HRL: the manager's LSTM
    goal: PositiveInt  # HRL
    critic: PositiveInt  # HRL: the internal critic's GRU and word embedding
    critic_reads: Literal["this", "previous"]  # HRL: does z_t see a_t (eq. 9) or only the words before it (eq. 10)?
    attention: PositiveInt  # Bahdanau attention's hidden layer
    embedding: PositiveInt  # words
    dropout: Annotated[float, Field(ge=0, lt=1)]
    init: Positive  # every parameter starts uniform in [-init, init]


class Run(Strict):
    """One trained system."""

    model: Literal["attention", "soft-attention", "mean-pooling", "s2vt", "hrl", "critic"]
    phases: list[str] = Field(min_length=1)  # trained in this order
    start: Annotated[str | None, Field(alias="from")] = None  # the run whose last phase the first one starts from
    blind: bool = False  # a control without visual input
    sizes: dict[str, Any] = Field(default={})  # laid over the paper's and the corpus' sizes


class Paper(Strict):
    """papers/<paper>.yaml at one scale."""

    paper: Name
    title: str
    backbone: Backbone
    fps: Positive
    corpora: dict[str, CorpusSettings]
    sizes: Sizes
    phases: dict[Name, AnyPhase]
    runs: dict[Name, Run]
    beam: PositiveInt
    tables: dict[Name, Table]
    figures: Figures = Figures()

    @model_validator(mode="after")
    def _drawable(self) -> "Paper":
        for kind, figures in self.figures.kinds.items():
            for name, figure in figures.items():
                place = f"figures.{kind}.{name}"
                known(figure.corpus, self.corpora, f"{place}.corpus", "corpus")
                for index, method in enumerate(getattr(figure, "methods", [])):
                    known(method.run, self.runs, f"{place}.methods[{index}].run", "run")
        for name, figure in self.figures.attention.items():
            known(figure.run, self.runs, f"figures.attention.{name}.run", "run")
            if self.runs[figure.run].model != "hrl" or self.runs[figure.run].blind:
                raise ValueError(f"figures.attention.{name}.run: {figure.run} has no segments; give a run of HRL")
        for corpus, run in [*self.figures.captioners, *self.figures.learners]:
            if self.runs[run].model == "critic":
                raise ValueError(f"figures: {run} on {corpus} writes no captions; give a run that does")
        return self

    @model_validator(mode="after")
    def _whole(self) -> "Paper":
        for name, run in self.runs.items():
            for phase in run.phases:
                known(phase, self.phases, f"runs.{name}.phases", "phase")
                wanted = LEARNS[self.phases[phase].objective]
                if run.model not in wanted:
                    raise ValueError(f"runs.{name}.phases: {phase} teaches no {run.model}, only {', '.join(wanted)}")
            if run.start is not None:
                known(run.start, self.runs, f"runs.{name}.from", "run")
                if self.runs[run.start].model not in (run.model, *(["critic"] if run.model == "hrl" else [])):
                    raise ValueError(f"runs.{name}.from: {run.start} is another model; weights do not fit")
            elif run.model == "hrl":
                raise ValueError(f"runs.{name}.from: is missing; hrl starts from a run of its critic")
            seen = {name}
            while run.start is not None:
                if run.start in seen:
                    raise ValueError(f"runs.{name}.from: goes round in a circle; let one run start from nothing")
                seen.add(run.start)
                run = self.runs[run.start]
        for name, table in self.tables.items():
            known(table.corpus, self.corpora, f"tables.{name}.corpus", "corpus")
            known(table.baseline, self.runs, f"tables.{name}.baseline", "run")
            known(table.control, self.runs, f"tables.{name}.control", "run")
            for index, row in enumerate(table.rows):
                place = f"tables.{name}.rows[{index}]"
                if row.run is None and row.cited is None:
                    raise ValueError(f"{place}: {row.method} has neither run nor cited; give one of them")
                for key, run_name in (("run", row.run), ("control", row.control)):
                    if run_name is not None:
                        known(run_name, self.runs, f"{place}.{key}", "run")
                if row.cited is not None and len(row.cited) != len(table.metrics):
                    raise ValueError(f"{place}.cited: {len(row.cited)} numbers for {len(table.metrics)} metrics")
            for index, contrast in enumerate(table.contrasts):
                for key, run_name in (("run", contrast.run), ("to", contrast.to)):
                    known(run_name, self.runs, f"tables.{name}.contrasts[{index}].{key}", "run")
            for run_name in self.runs_of(name):
                if self.runs[run_name].model == "critic":
                    raise ValueError(f"tables.{name}: {run_name} writes no captions; give a run that does")
        for corpus, settings in self.corpora.items():  # used or not
            for name in settings.phases:
                known(name, self.phases, f"corpora.{corpus}.phases", "phase")
                self.phase_of(name, corpus)
            within(Sizes, self.sizes, settings.sizes, f"corpora.{corpus}.sizes")
        for name, run in self.runs.items():
            within(Sizes, self.sizes, run.sizes, f"runs.{name}.sizes")
        return self

    def sizes_of(self, run: str, corpus: str) -> Sizes:
        """The widths of a run's layers on a corpus: the paper's, the corpus' over them, the run's over both."""
        laid = {**self.corpora[corpus].sizes, **self.runs[run].sizes}
        return within(Sizes, self.sizes, laid, f"sizes of runs.{run} on {corpus}")

    def phase_of(self, phase: str, corpus: str) -> AnyPhase:
        """A phase as it is on a corpus."""
        mine = self.phases[phase]
        return within(type(mine), mine, self.corpora[corpus].phases.get(phase, {}), f"corpora.{corpus}.phases.{phase}")

    def needs_segments(self, phase: str, corpus: str) -> bool:
        """Whether a phase learns from the ends of segments."""
        mine = self.phase_of(phase, corpus)
        return mine.objective == "critic" or (mine.objective == "xe" and mine.boundaries == "truth")

    def backbone_of(self, corpus: str) -> Backbone:
        return self.corpora[corpus].backbone or self.backbone

    def runs_of(self, table: str) -> list[str]:
        """Every run that a table needs, each once."""
        facts = self.tables[table]
        rows = [name for row in facts.rows for name in (row.run, row.control) if name]
        contrasted = [name for contrast in facts.contrasts for name in (contrast.run, contrast.to)]
        return list(dict.fromkeys([*rows, facts.baseline, facts.control, *contrasted]))

    def training_config(self, run: str, phase: str, corpus: str) -> dict[str, Any]:
        """Everything in this file that the weights of a phase depend on, besides the checkpoint it starts from."""
        return {
            "run": self.runs[run].model_dump(include={"model", "blind"}),
            "phase": self.phase_of(phase, corpus).model_dump(),
            "sizes": self.sizes_of(run, corpus).model_dump(),
            "corpus": self.corpora[corpus].model_dump(include={"max_frames", "max_words"}),
        }

    def methods_of(self, run: str, phase: str | None = None) -> tuple[str, ...]:
        """MODULE:NAME of a run's model, and of what teaches it in a phase: what its code version is about, too."""
        learner = (LEARNERS[self.phases[phase].objective],) if phase else ()
        return MODELS[self.runs[run].model], *learner

    def lineage(self, run: str) -> list[tuple[str, str]]:
        """Every (run, phase) that taught the captioner of a run to caption, the first one first."""
        phases: list[tuple[str, str]] = []
        at: tuple[str, str] | None = (run, self.runs[run].phases[-1])
        while at is not None and self.runs[at[0]].model != "critic":
            phases.insert(0, at)
            at = self.start_of(*at)
        return phases

    def start_of(self, run: str, phase: str) -> tuple[str, str] | None:
        """(run, phase) whose checkpoint `phase` of `run` starts from; None: from nothing."""
        phases, start = self.runs[run].phases, self.runs[run].start
        position = phases.index(phase)
        if position:
            return run, phases[position - 1]
        return (start, self.runs[start].phases[-1]) if start else None
