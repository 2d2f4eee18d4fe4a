"""A paper's claims beside our differences: which there are, and the verdict of each."""

import csv
from pathlib import Path

import pytest

from captionrl.config import find_papers, load_paper
from captionrl.errors import UserError
from captionrl.tables.claims import Finding, claims, has_claims, printed, write_claims

ROOT = Path(__file__).parents[2]
PAPER = load_paper(ROOT / "papers/hrl", "mini")
STACKCAP = load_paper(ROOT / "papers/stackcap", "mini")
HEADER = "run,to,what,scale,corpus,metric,difference,low,high,p\n"


def comparisons(folder, table, numbers, metrics=None):
    """A table of hrl whose differences are all the same."""
    lines = [
        f"{c.run},{c.to},words,mini,msrvtt-mini,{metric},{','.join(map(str, numbers))},0.1\n"
        for c in PAPER.tables[table].comparisons
        for metric in metrics or PAPER.tables[table].metrics
    ]
    (folder / f"{table}.comparisons.csv").write_text(HEADER + "".join(lines))
    return folder / f"{table}.csv"


@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [
        ((2, 3, 1, 5), "holds"),
        ((-2, -3, -5, -1), "holds"),
        ((2, -3, -5, -1), "does not hold"),
        ((-2, 3, 1, 5), "does not hold"),
        ((2, 3, -1, 5), "cannot tell"),
        ((-2, 3, 0, 5), "cannot tell"),
        ((0, 3, 1, 5), "cannot tell"),
        ((2, 0, 0, 0), "cannot tell"),
    ],
)
def test_the_verdict_is_the_side_of_zero(numbers, verdict):
    assert Finding(*numbers).verdict == verdict


def test_printed_differences_are_those_of_the_papers_numbers(tmp_path):
    found = claims(PAPER, [comparisons(tmp_path, "table1", (1, 0.5, 2)), comparisons(tmp_path, "table2", (1, -1, 2))])
    first, second = ([(c.comparison.run, c.comparison.to) for c in found if c.table == t] for t in ("table1", "table2"))
    assert first == [("rl-baseline", "xe-baseline"), ("hrl-16", "rl-baseline")]
    pairs = [("hrl-32", "rl-baseline"), ("hrl-64", "rl-baseline"), ("hrl-16", "hrl-32"), ("hrl-32", "hrl-64")]
    assert second == first + pairs
    flat = next(claim for claim in found if claim.comparison.run == "rl-baseline")
    assert {metric: finding.printed for metric, finding in flat.findings.items()} == {
        "BLEU-4": -0.7, "METEOR": 0.9, "ROUGE-L": 0.8, "CIDEr-D": 1.6,
    }  # fmt: skip
    assert [finding.verdict for finding in flat.findings.values()] == ["does not hold", "holds", "holds", "holds"]
    assert flat.main == "CIDEr-D"


def test_numbers_of_another_table_on_the_same_corpus_count():
    comparison = next(
        c for c in STACKCAP.tables["table2"].comparisons if (c.run, c.to) == ("stack-cap", "stack-cap-xe")
    )
    assert printed(STACKCAP, STACKCAP.tables["table2"], comparison)["CIDEr-D"] == pytest.approx(120.4 - 109.1)
    charades = next(c for c in PAPER.tables["table2"].comparisons if (c.run, c.to) == ("rl-baseline", "xe-baseline"))
    assert printed(PAPER, PAPER.tables["table2"], charades)["CIDEr-D"] == pytest.approx(21.6 - 16.7)


def test_a_metric_that_could_not_be_computed_is_left_out(tmp_path):
    found = claims(PAPER, [comparisons(tmp_path, "table1", (1, 0.5, 2), metrics=["METEOR", "ROUGE-L"])])
    assert {tuple(claim.findings) for claim in found} == {("METEOR", "ROUGE-L")}
    assert {claim.main for claim in found} == {"METEOR"}


def test_the_page_and_the_csv_say_the_same(tmp_path):
    write_claims(PAPER, [comparisons(tmp_path, "table1", (1, 0.5, 2))], tmp_path / "claims.md")
    page = (tmp_path / "claims.md").read_text()
    what = "hrl-16 \u2212 rl-baseline: the paper's claim: hierarchical above flat reinforcement"
    assert (
        f"| table1 | {what} | CIDEr-D | +1.7 | +1 [+0.5, +2] | **holds** | holds: BLEU-4, METEOR, ROUGE-L |\n" in page
    )
    with open(tmp_path / "claims.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert {row["verdict"] for row in rows} == {"holds", "does not hold"}
    wrong = [row for row in rows if row["verdict"] == "does not hold"]
    assert [(row["run"], row["metric"], row["paper"]) for row in wrong] == [("rl-baseline", "BLEU-4", "-0.7")]


def test_older_tables_and_strange_ones_are_named(tmp_path):
    path = comparisons(tmp_path, "table1", (1, 0.5, 2))
    beside = path.with_suffix(".comparisons.csv")
    beside.write_text("".join(line for line in beside.open() if not line.startswith("hrl-16,rl-baseline")))
    with pytest.raises(UserError, match=r"table1\.comparisons\.csv: no difference of hrl-16 and rl-baseline.*again$"):
        claims(PAPER, [path])
    beside.write_text("run,to\na,b\n")
    with pytest.raises(UserError, match=r"table1\.comparisons\.csv: no differences of a table \('difference'\)"):
        claims(PAPER, [path])
    with pytest.raises(UserError, match=r"other\.csv: hrl has no table 'other'"):
        claims(PAPER, [tmp_path / "other.csv"])


@pytest.mark.parametrize("scale", ["mini", "laptop", "paper"])
def test_all_papers_but_one_print_differences(scale):
    papers = {place.name: load_paper(place, scale) for place in find_papers(scale)}
    # policy_value compares one system of its own with those of others.
    assert {name for name, paper in papers.items() if not has_claims(paper)} == {"policy_value"}
