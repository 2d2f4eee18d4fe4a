"""Tables: from score files to csv, Markdown, LaTeX and the provenance of every cell."""

import csv
import json
import re
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from captionrl.config import Paper, load_paper
from captionrl.errors import UserError
from captionrl.evaluation.aggregate import aggregate
from captionrl.evaluation.bootstrap import paired
from captionrl.evaluation.results import Result, read_scores, write_scores
from captionrl.tables.formats import write
from captionrl.tables.table import SAMPLES, build

ITEMS = 60
QUALITY = {"xe-baseline": 0.4, "rl-baseline": 0.5, "compute-matched": 0.4}
HRL_QUALITY = {"hrl-16": 0.6, "hrl-16-compute-matched": 0.6}
METRICS = ["BLEU-4", "CIDEr-D"]
ROWS = [
    {"method": "Aalto & friends, 100%_#1 | x", "cited": [39.8, 45.7]},
    {"method": "XE-baseline", "run": "xe-baseline", "cited": [41.3, 44.7]},
    {"method": "RL-baseline", "run": "rl-baseline", "cited": [40.6, 46.3]},
    {"method": "compute-matched XE", "run": "compute-matched", "note": "as many updates, 100% & more"},
]
TABLE = {
    "title": "Ours & theirs_2",
    "corpus": "msrvtt",
    "metrics": METRICS,
    "baseline": "xe-baseline",
    "control": "compute-matched",
    "rows": ROWS,
}
HRL_ROWS = [
    {"method": "XE-baseline", "run": "xe-baseline"},
    {"method": "compute-matched XE", "run": "compute-matched"},
    {"method": "HRL", "run": "hrl-16", "control": "hrl-16-compute-matched"},
]
COMPARISONS = [
    {"run": "rl-baseline", "to": "hrl-16-compute-matched", "what": "flat | hierarchical, 100%"},
    {"run": "hrl-16", "to": "hrl-16-compute-matched", "what": "nothing"},
]
NOTED_ROWS = [
    *ROWS,
    {**ROWS[1], "method": "again", "note": ROWS[3]["note"]},
    {**ROWS[1], "method": "yet again", "note": "another_one"},
]
TABLES = {
    "t": TABLE,
    "h": {**TABLE, "rows": HRL_ROWS, "comparisons": COMPARISONS},
    "n": {**TABLE, "rows": NOTED_ROWS},
}
PAPER = load_paper(Path(__file__).parents[2] / "papers/hrl", "mini", {"tables": TABLES})


def results(quality, seed, items=ITEMS):
    """Synthetic statistics; an item is equally hard for every run and seed."""
    hardness = np.random.default_rng(0).uniform(-0.2, 0.2, items)
    share = np.clip(quality + hardness + np.random.default_rng(seed).normal(0, 0.02, items), 0, 1)
    guesses = np.tile([9.0, 8, 7, 6], (items, 1))
    bleu = np.hstack([np.round(guesses * share[:, None]), guesses, np.full((items, 2), 9.0)])
    statistics = {"BLEU-4": bleu, "CIDEr-D": np.column_stack([share, np.ones(items)])}
    return {
        metric: Result(
            metric,
            float(aggregate(metric, rows.sum(0))),
            {f"video{i:02d}": float(value) for i, value in enumerate(aggregate(metric, rows))},
            rows,
            f"{metric}|tok:ptb-coco|items:{items}",
        )
        for metric, rows in statistics.items()
    }


@pytest.fixture
def scores(tmp_path):
    """Score files of three runs with two seeds each."""
    return score_files(tmp_path, QUALITY)


@pytest.fixture
def hrl_scores(tmp_path):
    """Likewise, of HRL and its own control too: as good as each other, and better than the table's control."""
    return score_files(tmp_path, QUALITY | HRL_QUALITY)


