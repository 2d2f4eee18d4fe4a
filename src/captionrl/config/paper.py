"""papers/<paper>/: corpora, sizes, phases, runs, tables and figures of one paper, and what follows from them."""

from __future__ import annotations

from itertools import product
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from captionrl.config.any_phase import AnyPhase
from captionrl.config.backbones import FRAMES, backbone_spec
from captionrl.config.base import (
    MOST_CAPTIONS,
    Backbone,
    Name,
    Positive,
    Share,
    Strict,
    complaint,
    known,
    unknown_key,
    within,
)
from captionrl.config.corpus import CorpusSettings
from captionrl.config.figures import Figures
from captionrl.config.methods import MODELS, ModelSpec, model_spec, objective_spec, trained_by
from captionrl.config.phases import (
    BoundaryPhase,
    EmbeddingPhase,
    EndToEndPhase,
    HRLPhase,
    Phase,
    RewardPhase,
    ValuePhase,
    XEPhase,
)
from captionrl.config.rewards import REWARDS
from captionrl.config.sizes import HRLSizes, Sizes, StackCapSizes
from captionrl.config.systems import GREEDY, LOOKAHEAD, RERANKED, SETS, decoded_as, split_system
from captionrl.config.tables import Leaderboard, Table
from captionrl.dotted import is_dotted
from captionrl.errors import UserError

PICTURED = {"embedding", "CLIPScore"}  # rewards that compare captions with pictures


class Run(Strict):
    """One trained system."""

    model: str  # one of MODELS of config/methods.py, or a class of your own, MODULE:NAME
    phases: list[str] = Field(min_length=1)  # trained in this order
    start: Annotated[str | None, Field(alias="from")] = None  # the run whose last phase the first one starts from
    visual_input: bool = True  # false: a control that is shown the same zero features for every item
    sizes: dict[str, Any] = Field(default={})  # laid over the paper's and the corpus' sizes
    backbone: Backbone | None = None  # another one than the corpus'

    def check(self, paper: Paper, name: str) -> None:
        """Whether the run's own keys fit the paper. Raises a ValueError that names the key below runs.`name`."""
        place = f"runs.{name}"
        if not is_dotted(self.model):
            known(self.model, MODELS, f"{place}.model", "model")
        try:
            model = model_spec(self.model)
        except UserError as error:
            raise ValueError(f"{place}.model: {error}") from None
        for phase in self.phases:
            known(phase, paper.phases, f"{place}.phases", "phase")
            if self.phases.count(phase) > 1:
                raise ValueError(
                    f"{place}.phases: {phase} stands there twice; give its second training a name of its own"
                )
            objective = paper.phases[phase].objective
            if not objective_spec(objective).trains(model):
                models = ", ".join(trained_by(objective))
                what = f"only {models} and your own of that kind"
                raise ValueError(f"{place}.phases: {phase} cannot train {self.model}, {what}")
        if self.start is not None:
            known(self.start, paper.runs, f"{place}.from", "run")
            if paper.runs[self.start].model not in (self.model, model.starts_from):
                raise ValueError(f"{place}.from: {self.start} is another model, whose weights do not fit")
        elif model.starts_from:
            raise ValueError(f"{place}.from: is missing; {self.model} starts from a run of model {model.starts_from}")
        for corpus in paper.corpora:
            backbone = paper.backbone_of(corpus, name)
            if model.captions and backbone.endswith(FRAMES) != model.cnn:
                what = "has a CNN and needs frames" if model.cnn else "has no CNN and needs features"
                fault = f"{self.model} {what}, which {backbone} on {corpus} does not give; set backbone"
                raise ValueError(f"{place}: {fault}")

    def check_start(self, paper: Paper, name: str) -> None:
        """Whether what the run starts from fits, once all runs are checked alone. Raises a ValueError likewise."""
        seen, run = {name}, self
        while run.start is not None:
            if run.start in seen:
                raise ValueError(f"runs.{name}.from: is a cycle of runs; let one of them start from none")
            seen.add(run.start)
            run = paper.runs[run.start]
        for phase, corpus in product(self.phases, paper.corpora):
            mine, (*before, _) = paper.phase_of(phase, corpus), paper.ancestry(name, phase)
            if "embedding" in paper.rewards_of(phase, corpus) and not paper.has_phase(name, EmbeddingPhase, phase):
                what = "let a phase of objective embedding come before it"
                raise ValueError(f"runs.{name}: the reward of {phase} has an embedding that is not trained; {what}")
            if not self.visual_input and (pictured := PICTURED & paper.rewards_of(phase, corpus).keys()):
                what = f"{min(pictured)}, the reward of {phase}, is of pictures, which the run is not shown"
                raise ValueError(f"runs.{name}: {what}; take visual_input: false out, or give another reward")
            explores = isinstance(mine, HRLPhase) and mine.manager_updates > 0 and mine.noise_scale == "goals"
            if explores and (not self.visual_input or mine.batch == 1):
                what = f"{phase} has noise on the scale by which goals differ between clips, and here none do"
                raise ValueError(f"runs.{name}: {what}; set noise_scale: absolute")
            trained = any(paper.phases[earlier].trains_value_network for _, earlier in before)
            if isinstance(mine, ValuePhase) and mine.from_embedding is None and trained:
                what = "give it from_embedding: false to go on, or true to begin again, in a phase of its own"
                raise ValueError(f"runs.{name}: {phase} would discard what its value network has learned; {what}")
            if isinstance(mine, ValuePhase) and mine.from_embedding is False and not trained:
                what = "has from_embedding: false, but no phase before it trains a value network; take that out"
                raise ValueError(f"runs.{name}: {phase} {what}")


