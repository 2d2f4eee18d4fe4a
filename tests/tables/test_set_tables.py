"""Tables of sets of captions, of metrics that could not be computed, and a picture of two metrics."""

import csv
from pathlib import Path

import numpy as np
import pytest

from captionrl.config import TradeoffFigure, load_paper
from captionrl.errors import UserError
from captionrl.evaluation.results import Result, write_scores
from captionrl.tables.formats import write
from captionrl.tables.table import build
from captionrl.tables.tradeoff import draw_tradeoff

ITEMS = 40
ROWS = [
    {"method": "XE (rs)", "run": "xe.sample", "cited": [74.2, 0.57]},
    {"method": "SLL (rs)", "run": "sll.sample"},
    {"method": "SLL (bs)", "run": "sll.beam-set", "cited": [None, 0.35]},
    {"method": "GAN", "cited": [None, 0.41]},
]
CONTRAST = {"run": "sll.sample", "to": "xe.sample", "what": "narrower"}
SETS = {
    "title": "Sets",
    "corpus": "coco",
    "metrics": ["CIDEr-D", "Div-1"],
    "baseline": "xe",
    "control": "compute-matched",
}
BEST = {**SETS, "metrics": ["CIDEr-D", "SPICE"], "rows": [{"method": "XE", "run": "xe", "cited": [80.0, 19.2]}]}
OURS = {**SETS, "rows": [{"method": "XE (rs)", "run": "xe.sample"}]}  # the paper has no such table
TABLES = {"s": {**SETS, "rows": ROWS, "comparisons": [CONTRAST]}, "b": BEST, "o": OURS}
SLE = Path(__file__).parents[2] / "papers/sle"
PAPER = load_paper(SLE, "mini", {"tables": TABLES})
SHARES = {
    "xe.sample": 0.6,
    "compute-matched.sample": 0.6,
    "sll.sample": 0.3,
    "sll.beam-set": 0.31,
    "xe.beam-set": 0.35,
    "compute-matched.beam-set": 0.36,
}


def result(metric, share, seed):
    scores = np.clip(share + np.random.default_rng(seed).normal(0, 0.02, ITEMS), 0, 1)
    items = {f"image{i:02d}": 100 * float(score) for i, score in enumerate(scores)}
    return Result(metric, 100 * float(scores.mean()), items, np.column_stack([scores, np.ones(ITEMS)]), metric)


@pytest.fixture
def scores(tmp_path):
    scores = {}
    for number, (system, share) in enumerate(SHARES.items()):
        path = tmp_path / system / "seed1.json"
        results = {metric: result(metric, share, number) for metric in ("CIDEr-D", "Div-1")}
        write_scores(path, results, {"seed": 1, "features": "mini"})
        scores[system] = [path]
    return scores


@pytest.fixture
def table(scores, tmp_path):
    write(*build(PAPER, "s", "mini", "here", scores), tmp_path / "s.csv")
    return tmp_path / "s.csv"


def rows_of(path):
    with open(path, newline="") as file:
        return {row["method"]: row for row in csv.DictReader(file)}


def test_a_table_of_sets_needs_what_its_systems_are_compared_with_decoded_as_they_are():
    assert set(PAPER.systems_of("s")) == set(SHARES)
    assert PAPER.runs_of("s") == ["sll", "xe", "compute-matched"]


def test_shares_are_printed_as_they_are_and_scores_times_a_hundred(table):
    row = rows_of(table)["XE (rs)"]
    assert float(row["CIDEr-D"]) == pytest.approx(60, abs=2)
    assert float(row["Div-1"]) == pytest.approx(0.6, abs=0.02)
    assert float(row["Div-1_low"]) < float(row["Div-1"]) < float(row["Div-1_high"])
    assert (row["CIDEr-D_paper"], row["Div-1_paper"]) == ("74.2", "0.57")
    printed = table.with_suffix(".md").read_text()
    assert "| 74.2 | 0.57 |" in printed
    comparison = next(csv.DictReader(table.with_suffix(".comparisons.csv").open()))
    assert float(comparison["difference"]) == pytest.approx(-30, abs=2)
    assert "[-0.3" in printed


