"""bench/intervals.py makes the tables' intervals, and counts rightly how often they hold the mean of other seeds."""

import json
import math
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from captionrl.config import load_paper
from captionrl.evaluation.aggregate import aggregate
from captionrl.evaluation.results import Result, write_scores
from captionrl.tables.table import build

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "bench/intervals.py"
MEAN = "CIDEr-D"  # a mean over items
COLUMNS = ("two_levels", "items_alone")
RUNS = ("rl-baseline", "xe-baseline", "compute-matched")


@pytest.fixture
def intervals(monkeypatch):
    """The script as a module, with fewer resamples and simulated studies."""
    spec = spec_from_file_location("intervals", SCRIPT)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "SAMPLES", 200)
    monkeypatch.setattr(module, "STUDIES", 300)
    monkeypatch.setattr(module, "DRAWS", 5_000)
    return module


def scored(metric, rows):
    items = {f"video{place:03d}": 0.0 for place in range(len(rows))}
    return {metric: Result(metric, float(aggregate(metric, rows.sum(axis=0))), items, rows, "")}


def trainings(rng, seeds, of_seeds, of_items, mean=0.5, items=100):
    """Scores of trainings that differ as a whole, of items that differ; both normal, with these deviations."""
    scores = mean + rng.normal(0, of_seeds, (seeds, 1)) + rng.normal(0, of_items, items)
    return [scored(MEAN, np.column_stack([row, np.ones(items)])) for row in scores]


def studies(intervals, number, gap=0.0, **deviations):
    """The rows of 3 of 8 seeds: of single runs (two a study) and of differences; and the significance of the latter."""
    rng = np.random.default_rng(0)
    single, differences, significant = [], [], []
    for _ in range(number):
        run, to = (trainings(rng, 8, mean=mean, **deviations) for mean in (0.5 + gap, 0.5))
        rows, tests = intervals.measure(intervals.Run("a", run), intervals.Run("b", to), [MEAN], [3])
        single, differences, significant = single + rows[:2], differences + rows[2:], significant + tests
    return single, differences, significant


def test_what_is_expected_of_normal_seeds_is_what_can_be_computed(intervals, monkeypatch):
    """(mean of 3 - mean of 9) / (s / sqrt(3)) is sqrt(1 + 3/9) t; the interval's limit is t's 97.5 percentile."""
    monkeypatch.undo()
    limit = 4.303 / math.sqrt(1 + 3 / 9)
    exact = limit / math.sqrt(2 + limit**2)  # two degrees of freedom
    assert intervals.expected(12, 3, 1.0, 0.0, True).mean == pytest.approx(exact, abs=0.01)
    exact = math.erf(1.96 * 0.7 / math.sqrt(1 / 3 + 1 / 9) / math.sqrt(2))
    assert intervals.expected(12, 3, 1.0, 0.7, False).mean == pytest.approx(exact, abs=0.01)


def test_normal_seeds_and_items_are_covered_as_expected(intervals):
    single, differences, _ = studies(intervals, 30, of_seeds=0.02, of_items=0.1)
    for rows in (single, differences):
        for column in COLUMNS:
            found = [getattr(row, column) for row in rows]
            expected = np.mean([held.expected.mean for held in found])
            assert np.mean([held.share for held in found]) == pytest.approx(expected, abs=0.06)
            assert np.mean([held.expected.low <= held.share <= held.expected.high for held in found]) > 0.8
    assert np.mean([row.two_levels.share for row in single]) > 0.9
    assert np.mean([row.deviation for row in single]) == pytest.approx(2, abs=0.3)


def test_where_seeds_differ_more_than_items_intervals_over_items_alone_fail(intervals):
    single, _, significant = studies(intervals, 12, of_seeds=0.05, of_items=0.05)
    assert np.mean([row.items_alone.share for row in single]) < 0.3
    assert np.mean([row.two_levels.share for row in single]) > 0.85
    assert all(row.two_levels.width > 3 * row.items_alone.width for row in single)
    wrong = [np.mean([getattr(row, column).other_sign for row in significant]) for column in COLUMNS]
    assert wrong[0] < 0.05 < wrong[1]


