"""Running trainings shown in Weights & Biases, or in trackio, which keeps its runs on this machine.

`captionrl watch` sends them, beside the training, whose computation does not depend on it.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from captionrl.errors import UserError
from captionrl.files import read_json
from captionrl.state import IDENTITY
from captionrl.training.records import read_history

PROJECT = "captionrl"
# Each library, and what its `init` is given besides project, name and settings: several runs at a time; no notebook.
TRACKERS: dict[str, dict[str, Any]] = {"wandb": {"reinit": "create_new"}, "trackio": {"embed": False}}


class Tracker:
    """A run of the tracker for every training that is seen to run, with its rows as they come.

    Raises UserError for a library that is not installed.
    """

    def __init__(self, library: str) -> None:
        try:
            self._library: Any = import_module(library)
        except ModuleNotFoundError as error:
            raise UserError(f"--to {library}: {error}; run `pip install {library}`") from None
        self._options = TRACKERS[library]
        self._runs: dict[Path, Any] = {}
        self._shown: dict[Path, set[tuple[str, int]]] = {}  # kinds and updates of rows

    def look(self, running: Mapping[Path, str]) -> None:
        """Show what is new of the trainings in these states' directories {directory: title}; end runs of others."""
        for directory, title in running.items():
            if directory not in self._runs and read_history(directory):
                identity = directory / IDENTITY
                settings = read_json(identity) if identity.exists() else {}
                self._runs[directory] = self._library.init(
                    project=PROJECT, name=title, config=settings, **self._options
                )
                self._shown[directory] = set()
        for directory in list(self._runs):
            self._show(directory)
            if directory not in running:
                self._runs.pop(directory).finish()

    def close(self) -> None:
        self.look({})

    def _show(self, directory: Path) -> None:
        """The rows since the last look. A training that went on after a kill writes some again: these are left out."""
        _, rows = read_history(directory) or ({}, [])
        for row in rows:
            if (key := (row["kind"], row["update"])) not in self._shown[directory]:
                self._shown[directory].add(key)
                numbers = {f"{row['kind']}/{name}": value for name, value in row.items() if isinstance(value, float)}
                captions = {f"captions/{item}": caption for item, caption in row.get("captions", {}).items()}
                self._runs[directory].log(numbers | captions, step=row["update"])
