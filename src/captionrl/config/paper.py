"""papers/<paper>.yaml: corpora, sizes, phases, runs, tables and figures of one paper, and what follows from them."""

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, model_validator

from captionrl.config.base import Backbone, Name, Positive, Share, Strict, known, within
from captionrl.config.methods import MODELS, OBJECTIVES, ModelSpec, trained_by
from captionrl.config.phases import (
    AnyPhase,
    EndToEndPhase,
    MixedRewardPhase,
)
from captionrl.config.results import (
    CAPTION_METRICS,
    GREEDY,
    LOOK_AHEAD,
    SET_METRICS,
    SETS,
    Figures,
    Leaderboard,
    Table,
    decoded_as,
    is_set,
    split_system,
)


class CorpusSettings(Strict):
    max_frames: PositiveInt  # the encoder's fixed step count
    max_words: PositiveInt  # of a caption, </s> not counted
    min_count: PositiveInt  # a word rarer than this in the training captions becomes <unk>
    segmentation: Literal["corenlp", "grammar", "shallow"] = "corenlp"  # what cuts captions into chunks
    tagger: Literal["corenlp", "dictionary"] = "corenlp"  # what tells nouns, verbs and adjectives, for attributes
    backbone: Backbone | None = None  # another one than the paper's
    sizes: dict[str, Any] = Field(default={})  # laid over the paper's sizes for this corpus
    phases: dict[str, dict[str, Any]] = Field(default={})  # likewise over its phases


class Sizes(Strict):
    """Widths of the captioners of one paper; one set for all rows of a table, but for what a row is about.

    What one method alone has, has that paper's value where another paper leaves it out.
    """

    decoder: PositiveInt  # LSTM; HRL: the worker's
    attention: PositiveInt  # Bahdanau attention's hidden layer
    embedding: PositiveInt  # words
    dropout: Annotated[float, Field(ge=0, lt=1)]
    init: Positive  # every parameter starts uniform in [-init, init]
    projection: PositiveInt = 512  # a frame's feature -> this; Shi et al.: so do captions
    encoder: PositiveInt = 512  # likewise: Bi-LSTM, each direction
    manager_encoder: PositiveInt = 256  # HRL: the LSTM above it
    manager: PositiveInt = 256  # HRL: the manager's LSTM
    goal: PositiveInt = 16  # HRL
    attributes: PositiveInt = 400  # Li and Gong: how many are told at most
    stages: Annotated[int, Field(ge=2)] = 3  # Stack-Cap: the coarse decoder and the fine ones
    boundary_critic: PositiveInt = 128  # HRL: the internal critic's GRU and word embedding
    critic_input: Literal["current", "previous"] = (
        "current"  # HRL: does z_t see a_t (eq. 9) or only those before (eq. 10)?
    )


class Run(Strict):
    """One trained system."""

    model: str  # one of MODELS of config/methods.py
    phases: list[str] = Field(min_length=1)  # trained in this order
    start: Annotated[str | None, Field(alias="from")] = None  # the run whose last phase the first one starts from
    visual_input: bool = True  # false: a control that is shown the same zero features for every item
    sizes: dict[str, Any] = Field(default={})  # laid over the paper's and the corpus' sizes
    backbone: Backbone | None = None  # another one than the corpus'


