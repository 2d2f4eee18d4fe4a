"""A server's leaderboard: Stack-Cap's Table 4."""

import csv
import io
from pathlib import Path

import pytest
import yaml

from captionrl.config import load_paper
from captionrl.errors import UserError
from captionrl.tables.leaderboard import write

STACKCAP = Path(__file__).parents[2] / "papers/stackcap"
# As printed: c5 and c40 of BLEU-1 to BLEU-4, METEOR, ROUGE-L, CIDEr, by turns.
PRINTED = {
    "Google NIC": "71.3 89.5 54.2 80.2 40.7 69.4 30.9 58.7 25.4 34.6 53.0 68.2 94.3 94.6",
    "Hard-Attention": "70.5 88.1 52.8 77.9 38.3 65.8 27.7 53.7 24.1 32.2 51.6 65.4 86.5 89.3",
    "PG-SPIDEr-TAG": "75.1 91.6 59.1 84.2 44.5 73.8 33.1 62.4 25.5 33.9 55.1 69.4 104.2 107.1",
    "Adaptive": "74.8 92.0 58.4 84.5 44.4 74.4 33.6 63.7 26.4 35.9 55.0 70.5 104.2 105.9",
    "SCST:Att2in (Ens. 4)": "78.1 93.1 61.9 86.0 47.0 75.9 35.2 64.5 27.0 35.5 56.3 70.7 114.7 116.7",
    "Stack-Cap (C2F)": "77.8 93.2 61.6 86.1 46.8 76.0 34.9 64.6 27.0 35.6 56.2 70.6 114.8 118.3",
}
FILES = [f"results/paper/stackcap/captions_{part}_stackcap_results.json" for part in ("test2014", "val2014")]


@pytest.fixture(params=["mini", "paper"])
def scale(request):
    return request.param


@pytest.fixture
def written(tmp_path, scale):
    write(load_paper(STACKCAP, scale), "table4", scale, tmp_path / "table4.csv")
    return {path.suffix: path.read_text() for path in tmp_path.iterdir()}


@pytest.fixture
def rows(written):
    return list(csv.DictReader(io.StringIO(written[".csv"])))


def numbers(row):
    return [value for name, value in row.items() if name.endswith(("_c5", "_c40"))]


def test_cited_lines_are_those_that_the_paper_prints(rows):
    assert {row["method"]: " ".join(numbers(row)) for row in rows[:-1]} == PRINTED
    assert {(row["source"], row["scale"], row["corpus"], row["note"]) for row in rows[:-1]} == {
        ("cited", "paper", "coco", "")
    }


def test_the_last_line_is_ours_and_says_what_to_upload_where(rows, scale):
    row = rows[-1]
    corpus = "coco-mini" if scale == "mini" else "coco"
    assert (row["method"], row["source"], row["scale"], row["corpus"]) == ("stack-cap", "ours", scale, corpus)
    assert set(numbers(row)) == {""}
    assert all(
        file in row["note"] for file in [*FILES, "results.zip", "https://competitions.codalab.org/competitions/3221"]
    )
    assert ("no such server" in row["note"]) == (scale == "mini")


def test_markdown_and_latex_have_a_line_a_method_with_the_same_numbers(written, rows):
    for suffix, bar, last in ((".md", " | ", " |"), (".tex", " & ", r" \\")):
        lines = [line.removeprefix("| ").removesuffix(last) for line in written[suffix].splitlines()]
        for row in rows[:-1]:
            assert bar.join([row["method"], *numbers(row)]) in lines
        assert any(line.startswith("ours: stack-cap") for line in lines)
        assert "results.zip" in written[suffix]
    assert written[".tex"].count(r"\multicolumn{2}{c}") == 7
    assert r"captions\_test2014\_stackcap\_results.json" in written[".tex"]


def test_another_name_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"papers/stackcap: leaderboards: no 'table5'; there are table4"):
        write(load_paper(STACKCAP, "paper"), "table5", "paper", tmp_path / "table5.csv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run": "stack-kap"}, "leaderboards.table4.run: no run is called 'stack-kap'; there are"),
        ({"corpus": "flickr"}, "leaderboards.table4.corpus: no corpus is called 'flickr'"),
        ({"columns": ["c5"]}, "leaderboards.table4.rows[0].cited: must be of c5, and no other"),
        ({"columns": []}, "leaderboards.table4.columns: List should have at least 1 item"),
        ({"metrics": ["METEOR"]}, "leaderboards.table4.rows[0].cited.c5: 7 numbers for 1 metrics"),
        ({"metrics": ["METEOR!"]}, "leaderboards.table4.metrics[0]: Input should be"),
        ({"baseline": "lstm"}, "leaderboards.table4.baseline: unknown key"),
    ],
)
def test_every_mistake_is_one_line_that_names_the_key(tmp_path, change, message):
    document = yaml.safe_load((STACKCAP / "paper.yaml").read_text())
    document["leaderboards"]["table4"] |= change
    assert message in refusal(tmp_path, document)


def test_a_leaderboard_is_called_as_no_table_is(tmp_path):
    document = yaml.safe_load((STACKCAP / "paper.yaml").read_text())
    document["leaderboards"]["table3"] = document["leaderboards"].pop("table4")
    assert "leaderboards.table3: a table is called table3, too" in refusal(tmp_path, document)


def test_a_paper_has_one_leaderboard_at_most(tmp_path):
    document = yaml.safe_load((STACKCAP / "paper.yaml").read_text())
    document["leaderboards"]["table5"] = document["leaderboards"]["table4"]
    assert "leaderboards: give one" in refusal(tmp_path, document)


def refusal(folder, document):
    """The one line that a spoilt paper is refused with."""
    path = folder / "stackcap"
    path.mkdir()
    (path / "paper.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(UserError) as error:
        load_paper(path, "paper")
    assert "\n" not in str(error.value)
    return str(error.value)