def test_a_row_is_tested_against_the_baseline_decoded_as_it_is(table):
    rows = rows_of(table)
    assert rows["XE (rs)"]["Div-1_p"] == ""
    assert float(rows["SLL (bs)"]["Div-1_p"]) < 0.05  # 0.31 against 0.35 of xe.beam-set
    assert float(rows["SLL (rs)"]["Div-1_p"]) < 0.05


def test_what_was_not_printed_stays_empty(table):
    rows = rows_of(table)
    assert (rows["GAN"]["CIDEr-D"], rows["GAN"]["Div-1"]) == ("", "0.41")
    assert rows["SLL (bs)"]["CIDEr-D_paper"] == ""


def test_a_table_that_the_paper_does_not_have_has_no_columns_for_its_numbers(scores, table, tmp_path):
    write(*build(PAPER, "o", "mini", "here", scores), tmp_path / "o.csv")
    for suffix in (".md", ".tex"):
        assert "aper" in table.with_suffix(suffix).read_text()
        assert "aper" not in (tmp_path / "o.csv").with_suffix(suffix).read_text()
    assert (tmp_path / "o.md").read_text().splitlines()[2] == "| method | CIDEr-D | Div-1 |"


def test_a_metric_that_could_not_be_computed_says_why(tmp_path):
    scores = {}
    for run in ("xe", "compute-matched"):
        path = tmp_path / run / "seed1.json"
        facts = {"unavailable": {"SPICE": "it needs its models"}, "features": "mini"}
        write_scores(path, {"CIDEr-D": result("CIDEr-D", 0.5, 1)}, facts)
        scores[run] = [path]
    write(*build(PAPER, "b", "mini", "here", scores), tmp_path / "b.csv")
    row = rows_of(tmp_path / "b.csv")["XE"]
    assert (row["SPICE"], row["SPICE_paper"]) == ("n/a (it needs its models)", "19.2")
    printed = (tmp_path / "b.md").read_text()
    assert "SPICE is n/a: it needs its models." in printed
    assert "| n/a | 80.0 | 19.2 |" in printed


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {**BEST, "rows": [{"method": "XE", "run": "xe.sample"}]},
            r"rows\[0\].run: xe.sample is a set of captions, and has no SPICE",
        ),
        (
            {**TABLES["s"], "rows": [{"method": "XE", "run": "xe"}]},
            r"xe is single captions \(RUN.sample and RUN.beam-set are sets\)",
        ),
        ({**TABLES["s"], "rows": [{"method": "XE", "run": "xe.sr"}]}, r"rows\[0\].run: no decoding is called 'sr'"),
    ],
)
def test_metrics_and_systems_that_do_not_fit_are_named(table, message):
    with pytest.raises(UserError, match=message):
        load_paper(Path(__file__).parents[2] / "papers/sle", "mini", {"tables": {"s": table}})


def legend_of(axes):
    return axes.get_legend().get_texts(), axes.get_legend().get_lines()


def test_a_tradeoff_is_a_point_a_row_of_ours(table):
    figure = TradeoffFigure(title="t", corpus="coco-mini", table="s", x="Div-1", y="CIDEr-D")
    (axes,) = draw_tradeoff(PAPER, figure, {"s": table}).figure().axes
    rows = rows_of(table)
    drawn = [bars.lines[0] for bars in axes.containers]
    assert [tuple(point.get_xydata()[0]) for point in drawn] == [
        (float(rows[method]["Div-1"]), float(rows[method]["CIDEr-D"])) for method in ("XE (rs)", "SLL (rs)", "SLL (bs)")
    ]
    legend = {text.get_text(): line.get_color() for text, line in zip(*legend_of(axes), strict=True)}
    assert list(legend) == ["XE", "SLL"]
    assert [point.get_color() for point in drawn] == [legend["XE"], legend["SLL"], legend["SLL"]]
    assert [point.get_marker() for point in drawn] == ["o", "o", "s"]
    with pytest.raises(UserError, match="sle/s: no table"):
        draw_tradeoff(PAPER, figure, {})


