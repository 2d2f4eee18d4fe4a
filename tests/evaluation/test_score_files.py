"""Score files give back what was written; `score_files` gives what the command line prints."""

import json

import numpy as np
import pytest

import captionrl
from captionrl.errors import UserError
from captionrl.evaluation.aggregate import METRICS
from captionrl.evaluation.bootstrap import paired
from captionrl.evaluation.diversity import evaluate_sets
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


QUICK = ("BLEU-4", "CIDEr-D")


@pytest.fixture
def files(corpus, tmp_path):
    """References, the hypotheses, and others without any word of these."""
    references, hypotheses = corpus
    for name, part in {"references": references, "a": hypotheses, "b": dict.fromkeys(hypotheses, "zyx")}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(part))
    return [tmp_path / "references.json"], [tmp_path / "a.json", tmp_path / "b.json"]


@pytest.mark.slow
def test_every_metric_lies_inside_its_interval(corpus, files):
    (scores,) = score_files(files[0], files[1][:1]).values()
    assert tuple(scores) == METRICS
    for metric, numbers in scores.items():
        assert numbers["low"] < numbers["value"] < numbers["high"]
        assert numbers["signature"].startswith(f"{metric}|")
        assert numbers["items"].keys() == corpus[0].keys()


def test_files_and_mappings_score_alike(corpus, files):
    report = score_files(*files, QUICK)
    assert list(report) == ["a.json", "b.json"]
    assert report["a.json"] == captionrl.score(*corpus, QUICK)
    assert report["a.json"]["CIDEr-D"]["value"] == evaluate(*corpus, QUICK)["CIDEr-D"].value


def test_systems_are_compared_with_the_first(corpus, files):
    first, second = (scores["CIDEr-D"] for scores in score_files(*files, QUICK).values())
    assert second["difference"] == second["value"] - first["value"] < 0
    assert second["difference_low"] < second["difference"] < second["difference_high"]
    assert 0 < second["p"] < 0.05
    assert "p" not in first
    a, b = (evaluate(corpus[0], part, QUICK)["CIDEr-D"] for part in (corpus[1], json.loads(files[1][1].read_text())))
    assert second["p"] == paired("CIDEr-D", [b.statistics], [a.statistics])


def test_several_files_of_references_go_together(corpus, files, tmp_path):
    for part in (0, 1):
        captions = {id: texts[part::2] for id, texts in corpus[0].items()}
        (tmp_path / f"part{part}.json").write_text(json.dumps(captions))
    parts = [tmp_path / "part0.json", tmp_path / "part1.json"]
    whole, halves = (score_files(paths, files[1][:1], QUICK)["a.json"] for paths in (files[0], parts))
    assert halves["CIDEr-D"]["items"] == pytest.approx(whole["CIDEr-D"]["items"], abs=1e-9)


def test_a_subset_is_scored_as_if_there_were_no_other_items(corpus, files, tmp_path):
    ids = sorted(corpus[0])[:7]
    (tmp_path / "ids.txt").write_text("\n".join(ids))
    report = score_files(files[0], files[1][:1], QUICK, subset=tmp_path / "ids.txt")
    alone = captionrl.score(*({id: part[id] for id in ids} for part in corpus), QUICK)
    assert report["a.json"] == alone
    (tmp_path / "ids.txt").write_text("nobody")
    with pytest.raises(UserError, match=r"references\.json: lacks 1 of the ids of .*ids\.txt, such as 'nobody'"):
        score_files(files[0], files[1], QUICK, subset=tmp_path / "ids.txt")


def test_document_frequencies_of_the_references_themselves_change_nothing(corpus, files):
    own, given = (score_files(*files, QUICK, frequencies=df)["a.json"]["CIDEr-D"] for df in (None, files[0][0]))
    assert given["items"] == pytest.approx(own["items"], abs=1e-9)
    assert "df:references of these items" in own["signature"]
    assert f"df:{len(corpus[0])} others, " in given["signature"]