def score_files(tmp_path, qualities):
    files = {}
    for number, (run, quality) in enumerate(qualities.items()):
        files[run] = [tmp_path / run / f"seed{seed}.json" for seed in (1, 2)]
        for seed, path in zip((1, 2), files[run], strict=True):
            facts = {"checkpoint_sha256": f"c{run}{seed}", "predictions_sha256": f"p{run}{seed}", "seed": seed}
            facts |= {"hours": 0.5, "commit": "abc", "features": "none" if run == "no-visual-input" else "mini"}
            write_scores(path, results(quality, 10 * number + seed), facts)
    return files


def build_t(scores):
    return build(PAPER, "t", "mini", "captions_of 100% of the files", scores)


def written(scores, out):
    write(*build_t(scores), out)
    return out


def rows_of(path):
    with open(path, newline="") as file:
        return {row["method"]: row for row in csv.DictReader(file)}


def test_two_builds_are_equal_to_the_byte_whatever_the_order_of_scores(scores, tmp_path):
    one = written(scores, tmp_path / "one/t.csv")
    shuffled = {run: paths[::-1] for run, paths in reversed(scores.items())}
    other = written(shuffled, tmp_path / "other/t.csv")
    for suffix in (".csv", ".md", ".tex"):
        assert one.with_suffix(suffix).read_bytes() == other.with_suffix(suffix).read_bytes()
    again = written(scores, tmp_path / "again/t.csv")
    names = ["t.cells.jsonl", "t.comparisons.csv", "t.csv", "t.md", "t.tex"]
    assert sorted(path.name for path in again.parent.iterdir()) == names
    for path in again.parent.iterdir():
        assert path.read_bytes() == (one.parent / path.name).read_bytes()


def test_every_method_has_one_row_and_says_whose_numbers_it_holds(scores, tmp_path):
    rows = rows_of(written(scores, tmp_path / "t.csv"))
    assert list(rows) == [row["method"] for row in ROWS]
    ours = rows["RL-baseline"]
    facts = ("source", "scale", "corpus", "features", "seeds", "items")
    assert [ours[key] for key in facts] == ["ours", "mini", "msrvtt-mini", "mini", "2", str(ITEMS)]
    assert (ours["BLEU-4_paper"], ours["CIDEr-D_paper"]) == ("40.6", "46.3")
    assert ours["origin"] == "captions_of 100% of the files"
    control = rows["compute-matched XE"]
    assert (control["source"], control["CIDEr-D_paper"], control["note"]) == ("ours", "", ROWS[3]["note"])


def test_a_cited_number_belongs_to_the_papers_own_corpus(scores, tmp_path):
    row = rows_of(written(scores, tmp_path / "t.csv"))[ROWS[0]["method"]]
    assert (row["source"], row["scale"], row["corpus"]) == ("cited", "paper", "msrvtt")
    assert (row["BLEU-4"], row["CIDEr-D"], row["CIDEr-D_paper"]) == ("39.8", "45.7", "45.7")
    empty = ("features", "seeds", "items", "origin", "CIDEr-D_low", "CIDEr-D_high", "CIDEr-D_p")
    assert [row[key] for key in empty] == [""] * 7


def test_cited_numbers_may_be_on_another_corpus_and_every_format_says_which(scores, tmp_path):
    on_another = {"tables": {"t": {**TABLE, "cited_on": "charades"}}}
    paper = load_paper(Path(__file__).parents[2] / "papers/hrl", "mini", on_another)
    write(*build(paper, "t", "mini", "some files", scores), tmp_path / "t.csv")
    rows = rows_of(tmp_path / "t.csv")
    assert (rows[ROWS[0]["method"]]["corpus"], rows["RL-baseline"]["corpus"]) == ("charades", "msrvtt-mini")
    for suffix in (".md", ".tex"):
        text = (tmp_path / "t").with_suffix(suffix).read_text()
        assert "Ours: msrvtt-mini (mini scale), " in text
        assert "Paper: as printed, on charades. " in text
    for suffix in (".md", ".tex"):
        assert "Paper: as printed, on msrvtt. " in written(scores, tmp_path / "u.csv").with_suffix(suffix).read_text()


