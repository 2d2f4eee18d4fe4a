"""Reading params.yaml and papers/*/*.yaml; every mistake in them is one `UserError` that names file, key and fix."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from captionrl.config.base import Backbone, Model, Name, Scale, Seed, Strict, complaint, overlay
from captionrl.config.imported import PathOrMore
from captionrl.config.paper import Paper
from captionrl.errors import UserError
from captionrl.files import decode_utf8, read_bytes
from captionrl.pipeline import PIPELINE

DEEPEST = 50  # mappings and lists in one another; papers have six
MOST = 100_000  # values in a file; papers have a thousand


class Params(Strict):
    """params.yaml: what a user sets."""

    scale: Scale = "mini"
    seeds: list[Seed] = Field([1, 2, 3], min_length=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"  # that trainings compute in; weights are float32 always
    mini_backbone: Literal["shipped", "trained"] = "shipped"  # the package's weights, or those of the rule backbone
    extraction_precision: Literal["float32", "bfloat16"] = "float32"  # that backbones compute features in
    extraction_jobs: Annotated[int, Field(ge=1)] = 1  # that share the items of a corpus whose features they extract
    weights: dict[Backbone, str] = Field(default={})  # {backbone: the file of its weights, or random for a test}
    allowed_failures: Annotated[int, Field(ge=0)] = 0  # missing or broken videos before a corpus fails
    accept: list[Name] = Field(
        default=[]
    )  # licences of data sets that the user accepts, as `captionrl download` has it
    features: dict[Name, PathOrMore] = Field(default={})  # {NAME: path} of features that are the backbone own:NAME
    container: str = "docker://python:3.11-slim"  # where jobs run, with --software-deployment-method apptainer only
    overrides: dict[str, dict[str, Any]] = Field(default={})  # {paper: what to lay over papers/<paper>/*.yaml}

    @model_validator(mode="after")
    def _check_seeds(self) -> "Params":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: the same seed twice; every seed is one training")
        return self


def load_params(path: Path | str = "params.yaml") -> Params:
    """The settings of params.yaml. Raises UserError for a file that is not there or not YAML, a wrong key or value."""
    return _validate(Params, read_yaml(path), str(path))


def load_paper(directory: Path | str, scale: str, overrides: dict[str, Any] | None = None) -> Paper:
    """The paper of a directory such as papers/hrl, at `scale`, with the user's `overrides` laid over it.

    At the mini scale its corpora are others, and called so: msrvtt-mini. Raises a UserError that names the file, the
    key in it and the fix.
    """
    paper = resolve(directory, scale, overrides)
    if scale != "mini":
        return paper
    raw = paper.model_dump(by_alias=True)
    raw["corpora"] = {f"{name}-mini": corpus for name, corpus in raw["corpora"].items()}
    for parts in (raw["tables"], raw["leaderboards"], *raw["figures"].values()):
        for part in parts.values():
            part["corpus"] += "-mini"
    return Paper.model_validate(raw)


def find_papers(scale: str) -> list[Path]:
    """The directories of all papers with settings for `scale`: those in papers/ or, if it has none, the package's."""
    for papers in (Path("papers"), PIPELINE / "papers"):
        if found := sorted(file.parent for file in papers.glob(f"*/{scale}.yaml")):
            return found
    raise UserError(f"papers: there is no papers/<paper>/{scale}.yaml; `captionrl init` writes one for a new project")


def find_paper(papers: Path | None, name: str) -> Path:
    """The directory of a paper in `papers`; in none given, that in papers/ or, if there is none, the package's."""
    own, shipped = (papers or Path("papers")) / name, PIPELINE / "papers" / name
    return shipped if papers is None and shipped.is_dir() and not own.is_dir() else own


def resolve(directory: Path | str, scale: str, overrides: dict[str, Any] | None) -> Paper:
    """The paper at `scale`, its corpora called as in its files. Raises likewise.

    Every file must leave a valid paper, so that a mistake is found in the file that makes it.
    """
    directory = Path(directory)
    raw: dict[str, Any] = {}
    for path in files_of(directory, scale):
        raw = overlay(raw, read_yaml(path))
        paper = _validate(Paper, raw, str(path))
        if paper.paper != directory.name:
            raise UserError(f"{path}: paper: {paper.paper}; must be {directory.name}, as the directory is called")
        uncontrolled = [name for name, table in paper.tables.items() if table.control is None]
        if uncontrolled and scale != "own":
            what = "is missing; add it, the run that is the compute-matched XE"
            raise UserError(f"{path}: tables.{uncontrolled[0]}.control: {what}")
    if overrides:
        paper = _validate(Paper, overlay(raw, overrides), "params.yaml", f"overrides.{directory.name}")
    return paper


def files_of(directory: Path, scale: str) -> list[Path]:
    """A paper's files at `scale`, each laid over the one before it."""
    paper = directory / "paper.yaml"
    below = [] if scale == "own" and not paper.exists() else [paper]
    return [*below, *([] if scale == "paper" else [directory / f"{scale}.yaml"])]


def validate_params(raw: dict[str, Any], place: str = "params.yaml") -> Params:
    """Params from a mapping already read, such as Snakemake's `config`."""
    return _validate(Params, raw, place)


class UniqueKeys(yaml.CSafeLoader):  # libyaml's parser, ten times as fast as Python's
    """YAML in which a key that stands twice is a mistake, not a silent choice of the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():  # !!map may stand before a word
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be a word", problem_mark=key.start_mark)
            if key.value in seen and key.value != "<<":
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path | str) -> dict[str, Any]:
    """A mapping in YAML; every fault is a UserError that names the line."""
    text = decode_utf8(read_bytes(path), path)
    try:
        _check_size(text)
        raw = yaml.load(text, UniqueKeys)  # a safe loader
    except yaml.MarkedYAMLError as error:
        line = min(error.problem_mark.line if error.problem_mark else 0, text.count("\n")) + 1  # not behind the end
        raise UserError(f"{path}: line {line}: not YAML ({error.problem}); correct this line") from None
    except Exception as error:  # whatever PyYAML makes of a date that is none, or of a tag before what it does not fit
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: not YAML ({reason}); correct it") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path}: must be a mapping of keys to values")
    return raw


def _check_size(text: str) -> None:
    """libyaml's parser tells of one thing after the other; what makes values of them crashes where they nest deep.

    An alias is small, and may stand for aliases of aliases: printing what ten lines stand for can take hours.
    """
    sizes: list[int] = [0]  # of the collections that are open: how many values they hold so far
    anchors: list[str | None] = []
    named: dict[str | None, int] = {}
    for event in yaml.parse(text, UniqueKeys):
        if isinstance(event, yaml.CollectionStartEvent):
            sizes.append(1)
            anchors.append(event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            size = named[anchors.pop()] = sizes.pop()
            sizes[-1] += size
        elif isinstance(event, yaml.NodeEvent):  # a word, or an alias
            sizes[-1] += named.get(event.anchor, 1) if isinstance(event, yaml.AliasEvent) else 1
        if len(sizes) - 1 > DEEPEST:
            raise yaml.YAMLError(f"nested more than {DEEPEST} deep")
        if sizes[-1] > MOST:
            raise yaml.YAMLError(f"more than {MOST:,} values, with what its aliases stand for")


def _validate(model: type[Model], raw: dict[str, Any], file: str, place: str = "") -> Model:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise UserError(f"{file}: {complaint(error, model, place)}") from None