def test_a_tradeoff_may_be_of_single_captions_and_of_a_method_that_others_have_too(tmp_path):
    rows = [{"method": "XE, greedy", "run": "xe.greedy"}, {"method": "XE", "run": "xe"}]
    tables = {"t": {**TABLES["s"], "metrics": ["CIDEr-D", "BLEU-4"], "rows": rows, "comparisons": []}}
    paper = load_paper(SLE, "mini", {"tables": tables})
    path = tmp_path / "t.csv"
    columns = [f"{metric}{what}" for metric in ("CIDEr-D", "BLEU-4") for what in ("", "_low", "_high")]
    lines = [",".join(["method", "source", *columns])]
    cells = {"ours": ",".join(["1"] * 6), "paper": "," * 5}
    lines += [f"{name},{source},{numbers}" for source, numbers in cells.items() for name in ("XE", '"XE, greedy"')]
    path.write_text("\n".join([*lines, ""]))
    figure = TradeoffFigure(title="t", corpus="coco-mini", table="t", x="BLEU-4", y="CIDEr-D")
    drawn = draw_tradeoff(paper, figure, {"t": path}).figure()
    (axes,) = drawn.axes
    assert [bars.lines[0].get_marker() for bars in axes.containers] == ["^", "D"]
    assert [text.get_text() for text in legend_of(axes)[0]] == ["XE"]
    assert "Triangles: greedy; diamonds: beam search." in " ".join(text.get_text() for text in drawn.texts)


def test_a_tradeoff_of_a_table_without_its_rows_names_it(tmp_path):
    figure = TradeoffFigure(title="t", corpus="coco-mini", table="s", x="Div-1", y="CIDEr-D")
    path = tmp_path / "s.csv"
    path.write_text("method,source\nXE,ours\n")
    with pytest.raises(UserError, match=r"s\.csv: not the numbers of this figure \("):
        draw_tradeoff(PAPER, figure, {figure.table: path})


STACKCAP = Path(__file__).parents[2] / "papers/stackcap"
STAGES = {"title": "Stages", "corpus": "coco", "metrics": ["CIDEr-D"], "baseline": "lstm", "control": "lstm-xe"}


def test_a_stages_captions_are_compared_with_those_of_other_runs_last_stages():
    rows = [{"method": "coarse", "run": "stack-cap.stage0"}, {"method": "sets", "run": "stack-cap.sample"}]
    paper = load_paper(STACKCAP, "mini", {"tables": {"t": {**STAGES, "rows": rows}}})
    assert paper.systems_of("t") == [
        "stack-cap.stage0",
        "lstm",
        "lstm-xe",
        "stack-cap.sample",
        "lstm.sample",
        "lstm-xe.sample",
    ]
    assert paper.runs_of("t") == ["stack-cap", "lstm", "lstm-xe"]


def test_a_row_of_a_stage_may_have_the_same_stage_as_its_control():
    rows = [{"method": "coarse", "run": "stack-cap.stage0", "control": "stack-cap-compute-matched.stage0"}]
    paper = load_paper(STACKCAP, "mini", {"tables": {"t": {**STAGES, "rows": rows}}})
    assert paper.systems_of("t") == ["stack-cap.stage0", "lstm", "stack-cap-compute-matched.stage0"]
    rows = [{**rows[0], "control": "lstm-xe.stage0"}]
    with pytest.raises(UserError, match=r"rows\[0\].control: no decoding is called 'stage0'"):
        load_paper(STACKCAP, "mini", {"tables": {"t": {**STAGES, "rows": rows}}})


@pytest.mark.parametrize("system", ["stack-cap.stage2", "lstm.stage0", "stack-cap.stage", "stack-cap.stage00"])
def test_only_stages_before_the_last_one_have_a_system_of_their_own(system):
    tables = {"t": {**STAGES, "rows": [{"method": "no", "run": system}]}}
    with pytest.raises(UserError, match=r"rows\[0\].run: no decoding is called 'stage"):
        load_paper(STACKCAP, "mini", {"tables": tables})


def test_with_more_stages_more_of_them_can_be_asked():
    tables = {"t": {**STAGES, "rows": [{"method": "third", "run": "stack-cap.stage2"}]}}
    assert load_paper(STACKCAP, "mini", {"tables": tables, "sizes": {"stages": 4}}).tables["t"].rows
