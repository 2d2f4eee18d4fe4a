"""What can be configured: pydantic models of params.yaml and papers/*.yaml, the one place where defaults live.

`params.yaml` holds the knobs a user turns, `papers/<paper>.yaml` a paper's facts. A paper's `mini:` block is laid over
the rest at the mini scale, and `overrides: {<paper>: …}` of params.yaml over both. Every mistake in them is one
`UserError` that names the file, the key and the mend.
"""

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from captionrl.errors import UserError
from captionrl.files import decode_utf8, read_bytes

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Model = TypeVar("Model", bound=BaseModel)
Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Backbone = Literal["resnet152", "mini", "annotations"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Params(Strict):
    """params.yaml: the knobs a user turns."""

    scale: Literal["mini", "paper"] = "mini"
    seeds: list[Annotated[int, Field(ge=0)]] = Field([1, 2, 3], min_length=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    allowed_failures: Annotated[int, Field(ge=0)] = 0  # broken videos a corpus may have before its features fail
    overrides: dict[str, dict[str, Any]] = {}  # {paper: what to lay over papers/<paper>.yaml}

    @model_validator(mode="after")
    def _distinct(self) -> "Params":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: the same seed twice; every seed is one training")
        return self


class CorpusSettings(Strict):
    max_frames: PositiveInt  # the encoder's fixed step count
    max_words: PositiveInt  # of a caption, </s> not counted
    min_count: PositiveInt  # a word rarer than this in the training captions becomes <unk>
    segmentation: Literal["corenlp", "grammar", "shallow"] = "corenlp"  # what cuts captions into chunks
    backbone: Backbone | None = None  # another one than the paper's
    sizes: dict[str, Any] = {}  # laid over the paper's sizes for this corpus
    phases: dict[str, dict[str, Any]] = {}  # likewise over its phases


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


class ScheduledSampling(Strict):
    """The share of input words that are the model's own, over epochs (Bengio et al. 2015)."""

    start: NotNegative = 0  # epoch from which it grows
    per_epoch: Share = 0
    most: Share = 0

    def at(self, epoch: float) -> float:
        return min(self.most, max(0.0, (epoch - self.start) * self.per_epoch))


class Phase(Strict):
    """What all phases of training share. An epoch is a pass over all training captions."""

    epochs: Positive
    validate_every: Positive = 1  # epochs
    batch: PositiveInt = 64
    optimiser: Literal["adadelta", "adam"]
    learning_rate: Positive
    halve_after: PositiveInt | None = None  # validations without a new best before the rate is halved
    anneal: bool = False  # the rate falls linearly to zero, instead of by halves
    clip: Positive | None = None  # every gradient into [-clip, clip]


class XEPhase(Phase):
    objective: Literal["xe"]
    scheduled_sampling: ScheduledSampling = ScheduledSampling()
    boundaries: Literal["critic", "truth"] = "critic"  # HRL: whose boundaries hold under teacher forcing

    @model_validator(mode="after")
    def _own_words_have_no_truth(self) -> "XEPhase":
        if self.boundaries == "truth" and self.scheduled_sampling.most > 0:
            raise ValueError("boundaries: truth holds for a caption's own words; set scheduled_sampling.most to 0")
        return self


class CriticPhase(Phase):
    """The internal critic learns the segments' boundaries (HRL eq. 9, 10)."""

    objective: Literal["critic"]
    close_caption: bool  # whether a caption's last word ends a segment, so that </s> gets a goal of its own


class RewardPhase(Phase):
    """What both ways of reinforcement share: the reward of a caption."""

    reward: Literal["CIDEr-D", "BLEU-4"] = "CIDEr-D"
    eos_in_reward: bool  # whether </s> is a token of reward and references
    punctuation_in_reward: bool = False


class ReinforcePhase(RewardPhase):
    objective: Literal["reinforce"]
    baseline: Literal["linear", "greedy", "none"]


class HRLPhase(RewardPhase):
    """Worker and manager learn in turns, each from the change of the reward that its words bring (HRL section 3.3)."""

    objective: Literal["hrl"]
    discount: Share  # gamma of eq. 24 and 25: per word for the worker, per segment for the manager
    worker_turn: PositiveInt  # updates of the worker before it is the manager's turn; the worker begins
    manager_turn: Annotated[int, Field(ge=0)]  # updates of the manager before it is the worker's turn again
    manager_rate: Positive = 1.0  # the manager's share of the learning rate
    baseline_warmup: Annotated[int, Field(ge=0)] = 0  # first updates in which only the baselines learn
    noise: NotNegative  # standard deviation of the manager's exploration at first (eq. 23) ...
    noise_end: NotNegative  # ... and at the end; linear in between
    gradients_cross_segments: bool  # whether a goal also answers for the words of later segments


class BackbonePhase(Phase):
    """The mini backbone's training on attribute labels of rendered frames; an epoch is a pass over these frames."""

    objective: Literal["attributes"] = "attributes"
    epochs: Positive = 5
    batch: PositiveInt = 32
    optimiser: Literal["adadelta", "adam"] = "adam"
    learning_rate: Positive = 3e-3
    anneal: bool = True


AnyPhase = Annotated[XEPhase | CriticPhase | ReinforcePhase | HRLPhase, Field(discriminator="objective")]


LEARNS: dict[str, tuple[str, ...]] = {  # which models a phase can teach, by its objective
    "xe": ("attention", "soft-attention", "mean-pooling", "s2vt", "hrl"),
    "reinforce": ("attention", "soft-attention", "mean-pooling", "s2vt", "hrl"),
    "critic": ("critic",),
    "hrl": ("hrl",),
}


class Run(Strict):
    """One trained system."""

    model: Literal["attention", "soft-attention", "mean-pooling", "s2vt", "hrl", "critic"]
    phases: list[str] = Field(min_length=1)  # trained in this order
    start: Annotated[str | None, Field(alias="from")] = None  # the run whose last phase the first one starts from
    blind: bool = False  # a control without visual input
    sizes: dict[str, Any] = {}  # laid over the paper's and the corpus' sizes


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
    contrasts: list[Contrast] = []
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

    curves: dict[Name, CurvesFigure] = {}
    examples: dict[Name, ExamplesFigure] = {}
    attention: dict[Name, AttentionFigure] = {}

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
                _known(figure.corpus, self.corpora, f"{place}.corpus", "corpus")
                for index, method in enumerate(getattr(figure, "methods", [])):
                    _known(method.run, self.runs, f"{place}.methods[{index}].run", "run")
        for name, figure in self.figures.attention.items():
            _known(figure.run, self.runs, f"figures.attention.{name}.run", "run")
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
                _known(phase, self.phases, f"runs.{name}.phases", "phase")
                wanted = LEARNS[self.phases[phase].objective]
                if run.model not in wanted:
                    raise ValueError(f"runs.{name}.phases: {phase} teaches no {run.model}, only {', '.join(wanted)}")
            if run.start is not None:
                _known(run.start, self.runs, f"runs.{name}.from", "run")
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
            _known(table.corpus, self.corpora, f"tables.{name}.corpus", "corpus")
            _known(table.baseline, self.runs, f"tables.{name}.baseline", "run")
            _known(table.control, self.runs, f"tables.{name}.control", "run")
            for index, row in enumerate(table.rows):
                place = f"tables.{name}.rows[{index}]"
                if row.run is None and row.cited is None:
                    raise ValueError(f"{place}: {row.method} has neither run nor cited; give one of them")
                for key, run_name in (("run", row.run), ("control", row.control)):
                    if run_name is not None:
                        _known(run_name, self.runs, f"{place}.{key}", "run")
                if row.cited is not None and len(row.cited) != len(table.metrics):
                    raise ValueError(f"{place}.cited: {len(row.cited)} numbers for {len(table.metrics)} metrics")
            for index, contrast in enumerate(table.contrasts):
                for key, run_name in (("run", contrast.run), ("to", contrast.to)):
                    _known(run_name, self.runs, f"tables.{name}.contrasts[{index}].{key}", "run")
            for run_name in self.runs_of(name):
                if self.runs[run_name].model == "critic":
                    raise ValueError(f"tables.{name}: {run_name} writes no captions; give a run that does")
        for corpus, settings in self.corpora.items():  # used or not
            for name in settings.phases:
                _known(name, self.phases, f"corpora.{corpus}.phases", "phase")
                self.phase_of(name, corpus)
            _within(Sizes, self.sizes, settings.sizes, f"corpora.{corpus}.sizes")
        for name, run in self.runs.items():
            _within(Sizes, self.sizes, run.sizes, f"runs.{name}.sizes")
        return self

    def sizes_of(self, run: str, corpus: str) -> Sizes:
        """The widths of a run's layers on a corpus: the paper's, the corpus' over them, the run's over both."""
        laid = {**self.corpora[corpus].sizes, **self.runs[run].sizes}
        return _within(Sizes, self.sizes, laid, f"sizes of runs.{run} on {corpus}")

    def phase_of(self, phase: str, corpus: str) -> AnyPhase:
        """A phase as it is on a corpus."""
        mine = self.phases[phase]
        return _within(type(mine), mine, self.corpora[corpus].phases.get(phase, {}), f"corpora.{corpus}.phases.{phase}")

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


def load_params(path: Path | str = "params.yaml") -> Params:
    return _validate(Params, _read_yaml(path), str(path))


def load_paper(path: Path | str, scale: str, overrides: dict[str, Any] | None = None) -> Paper:
    """The paper's facts at `scale`, with the user's `overrides` laid over them."""
    raw = _read_yaml(path)
    mini = raw.pop("mini", None) or {}
    if not isinstance(mini, dict):
        raise UserError(f"{path}: mini: must be a mapping of what differs at the mini scale")
    if scale == "mini":
        raw = overlay(raw, mini)
    paper = _validate(Paper, raw, str(path))
    if paper.paper != Path(path).stem:
        raise UserError(f"{path}: paper: {paper.paper}; must be {Path(path).stem}, as the file is called")
    if overrides:
        raw = overlay(raw, overrides)
        paper = _validate(Paper, raw, f"overrides of {path}")
    if scale == "mini":  # from here on every corpus carries its scale in its name
        raw["corpora"] = {f"{name}-mini": value for name, value in raw["corpora"].items()}
        raw["tables"] = {name: {**table, "corpus": table["corpus"] + "-mini"} for name, table in raw["tables"].items()}
        for figures in raw.get("figures", {}).values():
            figures.update({name: {**figure, "corpus": figure["corpus"] + "-mini"} for name, figure in figures.items()})
        paper = Paper.model_validate(raw)
    return paper


def overlay(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, mapping by mapping; neither is changed."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = overlay(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def validate_params(raw: dict[str, Any], place: str = "params.yaml") -> Params:
    """Params from a mapping already read, such as Snakemake's `config`."""
    return _validate(Params, raw, place)


def _within(model: type[Model], below: Model, above: dict[str, Any], place: str) -> Model:
    """`below` with `above` laid over it; a mistake in `above` is a ValueError that names `place`."""
    try:
        return model.model_validate(overlay(below.model_dump(), above))
    except ValidationError as error:
        raise ValueError(_complaint(error, model, place)) from None


def _known(name: str, known: dict[str, Any], place: str, what: str) -> None:
    if name not in known:
        raise ValueError(f"{place}: no {what} is called {name!r}; there are {', '.join(known)}")


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a key that stands twice is a mistake, not a silent choice of the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be a word", problem_mark=key.start_mark)
            if key.value in seen and key.value != "<<":
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path | str) -> dict[str, Any]:
    try:
        raw = yaml.load(decode_utf8(read_bytes(path), path), _UniqueKeys)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{path}: line {line}: not YAML ({error.problem}); correct this line") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        raise UserError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path}: must be a mapping of keys to values")
    return raw


def _validate(model: type[Model], raw: dict[str, Any], place: str) -> Model:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise UserError(f"{place}: {_complaint(error, model)}") from None


def _complaint(error: ValidationError, model: type[BaseModel], place: str = "") -> str:
    """The first mistake in one line: its key, below `place`, and the mend."""
    first = error.errors()[0]
    # Below phases pydantic adds the objective that it chose the model by; and at a bad key "[key]".
    loc = [part for i, part in enumerate(first["loc"]) if part != "[key]" and (first["loc"][0], i) != ("phases", 2)]
    key = (place + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)).lstrip(".")
    if first["type"] == "extra_forbidden":
        known, name = _field_names(model), str(first["loc"][-1])
        close = [] if name in known else get_close_matches(name, known, n=1)  # a key of somewhere else is no slip
        mend = f"unknown key; did you mean {close[0]!r}?" if close else "unknown key; take it out"
    elif first["type"] == "missing":
        mend = "is missing; add it"
    elif first["type"] == "value_error":  # one of ours, which names its place itself
        mend = str(first["ctx"]["error"])
    else:
        mend = f"{first['msg']}, but it is {first['input']!r}"
    return f"{key}{': ' if key else ''}{mend}"


def _field_names(model: type[BaseModel]) -> set[str]:
    """Every key that may stand somewhere in `model`, for the hint at a misspelt one."""
    schema = model.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return {name for part in parts for name in part.get("properties", {})}
