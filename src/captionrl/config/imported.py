"""Features that a user has and imports: the backbone own:NAME, and what params.yaml says of it."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PositiveInt, ValidatorFunctionWrapHandler, WithJsonSchema, WrapValidator

from captionrl.config.base import Backbone, NotNegative, Strict

PREFIX = "own:"
OWN = re.compile(rf"{PREFIX}(?!.*-frames$)[a-z0-9]+(-[a-z0-9]+)*")


def is_imported(backbone: str) -> bool:
    """Whether a backbone's features are made by `captionrl features-import`."""
    return backbone == "bottomup" or OWN.fullmatch(backbone) is not None


def file_name(backbone: str) -> str:
    """A backbone's name as a part of file names."""
    return backbone.replace(":", "--")


def _own_or_listed(name: Any, listed: ValidatorFunctionWrapHandler) -> Any:
    if not (isinstance(name, str) and name.startswith(PREFIX)):
        return listed(name)
    if not OWN.fullmatch(name):
        rule = "small letters and digits, with single hyphens between them and not -frames at the end"
        raise ValueError(f"{name!r}: what follows {PREFIX} must be {rule}; rename it")
    return name


_OWN_NAME = Annotated[str, WithJsonSchema({"type": "string", "pattern": f"^{OWN.pattern}$"})]
AnyBackbone = Annotated[Backbone, WrapValidator(_own_or_listed, json_schema_input_type=Backbone | _OWN_NAME)]


class ImportedFeatures(Strict):
    """Features that a user has, as `captionrl features-import` reads them."""

    path: str  # a file or folder; {corpus} in it stands for the corpus' name
    fps: NotNegative = 0  # frames a second; 0: not known, or stills
    grid: PositiveInt | None = None  # cells a side, where rows are the cells of each frame
    key: str | None = None  # which of an item's arrays
    ids: Literal["exact", "number"] = "exact"  # number: items and names agree in the number at their ends
    ids_file: str | None = None  # the ids of the rows of one array, one a line; {corpus} likewise

    def of(self, corpus: str) -> "ImportedFeatures":
        """Those of a corpus."""
        changes = {"path": _path_of(self.path, corpus), "ids_file": self.ids_file and _path_of(self.ids_file, corpus)}
        return self.model_copy(update=changes)


def _path_of(path: str, corpus: str) -> str:
    return str(Path(path.replace("{corpus}", corpus)))


def _path_alone(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


PathOrMore = Annotated[ImportedFeatures, BeforeValidator(_path_alone, json_schema_input_type=str | ImportedFeatures)]