def test_a_clear_difference_is_significant_with_its_sign(intervals):
    _, _, significant = studies(intervals, 3, gap=-0.2, of_seeds=0.01, of_items=0.05)
    assert all(row.mean < -15 and row.two_levels.same_sign > 0.95 for row in significant)
    assert all(row.two_levels.other_sign == row.items_alone.other_sign == 0 for row in significant)


def bleu(rng, quality, items=40):
    guesses = np.tile([9.0, 8, 7, 6], (items, 1))
    matches = rng.binomial(guesses.astype(int), quality)
    return np.hstack([matches, guesses, np.full((items, 2), 9.0)])


@pytest.fixture
def scores(tmp_path):
    """Score files of three runs and four seeds."""
    rng = np.random.default_rng(0)
    for run, quality in zip(RUNS, (0.65, 0.6, 0.6), strict=True):
        for seed in range(1, 5):
            results = scored("BLEU-4", bleu(rng, quality)) | trainings(rng, 1, 0.02, 0.1, quality, items=40)[0]
            write_scores(tmp_path / run / f"seed{seed}.json", results, {"features": "mini"})
    return tmp_path


def test_its_intervals_and_p_values_are_those_of_the_tables(intervals, scores, monkeypatch):
    monkeypatch.undo()  # as many resamples as a table
    metrics = ["BLEU-4", MEAN]
    table = {"title": "", "corpus": "msrvtt", "metrics": metrics, "baseline": RUNS[1], "control": RUNS[2]}
    table["rows"] = [{"method": run, "run": run} for run in RUNS]
    table["comparisons"] = [{"run": RUNS[0], "to": RUNS[1], "what": ""}]
    paper = load_paper(ROOT / "papers/hrl", "mini", {"tables": {"t": table}})
    files = {run: [scores / run / f"seed{seed}.json" for seed in (1, 2, 4)] for run in RUNS}
    built = build(paper, "t", "mini", "", files)[0]
    run, to = (intervals.read(scores, name, [1, 2, 3, 4], metrics) for name in RUNS[:2])
    with intervals.resampled_once():
        for metric in metrics:
            for line, one in zip(built.lines, (run, to), strict=False):
                cell = line.cells[metric]
                assert intervals.interval_of(one)(metric, (0, 1, 3)) == pytest.approx((cell.low, cell.high), abs=1e-9)
            difference = built.comparisons[0][1][metric]
            low, high = intervals.difference_of(run, to)(metric, (0, 1, 3))
            assert (low, high) == pytest.approx((difference.low, difference.high), abs=1e-9)
            significant = intervals.tested(3, "", metric, run, to, [(0, 1, 3)]).two_levels
            assert significant.same_sign + significant.other_sign == (difference.p < 0.05)


def called(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, timeout=120)


def test_it_prints_a_line_a_run_metric_and_size_and_writes_them(scores, tmp_path):
    options = ("--scores", scores, "--seeds", *"1234", "--subsets", *"23", "--metrics", MEAN)
    done = called(*options, "--json", tmp_path / "figures.json")
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    of = ["xe-baseline", "rl-baseline", "rl-baseline - xe-baseline"]
    assert [(row["seeds"], row["subsets"], row["what"]) for row in figures["rows"]] == [
        (size, subsets, what) for size, subsets in ((2, 6), (3, 4)) for what in of
    ]
    assert all(f"\n| {row['seeds']} | {row['what']} | {row['metric']} | " in done.stdout for row in figures["rows"])
    assert len(figures["significant"]) == 2


def test_it_says_what_it_lacks(scores):
    done = called("--scores", scores, "--seeds", *"12345", "--metrics", MEAN)
    assert done.returncode == 2
    assert "--subsets: of 5 seeds" in done.stderr
    done = called("--scores", scores, "--seeds", *"12345", "--subsets", 2, "--metrics", MEAN)
    assert done.returncode == 1
    assert f"{scores}/rl-baseline/seed5.json" in done.stderr
    assert "Traceback" not in done.stderr
