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
Model = TypeVar("Model", bound=BaseModel)
Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]


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


class Sizes(Strict):
    """Widths of the captioners of one paper; one set for all rows of a table."""

    projection: PositiveInt  # frame feature -> this
    encoder: PositiveInt  # Bi-LSTM, each direction
    decoder: PositiveInt  # LSTM
    attention: PositiveInt  # Bahdanau attention's hidden layer
    embedding: PositiveInt  # words
    dropout: Annotated[float, Field(ge=0, lt=1)]
    init: Positive  # every parameter starts uniform in [-init, init]


class ScheduledSampling(Strict):
    """The share of input words that are the model's own, over epochs (Bengio et al. 2015)."""

    start: Annotated[float, Field(ge=0)] = 0  # epoch from which it grows
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


class ReinforcePhase(Phase):
    objective: Literal["reinforce"]
    baseline: Literal["linear", "greedy", "none"]
    eos_in_reward: bool  # whether </s> is a token of reward and references
    punctuation_in_reward: bool = False


class BackbonePhase(Phase):
    """The mini backbone's training on attribute labels of rendered frames; an epoch is a pass over these frames."""

    objective: Literal["attributes"] = "attributes"
    epochs: Positive = 5
    batch: PositiveInt = 32
    optimiser: Literal["adadelta", "adam"] = "adam"
    learning_rate: Positive = 3e-3
    anneal: bool = True


AnyPhase = Annotated[XEPhase | ReinforcePhase, Field(discriminator="objective")]


class Run(Strict):
    """One trained system."""

    model: Literal["attention", "soft-attention", "mean-pooling", "s2vt"]
    phases: list[str] = Field(min_length=1)  # trained in this order
    start: Annotated[str | None, Field(alias="from")] = None  # the run whose last phase the first one starts from
    blind: bool = False  # a control without visual input


class Row(Strict):
    """A row of a table: a run of ours, a system whose numbers are cited, or both side by side."""

    method: str
    run: str | None = None
    cited: list[float] | None = None
    note: str = ""


class Table(Strict):
    title: str
    corpus: str
    metrics: list[Literal["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr-D"]]
    baseline: str  # the run that the others are tested against
    control: str  # the equal-budget control, against which they are tested too
    rows: list[Row]


class Paper(Strict):
    """papers/<paper>.yaml at one scale."""

    paper: Name
    title: str
    backbone: Literal["resnet152", "mini"]
    fps: Positive
    corpora: dict[str, CorpusSettings]
    sizes: Sizes
    phases: dict[Name, AnyPhase]
    runs: dict[Name, Run]
    beam: PositiveInt
    tables: dict[Name, Table]

    @model_validator(mode="after")
    def _whole(self) -> "Paper":
        for name, run in self.runs.items():
            for phase in run.phases:
                _known(phase, self.phases, f"runs.{name}.phases", "phase")
            if run.start is not None:
                _known(run.start, self.runs, f"runs.{name}.from", "run")
                if self.runs[run.start].model != run.model:
                    raise ValueError(f"runs.{name}.from: {run.start} is another model; weights do not fit")
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
                if row.run is not None:
                    _known(row.run, self.runs, f"{place}.run", "run")
                if row.cited is not None and len(row.cited) != len(table.metrics):
                    raise ValueError(f"{place}.cited: {len(row.cited)} numbers for {len(table.metrics)} metrics")
        return self

    def training_config(self, run: str, phase: str, corpus: str) -> dict[str, Any]:
        """Everything in this file that the weights of a phase depend on, besides the checkpoint it starts from."""
        return {
            "run": self.runs[run].model_dump(include={"model", "blind"}),
            "phase": self.phases[phase].model_dump(),
            "sizes": self.sizes.model_dump(),
            "corpus": self.corpora[corpus].model_dump(),
        }

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
        first = error.errors()[0]
        # Below phases pydantic adds the objective that it chose the model by; and at a bad key "[key]".
        loc = [part for i, part in enumerate(first["loc"]) if part != "[key]" and (first["loc"][0], i) != ("phases", 2)]
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")
        if first["type"] == "extra_forbidden":
            close = get_close_matches(str(first["loc"][-1]), _field_names(model), n=1)
            mend = f"unknown key; did you mean {close[0]!r}?" if close else "unknown key; take it out"
        elif first["type"] == "missing":
            mend = "is missing; add it"
        elif first["type"] == "value_error":  # one of ours, which names its place itself
            mend = str(first["ctx"]["error"])
        else:
            mend = f"{first['msg']}, but it is {first['input']!r}"
        raise UserError(f"{place}: {key}{': ' if key else ''}{mend}") from None


def _field_names(model: type[BaseModel]) -> set[str]:
    """Every key that may stand somewhere in `model`, for the hint at a misspelt one."""
    schema = model.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return {name for part in parts for name in part.get("properties", {})}
