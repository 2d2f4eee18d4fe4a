"""captionrl: captioning methods trained with reinforcement learning, as one reproducible pipeline."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from captionrl.evaluation.score_files import score as score

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "score":  # imported when it is asked for: no command depends on it by importing the package
        return import_module("captionrl.evaluation.score_files").score
    raise AttributeError(f"module 'captionrl' has no attribute {name!r}")
