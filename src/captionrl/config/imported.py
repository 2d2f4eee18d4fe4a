"""What params.yaml says of features that a user has and imports as own:NAME."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PositiveInt

from captionrl.config.base import NotNegative, Strict


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
