"""captionrl: captioning methods trained with reinforcement learning, as one reproducible pipeline."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "score":  # no import that a code version would follow: every command has this file; types: __init__.pyi
        return import_module("captionrl.evaluation.score_files").score
    raise AttributeError(f"module 'captionrl' has no attribute {name!r}")