class Paper(Strict):
    """papers/<paper>.yaml at one scale."""

    paper: Annotated[str, Field(pattern=r"^[a-z0-9]+([-_][a-z0-9]+)*$")]
    title: str
    backbone: Backbone
    fps: Positive
    corpora: dict[str, CorpusSettings]
    sizes: Sizes
    phases: dict[Name, AnyPhase]
    runs: dict[Name, Run]
    beam: PositiveInt
    look_ahead: Share | None = None  # the log-probability's weight in look-ahead search; the rest is the value's
    reward_model: Name | None = None  # the run whose embedding the metric Embedding is about
    tables: dict[Name, Table]
    figures: Figures = Figures()
    leaderboards: dict[Name, Leaderboard] = Field(default={})  # one at most

    @model_validator(mode="after")
    def _drawable(self) -> "Paper":
        for kind, figures in self.figures.kinds.items():
            for name, figure in figures.items():
                place = f"figures.{kind}.{name}"
                known(figure.corpus, self.corpora, f"{place}.corpus", "corpus")
                for index, method in enumerate(getattr(figure, "methods", [])):
                    self._check_decoding(method.run, figure.corpus, f"{place}.methods[{index}].run")
                    if kind != "examples" and split_system(method.run)[1]:
                        raise ValueError(
                            f"{place}.methods[{index}].run: {method.run}: curves are of runs; leave the decoding out"
                        )
        for name, tradeoff in self.figures.tradeoffs.items():
            place = f"figures.tradeoffs.{name}"
            known(tradeoff.table, self.tables, f"{place}.table", "table")
            table = self.tables[tradeoff.table]
            if tradeoff.corpus != table.corpus:
                raise ValueError(f"{place}.corpus: {tradeoff.table} is about {table.corpus}; give that")
            for key, metric in (("x", tradeoff.x), ("y", tradeoff.y)):
                known(metric, dict.fromkeys(map(str, table.metrics)), f"{place}.{key}", "metric")
        for name, figure in self.figures.attention.items():
            known(figure.run, self.runs, f"figures.attention.{name}.run", "run")
            if not self.model_of(figure.run).hierarchical or not self.runs[figure.run].visual_input:
                raise ValueError(f"figures.attention.{name}.run: {figure.run} has no segments; give a run of HRL")
        for name, stages in self.figures.stages.items():
            known(stages.run, self.runs, f"figures.stages.{name}.run", "run")
            if not self.model_of(stages.run).stages or not self.runs[stages.run].visual_input:
                raise ValueError(f"figures.stages.{name}.run: {stages.run} has no stages; give a run of Stack-Cap")
        for name, values in self.figures.values.items():
            place = f"figures.values.{name}.run"
            known(values.run, self.runs, place, "run")
            sees, last = self.runs[values.run].visual_input, self.runs[values.run].phases[-1]
            if not sees or not isinstance(self.phases.get(last), MixedRewardPhase):
                what = "give a run that sees, and ends with a phase of objective value or actor-critic"
                raise ValueError(f"{place}: {values.run} has no value network that was taught what it sees; {what}")
        for corpus, run in [*self.figures.captioners, *self.figures.predicted, *self.figures.learners]:
            if not self.model_of(split_system(run)[0]).captions:
                raise ValueError(f"figures: {run} on {corpus} writes no captions; give a run that does")
        return self

    @model_validator(mode="after")
    def _whole(self) -> "Paper":
        for name, run in self.runs.items():
            known(run.model, MODELS, f"runs.{name}.model", "model")
            for phase in run.phases:
                known(phase, self.phases, f"runs.{name}.phases", "phase")
                wanted = trained_by(self.phases[phase].objective)
                if run.model not in wanted:
                    raise ValueError(f"runs.{name}.phases: {phase} teaches no {run.model}, only {', '.join(wanted)}")
            if run.start is not None:
                known(run.start, self.runs, f"runs.{name}.from", "run")
                if self.runs[run.start].model not in (run.model, self.model_of(name).starts_from):
                    raise ValueError(f"runs.{name}.from: {run.start} is another model; weights do not fit")
            elif first := self.model_of(name).starts_from:
                raise ValueError(f"runs.{name}.from: is missing; {run.model} starts from a run of model {first}")
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
                self._check_system(row.run, table, f"{place}.run")
                if row.control is not None:
                    known(row.control, self.runs, f"{place}.control", "run")
                if row.cited is not None and len(row.cited) != len(table.metrics):
                    raise ValueError(f"{place}.cited: {len(row.cited)} numbers for {len(table.metrics)} metrics")
            for index, comparison in enumerate(table.comparisons):
                for key, system in (("run", comparison.run), ("to", comparison.to)):
                    self._check_system(system, table, f"tables.{name}.comparisons[{index}].{key}")
            for system in self.systems_of(name):
                if not self.model_of(split_system(system)[0]).captions:
                    raise ValueError(f"tables.{name}: {system} writes no captions; give a run that does")
        for corpus, settings in self.corpora.items():  # used or not
            for name in settings.phases:
                known(name, self.phases, f"corpora.{corpus}.phases", "phase")
                self.phase_of(name, corpus)
            within(Sizes, self.sizes, settings.sizes, f"corpora.{corpus}.sizes")
        for name, run in self.runs.items():
            within(Sizes, self.sizes, run.sizes, f"runs.{name}.sizes")
            for corpus in self.corpora:
                backbone, sees = self.backbone_of(corpus, name), self.model_of(name).cnn
                if self.model_of(name).captions and backbone.endswith("-frames") != sees:
                    what = "frames, to see for itself" if sees else "features, for it has no CNN to see with"
                    raise ValueError(
                        f"runs.{name}: {run.model} on {corpus} wants {what}; {backbone} are not; set backbone"
                    )
        return self

    @model_validator(mode="after")
    def _judged(self) -> "Paper":
        if self.reward_model is not None:
            known(self.reward_model, self.runs, "reward_model", "run")
            if not self.runs[self.reward_model].visual_input or not self.taught(self.reward_model, "embedding"):
                raise ValueError(
                    f"reward_model: {self.reward_model} has learned no embedding of pictures; give a run that has"
                )
        for name, run in self.runs.items():
            for phase in (self.phases[phase] for phase in run.phases):
                if (
                    isinstance(phase, MixedRewardPhase)
                    and phase.embedding_weight > 0
                    and not self.taught(name, "embedding")
                ):
                    raise ValueError(
                        f"runs.{name}: its reward is of an embedding that nothing has taught; start from one"
                    )
        for name, table in self.tables.items():
            if "Embedding" in table.metrics and self.reward_model is None:
                raise ValueError(
                    f"tables.{name}.metrics: Embedding needs a reward_model, the run whose embedding it is about; add that key"
                )
        for name, examples in self.figures.examples.items():
            last = split_system(examples.methods[-1].run)[0]
            taught = [phase for _, phase in self.ancestry(last) if self.needs_attributes(phase, examples.corpus)]
            if examples.attributes and not taught:
                what = "give a run whose phases have alpha below 1 as the last of methods, or set attributes to 0"
                raise ValueError(f"figures.examples.{name}.attributes: nothing has taught {last} any; {what}")
        return self

    @model_validator(mode="after")
    def _submittable(self) -> "Paper":
        if len(self.leaderboards) > 1:
            raise ValueError("leaderboards: give one; the server's files are called after the paper")
        for name, board in self.leaderboards.items():
            place = f"leaderboards.{name}"
            if not self.paper.isalnum():
                raise ValueError(f"{place}: the server's files are called after {self.paper}; letters and digits alone")
            if name in self.tables:
                raise ValueError(f"{place}: a table is called {name}, too; every table is a file of its own")
            known(board.corpus, self.corpora, f"{place}.corpus", "corpus")
            known(board.run, self.runs, f"{place}.run", "run")
            if not self.model_of(board.run).captions:
                raise ValueError(f"{place}.run: {board.run} writes no captions; give a run that does")
            for index, row in enumerate(board.rows):
                if row.cited.keys() != set(board.columns):
                    raise ValueError(
                        f"{place}.rows[{index}].cited: must be of {', '.join(board.columns)}, and no other"
                    )
                for column in board.columns:
                    if len(row.cited[column]) != len(board.metrics):
                        what = f"{len(row.cited[column])} numbers for {len(board.metrics)} metrics"
                        raise ValueError(f"{place}.rows[{index}].cited.{column}: {what}")
        return self

    def _check_system(self, system: str | None, table: Table, place: str) -> None:
        if system is None:
            return
        self._check_decoding(system, table.corpus, place)
        measured = SET_METRICS if is_set(system) else CAPTION_METRICS
        if strange := [metric for metric in table.metrics if metric not in measured]:
            what = "a set of captions" if is_set(system) else "single captions (RUN.rs and RUN.bs are sets)"
            raise ValueError(f"{place}: {system} is {what}, and has no {', '.join(strange)}")

    def _check_decoding(self, system: str, corpus: str, place: str) -> None:
        run, decoding = split_system(system)
        known(run, self.runs, place, "run")
        known(decoding, dict.fromkeys(self.decodings_of(run, corpus)), place, "decoding")
        if decoding == LOOK_AHEAD and self.look_ahead is None:
            raise ValueError(f"{place}: {system} needs look_ahead, the log-probability's weight in it; add that key")
        if decoding == LOOK_AHEAD and not self.taught(run, "value", "actor-critic"):
            raise ValueError(f"{place}: nothing has taught the value network of {run}; give a run with one")

    def model_of(self, run: str) -> ModelSpec:
        return MODELS[self.runs[run].model]

    def decodings_of(self, run: str, corpus: str) -> list[str]:
        """What may stand after a run's name and a dot, or, the first one, nothing: its last stage's best captions."""
        stages = self.sizes_of(run, corpus).stages if self.model_of(run).stages else 1
        judged = [LOOK_AHEAD] if self.model_of(run).value_network else []
        return ["", *SETS, GREEDY, *judged, *(f"stage{stage}" for stage in range(stages - 1))]

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
        return mine.objective == "boundaries" or (mine.objective == "xe" and mine.boundaries == "truth")

    def needs_attributes(self, phase: str, corpus: str) -> bool:
        """Whether a phase learns what attributes clips have."""
        mine = self.phase_of(phase, corpus)
        return isinstance(mine, EndToEndPhase) and mine.alpha < 1

    def backbone_of(self, corpus: str, run: str) -> Backbone:
        return self.runs[run].backbone or self.corpora[corpus].backbone or self.backbone

    def backbones_of(self, corpus: str) -> list[Backbone]:
        """Those whose features of a corpus the runs of the paper's tables see, each once."""
        tables = [name for name, table in self.tables.items() if table.corpus == corpus]
        return list(dict.fromkeys(self.backbone_of(corpus, run) for name in tables for run in self.runs_of(name)))

    def systems_of(self, table: str) -> list[str]:
        """Every system that a table needs, RUN or RUN.DECODING, each once."""
        facts = self.tables[table]
        systems = [system for comparison in facts.comparisons for system in (comparison.run, comparison.to)]
        for row in facts.rows:
            if row.run:
                compared = (facts.baseline, row.control or facts.control)
                systems += [row.run, *(decoded_as(run, row.run) for run in compared)]
        return list(dict.fromkeys(systems))

    def runs_of(self, table: str) -> list[str]:
        """Every run that a table needs, each once."""
        reward_model = [self.reward_model] if self.reward_model and "Embedding" in self.tables[table].metrics else []
        return list(dict.fromkeys([*(split_system(system)[0] for system in self.systems_of(table)), *reward_model]))

    def training_config(self, run: str, phase: str, corpus: str) -> dict[str, Any]:
        """Everything in this file that the weights of a phase depend on, besides the checkpoint it starts from."""
        return {
            "run": self.runs[run].model_dump(include={"model", "visual_input"}),
            "phase": self.phase_of(phase, corpus).model_dump(),
            "sizes": self.sizes_of(run, corpus).model_dump(),
            "corpus": self.corpora[corpus].model_dump(include={"max_frames", "max_words"}),
        }

    def methods_of(self, run: str, phase: str | None = None) -> tuple[str, ...]:
        """MODULE:NAME of a run's model, and of what teaches it in a phase: what its code version is about, too."""
        learner = (OBJECTIVES[self.phases[phase].objective].path,) if phase else ()
        return self.model_of(run).path, *learner

    def lineage(self, run: str) -> list[tuple[str, str]]:
        """Every (run, phase) that taught the captioner of a run to caption, the first one first."""
        return [at for at in self.ancestry(run) if OBJECTIVES[self.phases[at[1]].objective].captions]

    def ancestry(self, run: str) -> list[tuple[str, str]]:
        """Every (run, phase) whose weights are in those of a run, its own last phase the last one."""
        phases: list[tuple[str, str]] = []
        at: tuple[str, str] | None = (run, self.runs[run].phases[-1])
        while at is not None:
            phases.insert(0, at)
            at = self.start_of(*at)
        return phases

    def taught(self, run: str, *objectives: str) -> bool:
        """Whether a phase with one of these objectives is among those of a run or of what it starts from."""
        return any(self.phases[phase].objective in objectives for _, phase in self.ancestry(run))

    def start_of(self, run: str, phase: str) -> tuple[str, str] | None:
        """(run, phase) whose checkpoint `phase` of `run` starts from; None: from nothing."""
        phases, start = self.runs[run].phases, self.runs[run].start
        position = phases.index(phase)
        if position:
            return run, phases[position - 1]
        return (start, self.runs[start].phases[-1]) if start else None