def test_a_value_is_the_mean_over_seeds_inside_its_interval(scores, tmp_path):
    rows = rows_of(written(scores, tmp_path / "t.csv"))
    for number, (run, quality) in enumerate(QUALITY.items()):
        row = next(rows[row["method"]] for row in ROWS if row.get("run") == run)
        for metric in METRICS:
            seeds = [results(quality, 10 * number + seed)[metric].value for seed in (1, 2)]
            assert seeds[0] != seeds[1]
            assert float(row[metric]) == pytest.approx(np.mean(seeds), abs=0.005)
            assert float(row[f"{metric}_sd"]) == pytest.approx(np.std(seeds, ddof=1), abs=0.005)
            assert float(row[f"{metric}_low"]) < float(row[metric]) < float(row[f"{metric}_high"])


def test_of_one_seed_there_is_no_deviation_and_the_interval_is_over_items_alone(scores, tmp_path):
    out = written(scores, tmp_path / "two.csv")
    assert (
        "mean ± standard deviation of 2 seeds, 95 % interval over seeds and items;"
        in out.with_suffix(".md").read_text()
    )
    assert r" $\pm$ " in out.with_suffix(".tex").read_text()
    out = written({run: paths[:1] for run, paths in scores.items()}, tmp_path / "one.csv")
    assert {rows_of(out)[row["method"]]["CIDEr-D_sd"] for row in ROWS} == {""}
    text = out.with_suffix(".md").read_text()
    assert "one seed, 95 % interval over items alone;" in text
    assert "±" not in text


def test_seeds_are_paired_whatever_the_order_of_their_files(scores):
    def significance():
        return [(c.p, c.p_control) for line in build_t(scores)[0].lines for c in line.cells.values()]

    before = significance()
    scores["rl-baseline"].reverse()
    assert significance() == before


def test_only_a_clear_difference_from_the_baseline_is_significant(scores, tmp_path):
    rows = rows_of(written(scores, tmp_path / "t.csv"))
    for metric in METRICS:
        assert float(rows["RL-baseline"][f"{metric}_p"]) < 0.05
        assert float(rows["RL-baseline"][f"{metric}_p_control"]) < 0.05
        assert rows["compute-matched XE"][f"{metric}_p_control"] == ""
        assert rows["XE-baseline"][f"{metric}_p"] == ""
    assert float(rows["compute-matched XE"]["CIDEr-D_p"]) > 0.05


def test_a_run_equal_to_the_baseline_has_p_1(scores):
    scores["rl-baseline"] = scores["xe-baseline"]
    cells = {line.row.run: line.cells for line in build_t(scores)[0].lines}
    assert cells["rl-baseline"]["CIDEr-D"].p == 1


def test_a_users_own_table_needs_no_control(scores, tmp_path):
    settings = PAPER.model_dump(by_alias=True)
    settings["tables"] = {"t": {**PAPER.tables["t"].model_dump(), "control": None, "rows": ROWS[1:3]}}
    paper = Paper.model_validate(settings)
    assert paper.runs_of("t") == ["xe-baseline", "rl-baseline"]
    write(*build(paper, "t", "own", "captions.jsonl", scores), tmp_path / "t.csv")
    rows = rows_of(tmp_path / "t.csv")
    assert {row["CIDEr-D_p_control"] for row in rows.values()} == {""}
    assert float(rows["RL-baseline"]["CIDEr-D_p"]) < 0.05
    legend = (tmp_path / "t.md").read_text().splitlines()[0]
    assert "† differs from xe-baseline (paired bootstrap, p < 0.05)." in legend


def test_a_row_with_a_control_of_its_own_is_tested_against_that_one(hrl_scores):
    built, provenance = build(PAPER, "h", "mini", "", hrl_scores)
    cells = {line.row.run: line.cells for line in built.lines}
    for metric in METRICS:
        assert cells["hrl-16"][metric].p_control == p_value(hrl_scores, metric, "hrl-16", "hrl-16-compute-matched")
        assert cells["hrl-16"][metric].p_control > 0.05 > p_value(hrl_scores, metric, "hrl-16", "compute-matched")
        assert cells["hrl-16"][metric].p == p_value(hrl_scores, metric, "hrl-16", "xe-baseline")
        assert cells["xe-baseline"][metric].p_control == p_value(hrl_scores, metric, "xe-baseline", "compute-matched")
        assert cells["compute-matched"][metric].p_control is None
    against = {(cell["run"], cell["p_against"], cell["p_control_against"]) for cell in provenance}
    assert against == {
        ("xe-baseline", "xe-baseline", "compute-matched"),
        ("compute-matched", "xe-baseline", "compute-matched"),
        ("hrl-16", "xe-baseline", "hrl-16-compute-matched"),
    }


