"""Reading params.yaml and papers/*.yaml; every mistake in them is one `UserError` that names file, key and mend."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from captionrl.config.base import Model, Strict, complaint, overlay
from captionrl.config.paper import Paper
from captionrl.errors import UserError
from captionrl.files import decode_utf8, read_bytes


class Params(Strict):
    """params.yaml: the knobs a user turns."""

    scale: Literal["mini", "paper"] = "mini"
    seeds: list[Annotated[int, Field(ge=0)]] = Field([1, 2, 3], min_length=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"  # that trainings compute in; weights are float32 always
    mini_backbone: Literal["shipped", "trained"] = "shipped"  # the package's weights, or those of the rule backbone
    extraction_precision: Literal["float32", "bfloat16"] = "float32"  # that backbones compute features in
    allowed_failures: Annotated[int, Field(ge=0)] = 0  # broken videos a corpus may have before its features fail
    container: str = "docker://python:3.11-slim"  # where jobs run, with --software-deployment-method apptainer only
    overrides: dict[str, dict[str, Any]] = Field(default={})  # {paper: what to lay over papers/<paper>.yaml}

    @model_validator(mode="after")
    def _distinct(self) -> "Params":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: the same seed twice; every seed is one training")
        return self


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
        for kind in ("tables", "leaderboards"):
            tables = raw.get(kind, {}).items()
            raw[kind] = {name: {**table, "corpus": table["corpus"] + "-mini"} for name, table in tables}
        for figures in raw.get("figures", {}).values():
            figures.update({name: {**figure, "corpus": figure["corpus"] + "-mini"} for name, figure in figures.items()})
        paper = Paper.model_validate(raw)
    return paper


def validate_params(raw: dict[str, Any], place: str = "params.yaml") -> Params:
    """Params from a mapping already read, such as Snakemake's `config`."""
    return _validate(Params, raw, place)


class _UniqueKeys(yaml.CSafeLoader):  # libyaml's parser, ten times as fast as Python's
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
    text = decode_utf8(read_bytes(path), path)
    try:
        raw = yaml.load(text, _UniqueKeys)  # a safe loader
    except yaml.MarkedYAMLError as error:
        line = min(error.problem_mark.line if error.problem_mark else 0, text.count("\n")) + 1  # not behind the end
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
        raise UserError(f"{place}: {complaint(error, model)}") from None
