"""Score files give back what was written; `score_files` gives what the command line prints."""

import json

import numpy as np
import pytest

from captionrl.errors import UserError
from captionrl.evaluation.aggregate import METRICS
from captionrl.evaluation.metrics import evaluate
from captionrl.evaluation.results import read_scores, write_scores
from captionrl.evaluation.score_files import render, score_files


def test_scores_come_back_to_the_last_bit(corpus, tmp_path):
    results = evaluate(*corpus, metrics=["BLEU-4", "ROUGE-L", "CIDEr-D"])
    write_scores(tmp_path / "scores.json", results, {"commit": "abc", "seed": 1})
    read, provenance = read_scores(tmp_path / "scores.json")
    assert provenance == {"commit": "abc", "seed": 1}
    assert read.keys() == results.keys()
    for metric, result in results.items():
        assert (read[metric].value, read[metric].items, read[metric].signature) == (
            result.value,
            result.items,
            result.signature,
        )
        assert list(read[metric].items) == list(result.items)
        np.testing.assert_array_equal(read[metric].statistics, result.statistics)
    first = (tmp_path / "scores.json").read_bytes()
    write_scores(tmp_path / "scores.json", read, provenance)
    assert (tmp_path / "scores.json").read_bytes() == first


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {"scores": {"BLEU-4": 1}, "provenance": {}},
        {
            "scores": {"BLEU-4": {"value": 1, "items": {"a": 1}, "statistics": [1], "signature": "BLEU-4"}},
            "provenance": {},
        },
        {"scores": {}, "provenance": "here"},
    ],
)
def test_any_other_json_is_refused(tmp_path, content):
    (tmp_path / "scores.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="not a score file"):
        read_scores(tmp_path / "scores.json")


@pytest.mark.slow
def test_the_command_reports_every_metric_inside_its_interval(corpus, tmp_path):
    for name, part in zip(("references", "hypotheses"), corpus, strict=True):
        (tmp_path / f"{name}.json").write_text(json.dumps(part))
    report = score_files(tmp_path / "references.json", tmp_path / "hypotheses.json", items=True)
    assert json.loads(json.dumps(report)) == report
    assert tuple(report) == METRICS
    for metric, score in report.items():
        assert score["low"] < score["value"] < score["high"]
        assert score["signature"].startswith(f"{metric}|")
        assert score["items"].keys() == corpus[0].keys()
    text = render(report).splitlines()
    assert text[0].startswith("BLEU-1")
    assert len(text) == 2 * len(METRICS) + 1