def test_the_legend_names_the_control_of_each_row(scores, hrl_scores, tmp_path):
    write(*build(PAPER, "h", "mini", "", hrl_scores), tmp_path / "h.csv")
    for suffix in (".md", ".tex"):
        legend = (tmp_path / "h.csv").with_suffix(suffix).read_text().replace(r"$^\ddagger$", "‡")
        assert ', ‡ from compute-matched, of "HRL" from hrl-16-compute-matched (paired' in legend
        text = written(scores, tmp_path / "t.csv").with_suffix(suffix).read_text().replace(r"$^\ddagger$", "‡")
        assert "‡ from compute-matched (paired bootstrap, p < 0.05). Paper:" in text


def p_value(scores, metric, run, other):
    ours, theirs = ([read_scores(path)[0][metric].statistics for path in scores[name]] for name in (run, other))
    return paired(metric, ours, theirs, SAMPLES)


def mean_of(scores, metric, run):
    return np.mean([read_scores(path)[0][metric].value for path in scores[run]])


def test_a_comparison_is_a_difference_of_means_with_an_interval_and_a_test(hrl_scores):
    built, _ = build(PAPER, "h", "mini", "", hrl_scores)
    assert [(comparison.run, comparison.to) for comparison, _ in built.comparisons] == [
        (c["run"], c["to"]) for c in COMPARISONS
    ]
    for comparison, differences in built.comparisons:
        assert list(differences) == METRICS
        for metric, difference in differences.items():
            means = [mean_of(hrl_scores, metric, run) for run in (comparison.run, comparison.to)]
            assert difference.value == pytest.approx(means[0] - means[1])
            assert difference.low < difference.value < difference.high
            assert difference.p == p_value(hrl_scores, metric, comparison.run, comparison.to)
    (_, worse), (_, equal) = built.comparisons
    assert all(difference.high < 0 and difference.p < 0.05 for difference in worse.values())
    assert all(difference.low < 0 < difference.high and difference.p > 0.05 for difference in equal.values())


