"""Score a file of captions against a file of references."""

from pathlib import Path
from typing import Any

from captionrl.evaluation.bootstrap import interval
from captionrl.evaluation.captions import read_hypotheses, read_references
from captionrl.evaluation.metrics import evaluate


def score_files(references: Path, hypotheses: Path, items: bool = False) -> dict[str, dict[str, Any]]:
    """{metric: {"value", "low", "high", "signature", "n"}}, with "items": {id: score} on demand; scores times 100.

    n: the number of items.

    Every fault of the files is a UserError.
    """
    report = {}
    for metric, result in evaluate(read_references(references), read_hypotheses(hypotheses)).items():
        low, high = interval(metric, [result.statistics])
        report[metric] = {"value": result.value, "low": low, "high": high, "signature": result.signature}
        report[metric]["n"] = len(result.items)
        if items:
            report[metric]["items"] = result.items
    return report


def render(report: dict[str, dict[str, Any]]) -> str:
    """A report of `score_files` as plain text: values and 95 % intervals first, then the signatures."""
    lines = [f"{metric:<8}{s['value']:7.2f}  [{s['low']:.2f}, {s['high']:.2f}]" for metric, s in report.items()]
    return "\n".join([*lines, "", *(score["signature"] for score in report.values())])
