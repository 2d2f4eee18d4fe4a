"""A metric's result, and score files: results kept as JSON, so that tables need neither captions nor Java."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from captionrl.errors import UserError
from captionrl.evaluation.aggregate import Array
from captionrl.files import read_json, write_text


@dataclass(frozen=True, eq=False)
class Result:
    """A metric's value, times 100, of one system on one set of items."""

    metric: str
    value: float
    items: dict[str, float]  # id -> the item's own score, sorted by id
    statistics: Array  # [items, k], rows in the order of `items`; see `aggregate`
    signature: str


def reference_count(counts: Collection[int]) -> str:
    """How many references items have, the fewest and the most: a field of signatures."""
    fewest, most = min(counts), max(counts)
    return f"refs:{most}" if fewest == most else f"refs:{fewest}-{most}"


def write_scores(path: Path | str, results: Mapping[str, Result], provenance: dict[str, Any]) -> None:
    """Write results and where they came from. Floats come back to the last bit."""
    scores = {
        metric: {
            "value": result.value,
            "signature": result.signature,
            "items": result.items,
            "statistics": result.statistics.tolist(),
        }
        for metric, result in results.items()
    }
    # One line: indented, a row of statistics would take 23.
    write_text(path, json.dumps({"provenance": provenance, "scores": scores}, sort_keys=True, allow_nan=False) + "\n")


def read_scores(path: Path | str) -> tuple[dict[str, Result], dict[str, Any]]:
    """The results and the provenance that `write_scores` wrote."""
    content = read_json(path)
    try:
        results = {}
        for metric, score in content["scores"].items():
            statistics = np.array(score["statistics"], dtype=np.float64)
            items = {id: float(value) for id, value in score["items"].items()}
            if statistics.ndim != 2 or len(statistics) != len(items):
                raise ValueError(f"statistics {list(statistics.shape)} of {len(items)} items")
            results[metric] = Result(metric, float(score["value"]), items, statistics, score["signature"])
        return results, dict(content["provenance"])
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError):
        raise UserError(f"{path}: not a score file; write it anew with `captionrl evaluate`") from None
