"""What all models of the configuration share: strictness, common types, and mistakes described in one line."""

from collections.abc import Collection
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from captionrl.config.backbones import FEATURES, FRAMES, LIBRARY, check_features

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Model = TypeVar("Model", bound=BaseModel)
Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Scale = Literal["mini", "paper"]  # a scale but paper's is what papers/<paper>/<scale>.yaml lays over paper.yaml
Backbone = Annotated[
    str,
    AfterValidator(check_features),
    WithJsonSchema({"anyOf": [{"enum": FEATURES}, {"type": "string", "pattern": f"^{LIBRARY}({FRAMES})?$"}]}),
]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def overlay(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, mapping by mapping; neither is changed."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = overlay(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def within(model: type[Model], below: Model, above: dict[str, Any], place: str) -> Model:
    """`below` with `above` laid over it; a mistake in `above` is a ValueError that names `place`."""
    try:
        return model.model_validate(overlay(below.model_dump(), above))
    except ValidationError as error:
        raise ValueError(complaint(error, model, place)) from None


def known(name: str, names: Collection[str], place: str, what: str) -> None:
    """Raises a ValueError that names `place` for a name that is none of `names`."""
    if name not in names:
        raise ValueError(f"{place}: no {what} is called {name!r}; there are {', '.join(names)}")


def complaint(error: ValidationError, model: type[BaseModel], place: str = "") -> str:
    """The first mistake in one line: its key, below `place`, and the fix."""
    first = error.errors()[0]
    # Below phases pydantic adds the objective that it chose the model by; and at a bad key "[key]".
    loc = [part for i, part in enumerate(first["loc"]) if part != "[key]" and (first["loc"][0], i) != ("phases", 2)]
    key = (place + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)).lstrip(".")
    if first["type"] == "extra_forbidden":
        known, name = _field_names(model), str(first["loc"][-1])
        close = [] if name in known else get_close_matches(name, known, n=1)  # a key of somewhere else is no slip
        fix = f"unknown key; did you mean {close[0]!r}?" if close else "unknown key; take it out"
    elif first["type"] == "missing":
        fix = "is missing; add it"
    elif first["type"] == "value_error":  # one of ours, which names its place itself
        fix = str(first["ctx"]["error"])
    else:
        fix = f"{first['msg']}, but it is {first['input']!r}"
    return f"{key}{': ' if key else ''}{fix}"


def _field_names(model: type[BaseModel]) -> set[str]:
    """Every key that may stand somewhere in `model`, for the hint at a misspelt one."""
    schema = model.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return {name for part in parts for name in part.get("properties", {})}