class Paper(Strict):
    """A paper at one scale: papers/<paper>/paper.yaml, with what differs at that scale laid over it."""

    paper: Annotated[str, Field(pattern=r"^[a-z0-9]+([-_][a-z0-9]+)*$")]
    title: str
    backbone: Backbone
    fps: Positive
    corpora: dict[Name, CorpusSettings]
    sizes: dict[str, Any]  # of all its models: each gets those that it has
    phases: dict[Name, AnyPhase]
    runs: dict[Name, Run]
    beam: Annotated[int, Field(ge=1, le=MOST_CAPTIONS)]
    length_normalised: bool = False  # whether beam search ranks captions by their log-probability a token
    look_ahead: Share | None = None  # the log-probability's weight in look-ahead search; the rest is the value's
    reward_model: Name | None = None  # the run whose embedding the metric Embedding is about
    tables: dict[Name, Table]
    figures: Figures = Figures()
    leaderboards: dict[Name, Leaderboard] = Field(default={})  # one at most

    @model_validator(mode="after")
    def _check_references(self) -> Paper:
        """Whether all that one key says of another holds: each part checks itself, and needs those before it."""
        for name, run in self.runs.items():
            run.check(self, name)
        for name, run in self.runs.items():
            run.check_start(self, name)
        self._check_boundaries()
        self._check_sizes()
        for name, corpus in self.corpora.items():
            corpus.check(self, name)
        self._check_reward_model()
        for name, table in self.tables.items():
            table.check(self, f"tables.{name}")
        self.figures.check(self)
        self._check_leaderboards()
        return self

    def _check_boundaries(self) -> None:
        """Whether a phase that learns by true boundaries trains a run that can: of HRL, or perhaps of a user's own."""
        for phase, corpus in product(self.phases, self.corpora):
            mine, runs = self.phase_of(phase, corpus), [run for run in self.runs.values() if phase in run.phases]
            if not (runs and isinstance(mine, XEPhase) and mine.boundaries == "truth"):
                continue
            if not any(model_spec(run.model).hierarchical or is_dotted(run.model) for run in runs):
                models = ", ".join(dict.fromkeys(run.model for run in runs))
                what = f"truth on {corpus}, but {models} has no segments; take it out"
                raise ValueError(f"phases.{phase}.boundaries: {what}")

    def _check_sizes(self) -> None:
        """Whether every size is one of some model, and every model gets those that it needs."""
        sizes = {size for run in self.runs for size in self.model_of(run).sizes.model_fields}
        places = {"sizes": self.sizes, **{f"corpora.{name}.sizes": at.sizes for name, at in self.corpora.items()}}
        for place, given in places.items():
            for size in given:
                if size not in sizes:
                    fix = unknown_key(size, sizes, "no run's model has this key")
                    raise ValueError(f"{place}.{size}: {fix}")
        for name, run in self.runs.items():
            for corpus, settings in self.corpora.items():
                try:
                    self._check_goals(name, corpus)
                except ValidationError as error:
                    wrong = error.errors()[0]["loc"][:1]
                    laid = {f"runs.{name}.sizes": run.sizes, f"corpora.{corpus}.sizes": settings.sizes}
                    place = next((place for place, given in laid.items() if given.keys() & set(wrong)), "sizes")
                    raise ValueError(complaint(error, self.model_of(name).sizes, place)) from None

    def _check_goals(self, name: str, corpus: str) -> None:
        """Whether a manager that learns sets goals. Raises a ValueError, or a ValidationError of sizes."""
        sizes = self.sizes_of(name, corpus)
        if not isinstance(sizes, HRLSizes) or sizes.goal > 0:
            return
        for phase in self.runs[name].phases:
            mine = self.phase_of(phase, corpus)
            if isinstance(mine, HRLPhase) and mine.manager_updates > 0:
                what = f"sizes have goal: 0, so {phase} has nothing to teach the manager"
                raise ValueError(f"runs.{name}: its {what}; set manager_updates: 0 in that phase, or a goal")

    def _check_reward_model(self) -> None:
        if self.reward_model is None:
            return
        known(self.reward_model, self.runs, "reward_model", "run")
        if not (self.runs[self.reward_model].visual_input and self.has_phase(self.reward_model, EmbeddingPhase)):
            what = f"{self.reward_model} has no trained embedding of pictures"
            raise ValueError(f"reward_model: {what}; give a run with visual input and a phase of objective embedding")

    def _check_leaderboards(self) -> None:
        if len(self.leaderboards) > 1:
            raise ValueError("leaderboards: give one; the server's files are named after the paper")
        for name, board in self.leaderboards.items():
            if name in self.tables:
                raise ValueError(
                    f"leaderboards.{name}: a table is called {name}, too; every table is a file of its own"
                )
            board.check(self, f"leaderboards.{name}")

    def check_system(self, system: str, corpus: str, place: str) -> None:
        """Raises a ValueError that names `place` where no run of the paper can write captions of `corpus` so."""
        run, decoding = split_system(system)
        known(run, self.runs, place, "run")
        if not self.model_of(run).captions:
            raise ValueError(f"{place}: {run} writes no captions; give a run that does")
        if system != run:
            known(decoding, self.decodings_of(run, corpus), place, "decoding")
        if decoding == LOOKAHEAD and self.look_ahead is None:
            raise ValueError(f"{place}: {system} needs look_ahead, the log-probability's weight in it; add that key")
        if decoding == LOOKAHEAD and not any(self.phases[at].trains_value_network for _, at in self.ancestry(run)):
            what = "give a run with a phase of objective value or actor-critic"
            raise ValueError(f"{place}: the value network of {run} is not trained; {what}")
        if decoding == RERANKED and not self.has_phase(run, EmbeddingPhase):
            what = "give a run with a phase of objective embedding"
            raise ValueError(f"{place}: the embedding of {run} is not trained; {what}")

    def model_of(self, run: str) -> ModelSpec:
        return model_spec(self.runs[run].model)

    def decodings_of(self, run: str, corpus: str) -> list[str]:
        """What may stand after a run's name and a dot; a run alone is its last stage's best captions."""
        sizes = self.sizes_of(run, corpus)
        stages = sizes.stages if isinstance(sizes, StackCapSizes) else 1
        guided = [LOOKAHEAD, RERANKED] if self.model_of(run).value_network else []
        return [*SETS, GREEDY, *guided, *(f"stage{stage}" for stage in range(stages - 1))]

    def sizes_of(self, run: str, corpus: str) -> Sizes:
        """What a run's model reads of the sizes: the paper's, the corpus' over them, the run's over both."""
        kind, shared = self.model_of(run).sizes, {**self.sizes, **self.corpora[corpus].sizes}
        own = {size: value for size, value in shared.items() if size in kind.model_fields}
        return kind.model_validate({**own, **self.runs[run].sizes})

    @property
    def default_sizes(self) -> dict[str, Any]:
        """The default of every size that has one; where models differ in it, the first run's."""
        kinds = [self.model_of(run).sizes for run in reversed(self.runs)]
        fields = [(name, field) for kind in kinds for name, field in kind.model_fields.items()]
        return {name: field.get_default(call_default_factory=True) for name, field in fields if not field.is_required()}

    def phase_of(self, phase: str, corpus: str) -> AnyPhase:
        """A phase as it is on a corpus."""
        mine = self.phases[phase]
        return within(type(mine), mine, self.corpora[corpus].phases.get(phase, {}), f"corpora.{corpus}.phases.{phase}")

    def needs_segments(self, phase: str, corpus: str) -> bool:
        """Whether a phase learns from the ends of segments."""
        mine = self.phase_of(phase, corpus)
        return isinstance(mine, BoundaryPhase) or (isinstance(mine, XEPhase) and mine.boundaries == "truth")

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
                systems += [row.run, *(decoded_as(run, row.run) for run in compared if run)]
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

    def rewards_of(self, phase: str, corpus: str) -> dict[str, str]:
        """MODULE:NAME of each reward of a phase on a corpus, by its name in YAML; none where it has no reward."""
        mine = self.phase_of(phase, corpus)
        return {name: REWARDS.get(name, name) for name in mine.weights} if isinstance(mine, RewardPhase) else {}

    def methods_of(self, run: str) -> tuple[str, ...]:
        """MODULE:NAME of a run's model and of its CNN's loader: what the code version of its captions is about, too."""
        networks = {self.backbone_of(corpus, run) for corpus in self.corpora} if self.model_of(run).cnn else set()
        return self.model_of(run).path, *sorted({backbone_spec(network).loader for network in networks})

    def training_methods_of(self, run: str, phase: str, corpus: str) -> tuple[str, ...]:
        """Likewise of a training: of the run's model and CNN, the phase's learner and its rewards."""
        learner = objective_spec(self.phases[phase].objective).path
        return *self.methods_of(run), learner, *self.rewards_of(phase, corpus).values()

    def lineage(self, run: str) -> list[tuple[str, str]]:
        """Every (run, phase) that trained a run's model to write captions, the first one first."""
        return [at for at in self.ancestry(run) if objective_spec(self.phases[at[1]].objective).captions]

    def ancestry(self, run: str, phase: str | None = None) -> list[tuple[str, str]]:
        """Every (run, phase) whose weights are in those of a run's phase, by default its last; that one comes last."""
        phases: list[tuple[str, str]] = []
        at: tuple[str, str] | None = (run, phase or self.runs[run].phases[-1])
        while at is not None:
            phases.insert(0, at)
            at = self.start_of(*at)
        return phases

    def has_phase(self, run: str, kind: type[Phase], until: str | None = None) -> bool:
        """Whether a phase of this kind is among those of a run, up to `until`, or of what it starts from."""
        return any(isinstance(self.phases[phase], kind) for _, phase in self.ancestry(run, until))

    def start_of(self, run: str, phase: str) -> tuple[str, str] | None:
        """(run, phase) whose checkpoint `phase` of `run` starts from; None: from nothing."""
        phases, start = self.runs[run].phases, self.runs[run].start
        position = phases.index(phase)
        if position:
            return run, phases[position - 1]
        return (start, self.runs[start].phases[-1]) if start else None