def test_document_frequencies_of_others_are_another_score(corpus, files, tmp_path):
    (tmp_path / "others.json").write_text(json.dumps({"x": ["a man"], "y": ["a dog runs"]}))
    own, other = (score_files(*files, QUICK, frequencies=df)["a.json"] for df in (None, tmp_path / "others.json"))
    assert other["CIDEr-D"]["value"] != own["CIDEr-D"]["value"]
    assert other["BLEU-4"] == own["BLEU-4"]


def test_sets_are_scored_by_the_metrics_of_sets(corpus, files, tmp_path):
    sets = {id: (texts * 2)[:2] for id, texts in corpus[0].items()}
    (tmp_path / "sets.json").write_text(json.dumps(sets))
    scores = score_files(files[0], [tmp_path / "sets.json"], sets=True)["sets.json"]
    (expected,) = evaluate_sets(corpus[0], [sets])
    assert {metric: numbers["value"] for metric, numbers in scores.items()} == {
        metric: result.value for metric, result in expected.items()
    }
    with pytest.raises(UserError, match="leave --df"):
        score_files(files[0], [tmp_path / "sets.json"], sets=True, frequencies=files[0][0])


def test_a_file_given_twice_and_an_unknown_metric_are_refused(files):
    with pytest.raises(UserError, match=r"a\.json: is given twice; give it once"):
        score_files(files[0], files[1][:1] * 2)
    with pytest.raises(UserError, match="metrics: unknown 'cider'; choose from BLEU-1, "):
        score_files(*files, ["cider"])


def test_references_without_a_word_are_refused():
    references = {"a": ["", "."], "b": ["?"]}
    with pytest.raises(UserError, match="references: no caption holds a word"):
        captionrl.score(references, {"a": "a cat", "b": "a dog"}, ["CIDEr-D"])


def test_files_of_one_name_are_called_by_their_paths(corpus, files, tmp_path):
    (tmp_path / "other").mkdir()
    again = tmp_path / "other/a.json"
    again.write_text(json.dumps(corpus[1]))
    assert list(score_files(files[0], [files[1][0], again], QUICK)) == [str(files[1][0]), str(again)]


REPORT = {
    "a_1": {"BLEU-4": {"value": 30, "low": 29.5, "high": 30.5, "n": 2, "signature": "BLEU-4|x", "items": {"v": 1.5}}},
    "b": {
        "BLEU-4": {"value": 31, "low": 30, "high": 32, "n": 2, "signature": "BLEU-4|x", "items": {"v": 2.5}}
        | {"difference": 1, "difference_low": 0.5, "difference_high": 1.5, "p": 0.01}
    },
}


@pytest.mark.parametrize(
    ("form", "items", "text"),
    [
        (
            "table",
            False,
            "BLEU-4         a_1    30.00  [29.50, 30.50]\n"
            "               b      31.00  [30.00, 32.00]  +1.00 [+0.50, +1.50]  p 0.010\n\nBLEU-4|x",
        ),
        (
            "csv",
            False,
            "system,metric,value,low,high,difference,difference_low,difference_high,p,n\n"
            "a_1,BLEU-4,30,29.5,30.5,,,,,2\nb,BLEU-4,31,30,32,1,0.5,1.5,0.01,2",
        ),
        ("csv", True, "system,metric,item,score\na_1,BLEU-4,v,1.5\nb,BLEU-4,v,2.5"),
        (
            "latex",
            False,
            "\\begin{tabular}{lr}\n\\toprule\n & BLEU-4 \\\\\n\\midrule\n"
            "a\\_1 & 30.0 \\\\\nb & 31.0$^\\dagger$ \\\\\n\\bottomrule\n\\end{tabular}",
        ),
    ],
)
def test_a_report_is_printed_in_each_form(form, items, text):
    assert render(REPORT, form, items) == text


def test_json_has_all_but_items_unless_they_are_asked_for():
    assert json.loads(render(REPORT, "json", True)) == REPORT
    scores = json.loads(render(REPORT, "json", False))["b"]["BLEU-4"]
    assert scores == {key: value for key, value in REPORT["b"]["BLEU-4"].items() if key != "items"}


def test_one_system_is_printed_without_its_name():
    assert render({"a_1": REPORT["a_1"]}, "table", False) == "BLEU-4           30.00  [29.50, 30.50]\n\nBLEU-4|x"
