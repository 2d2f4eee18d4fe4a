"""What all models of the configuration share: strictness, common types, and mistakes described in one line."""

import re
from collections.abc import Collection
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema, model_validator

from captionrl.config.backbones import FEATURES, PATTERNS, check_features
from captionrl.dotted import load_object
from captionrl.errors import UserError

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
MOST_CAPTIONS = 1000  # of a beam, or of a set: each takes memory for all clips of a batch
Seed = Annotated[int, Field(ge=0, lt=2**63)]  # torch takes no larger one
Model = TypeVar("Model", bound=BaseModel)
Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
# paper: papers/<paper>/paper.yaml; mini, laptop: mini.yaml or laptop.yaml laid over it; own: a user's own project,
# own.yaml laid over paper.yaml if there is one
Scale = Literal["mini", "laptop", "paper", "own"]
Backbone = Annotated[
    str,
    AfterValidator(check_features),
    WithJsonSchema({"anyOf": [{"enum": FEATURES}, *({"type": "string", "pattern": each} for each in PATTERNS)]}),
]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_truth_for_a_number(cls, data: Any) -> Any:
        """`early_stopping: true` is no 1, though Python counts with it."""
        for key, field in cls.model_fields.items():
            given = data.get(key) if isinstance(data, dict) else None
            types = _members(field.annotation) if isinstance(given, bool) else set()
            if types & {int, float} and bool not in types:
                raise ValueError(f"{key}: must be a number, but it is {str(given).lower()}")
        return data


def _members(annotation: Any) -> set[Any]:
    """The types of a union, without what Annotated says of them; of another type, itself."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return set().union(*map(_members, get_args(annotation)))
    return {annotation}


def overlay(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, mapping by mapping, where null takes a mapping away; neither is changed."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, dict) and value is None:
            del merged[key]
        else:
            merged[key] = overlay(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def within(model: type[Model], below: Model, above: dict[str, Any], place: str) -> Model:
    """`below` with `above` laid over it; a mistake in `above` is a ValueError that names `place`."""
    try:
        return model.model_validate(overlay(below.model_dump(), above))
    except ValidationError as error:
        raise ValueError(complaint(error, model, place)) from None


def own_settings(path: str, name: str, base: type[Model]) -> type[Model]:
    """The class `name` in a user's model or learner MODULE:NAME, with its own settings; `base` where it has none.

    Raises UserError where there is no such module or name, and for a class that is not derived from `base`.
    """
    found = getattr(load_object(path), name, base)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise UserError(f"{path}: its {name} is not derived from captionrl.config.{base.__name__}; derive it from that")
    return found


def known(name: str, names: Collection[str], place: str, what: str) -> None:
    """Raises a ValueError that names `place` for a name that is none of `names`."""
    if name not in names:
        raise ValueError(f"{place}: no {what} is called {name!r}; there are {', '.join(names)}")


def complaint(error: ValidationError, model: type[BaseModel], place: str = "") -> str:
    """The first mistake in one line: its key, below `place`, and the fix."""
    first = error.errors()[0]
    loc = [part for part in _without_tags(first["loc"]) if part != "[key]"]  # which pydantic adds at a bad key
    key = (place + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)).lstrip(".")
    if first["type"] == "extra_forbidden":
        fix = unknown_key(str(first["loc"][-1]), _field_names(model))
    elif first["type"] == "missing":
        fix = "is missing; add it"
    elif first["type"] == "value_error":  # one of ours, which names its place itself
        fix = str(first["ctx"]["error"])
    else:
        null = "null, which takes a mapping away where there is one"
        fix = f"{_of_yaml(first['msg'])}, but it is {null if first['input'] is None else repr(first['input'])}"
    return f"{key}{': ' if key else ''}{fix}"


def _of_yaml(message: str) -> str:
    """pydantic's message without what YAML cannot give: an object of Python's."""
    return re.sub(r" or (instance of \w+|object to extract fields from)$", "", message)


def unknown_key(name: str, known: Collection[str], what: str = "unknown key") -> str:
    """The fix of a key that is none of `known`, or one of somewhere else, which is no slip."""
    close = [] if name in known else get_close_matches(name, known, n=1)
    return f"{what}; did you mean {close[0]!r}?" if close else f"{what}; take it out"


def _without_tags(loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The place of a mistake without what pydantic adds below a phase: by what it chose the phase's class."""
    if loc[:1] != ("phases",):
        return loc
    return loc[:2] + loc[4 if loc[2:3] == ("package",) else 3 :]


def _field_names(model: type[BaseModel]) -> set[str]:
    """Every key that may stand somewhere in `model`, for the hint at a misspelt one."""
    schema = model.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return {name for part in parts for name in part.get("properties", {})}