def test_comparisons_have_a_csv_of_their_own_and_a_second_table(hrl_scores, tmp_path):
    built, provenance = build(PAPER, "h", "mini", "", hrl_scores)
    write(built, provenance, tmp_path / "h.csv")
    with open(tmp_path / "h.comparisons.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    places = [(row["run"], row["to"], row["what"], row["scale"], row["corpus"], row["metric"]) for row in rows]
    assert places == [
        (c["run"], c["to"], c["what"], "mini", "msrvtt-mini", metric) for c in COMPARISONS for metric in METRICS
    ]
    found = [difference for _, differences in built.comparisons for difference in differences.values()]
    for row, difference in zip(rows, found, strict=True):
        numbers = [float(row[key]) for key in ("difference", "low", "high", "p")]
        assert numbers == pytest.approx([difference.value, difference.low, difference.high, difference.p], abs=0.005)

    first, second = (
        (tmp_path / "h.md").read_text().split("\nDifferences, with their 95 % intervals over seeds and items")
    )
    assert len([line for line in first.splitlines() if line.startswith("|")]) == 2 + len(HRL_ROWS)
    lines = [re.split(r"(?<!\\)\|", line.strip("|")) for line in second.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in lines[0]] == ["difference", *METRICS]
    assert {len(cells) for cells in lines} == {1 + len(METRICS)}
    for comparison, cells, (_, differences) in zip(COMPARISONS, lines[2:], built.comparisons, strict=True):
        name = cells[0].replace("\\|", "|")
        assert name.strip() == f"{comparison['run']} \u2212 {comparison['to']}: {comparison['what']}"
        assert [cell.strip() for cell in cells[1:]] == [
            f"{d.value:+.1f} [{d.low:+.1f}, {d.high:+.1f}]" for d in differences.values()
        ]

    body = (tmp_path / "h.tex").read_text().split("\\midrule\n")[2].split("\\bottomrule")[0].splitlines()
    assert body[1].startswith(r"hrl-16 $-$ hrl-16-compute-matched: nothing & ")
    assert [len(re.findall(r"(?<!\\)&", line)) for line in body] == [len(METRICS)] * len(COMPARISONS)


def test_without_comparisons_there_is_one_table(scores, tmp_path):
    out = written(scores, tmp_path / "t.csv")
    assert "ifference" not in out.with_suffix(".md").read_text()
    assert len(out.with_suffix(".comparisons.csv").read_text().splitlines()) == 1


@pytest.mark.parametrize("run", ["hrl-16-compute-matched", "rl-baseline"])
def test_what_only_a_test_or_a_comparison_needs_must_be_scored_too(hrl_scores, run):
    assert run not in {row["run"] for row in HRL_ROWS}
    del hrl_scores[run]
    with pytest.raises(UserError, match=f"hrl/h: no scores of {run}"):
        build(PAPER, "h", "mini", "", hrl_scores)


def test_every_cell_of_ours_says_where_it_came_from(scores, tmp_path):
    out = written(scores, tmp_path / "t.csv")
    cells = [json.loads(line) for line in out.with_suffix(".cells.jsonl").read_text().splitlines()]
    runs = [row["run"] for row in ROWS if "run" in row]
    assert [(cell["run"], cell["metric"]) for cell in cells] == [(run, metric) for run in runs for metric in METRICS]
    rows = rows_of(out)
    for cell in cells:
        assert [facts["checkpoint_sha256"] for facts in cell["seeds"]] == [f"c{cell['run']}{seed}" for seed in (1, 2)]
        assert [facts["predictions_sha256"] for facts in cell["seeds"]] == [f"p{cell['run']}{seed}" for seed in (1, 2)]
        assert np.mean([facts["value"] for facts in cell["seeds"]]) == pytest.approx(cell["value"])
        assert f"{cell['value']:.2f}" == rows[cell["method"]][cell["metric"]]
        assert cell["signature"].startswith(f"{cell['metric']}|")
        assert cell["commit"]
        assert (cell["table"], cell["scale"], cell["corpus"]) == ("hrl/t", "mini", "msrvtt-mini")
        assert cell["recompute"] == "snakemake --config scale=mini -- results/mini/hrl/t.csv"


def test_seeds_scored_on_other_items_are_refused(scores):
    write_scores(scores["rl-baseline"][1], results(0.5, 1, items=ITEMS - 1), {})
    with pytest.raises(UserError, match="scored on other items than") as error:
        build_t(scores)
    assert str(scores["rl-baseline"][1]) in str(error.value)


def test_a_table_that_the_paper_lacks_is_one_line(scores):
    with pytest.raises(UserError, match="table9"):
        build(PAPER, "table9", "mini", "", scores)


def test_a_run_without_scores_is_named(scores):
    del scores["compute-matched"]
    with pytest.raises(UserError, match="compute-matched"):
        build_t(scores)


def test_a_metric_missing_from_a_score_file_is_named(scores):
    path = scores["rl-baseline"][0]
    only = {"CIDEr-D": results(0.5, 1)["CIDEr-D"]}
    write_scores(path, only, {})
    with pytest.raises(UserError, match="BLEU-4") as error:
        build_t(scores)
    assert str(path) in str(error.value)


def test_markdown_has_a_row_a_method_with_all_its_cells(scores, tmp_path):
    lines = written(scores, tmp_path / "t.csv").with_suffix(".md").read_text().splitlines()
    table = [re.split(r"(?<!\\)\|", line.strip("|")) for line in lines if line.startswith("|")]
    assert len(table) == 2 + len(ROWS)
    assert {len(cells) for cells in table} == {1 + 2 * len(METRICS)}
    names = [cells[0].strip().replace("\\|", "|") for cells in table[2:]]
    assert names == [row["method"] + ("<sup>1</sup>" if "note" in row else "") for row in ROWS]
    assert "†" in table[4][1]  # RL-baseline differs
    assert "†" not in "".join(table[3])


def test_notes_of_rows_stand_numbered_below_the_table_and_equal_ones_once(scores, tmp_path):
    write(*build(PAPER, "n", "mini", "", scores), tmp_path / "n.csv")
    text = (tmp_path / "n.md").read_text()
    assert text.endswith("\nNotes:\n\n1. as many updates, 100% & more\n2. another_one\n")
    assert [re.findall("<sup>(.*?)</sup>", line) for line in text.splitlines() if line.startswith("| ")][1:] == [
        [], [], [], ["1"], ["1"], ["2"],
    ]  # fmt: skip
    text = (tmp_path / "n.tex").read_text()
    assert "compute-matched XE$^{1}$ & " in text
    assert r"$^{1}$ as many updates, 100\% \& more" in text
    assert r"$^{2}$ another\_one" in text


def test_markdown_says_what_the_numbers_are(scores, tmp_path):
    legend = written(scores, tmp_path / "t.csv").with_suffix(".md").read_text().splitlines()[0]
    facts = (
        "mini scale",
        "msrvtt-mini",
        "mini features",
        "60 test items",
        "mean ± standard deviation of 2 seeds",
        "95 %",
    )
    for fact in (*facts, "differs from xe-baseline"):
        assert fact in legend


def test_the_legend_says_how_many_test_items_had_no_features(scores, tmp_path):
    write(*build(PAPER, "t", "mini", "some files", scores, split_items=64), tmp_path / "t.csv")
    assert "60 of the 64 test items (the others have no features)" in (tmp_path / "t.md").read_text()
    write(*build(PAPER, "t", "mini", "some files", scores, split_items=60), tmp_path / "t.csv")
    assert " 60 test items" in (tmp_path / "t.md").read_text()


def test_latex_has_a_row_a_method_and_no_bare_special(scores, tmp_path):
    text = written(scores, tmp_path / "t.csv").with_suffix(".tex").read_text()
    body = text.split("\\midrule\n")[1].split("\\bottomrule")[0].splitlines()
    assert len(body) == len(ROWS)
    assert body[0].startswith(r"Aalto \& friends, 100\%\_\#1 ")
    for line in body:
        assert len(re.findall(r"(?<!\\)&", line)) == 2 * len(METRICS)  # those between cells
        assert line.endswith(r" \\")
    assert r"$^\dagger$" in body[2]
    assert r"Ours \& theirs\_2" in text
    assert r"captions\_of 100\% of" in text
    caption = re.search(r"\\caption\{(.*)\}", text)[1]
    assert not re.search(r"(?<!\\)[%&#_]", caption)
    assert "†" not in text


def test_a_seed_counts_once(scores):
    twice = {run: [*paths, paths[0]] for run, paths in scores.items()}
    with pytest.raises(UserError, match=r"seed1\.json: seed 1, which .*seed1\.json is of, too; give one of them"):
        build_t(twice)


def test_systems_of_other_seeds_are_not_compared(scores):
    path = scores["rl-baseline"][1]
    found, facts = read_scores(path)
    write_scores(path, found, facts | {"seed": 3})
    with pytest.raises(UserError, match=rf"^({path}: seed 3 beside seed 2 of|.*: seed 2 beside seed 3 of {path})"):
        build_t(scores)


def test_a_table_of_which_nothing_could_be_computed_has_its_cited_numbers(scores, tmp_path):
    for path in chain.from_iterable(scores.values()):
        found, facts = read_scores(path)
        write_scores(path, found, facts | {"unavailable": dict.fromkeys(METRICS, "no Java")})
    assert {row["CIDEr-D"] for row in rows_of(written(scores, tmp_path / "t.csv")).values()} == {
        "45.7",
        "n/a (no Java)",
    }
