"""`captionrl compare`: numbers against the intervals of a published table."""

import csv

import pytest

from captionrl.errors import UserError
from captionrl.tables.compare import compare

HEAD = ["method", "source", "scale", "corpus", "seeds", "BLEU-4", "BLEU-4_low", "BLEU-4_high"]
HEAD += ["SPICE", "SPICE_low", "SPICE_high"]


def table(path, *rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([HEAD, *rows])
    return path


def row(method, value, low, high, spice=("n/a (no Java)", "", ""), seeds="3", source="ours", corpus="coco-mini"):
    return [method, source, "mini", corpus, seeds, value, low, high, *spice]


def test_a_number_is_within_or_outside_and_the_borders_are_within(tmp_path):
    ours = table(
        tmp_path / "ours.csv",
        row("cited", "1", "", "", source="cited"),
        row("a", "30.00", "0", "99"), row("b", "30.01", "0", "99"), row("new", "5", "4", "6"),
    )  # fmt: skip
    published = table(
        tmp_path / "published.csv",
        row("cited", "1", "", "", source="cited"),
        row("a", "20", "10", "30", ("7", "6", "8")), row("b", "20", "10", "30"), row("old", "5", "4", "6"),
    )  # fmt: skip
    assert compare(ours, published).splitlines() == [
        "| method | BLEU-4 | SPICE |",
        "|---|---|---|",
        "| a | 30.00 within [10, 30] | n/a |",
        "| b | 30.01 outside [10, 30] | n/a |",
        "",
        f"1 of 2 numbers lie within the 95 % intervals of {published}.",
        "In one of the two only: new, old.",
    ]


def test_other_numbers_of_seeds_are_said(tmp_path):
    ours, published = tmp_path / "ours.csv", tmp_path / "published.csv"
    table(ours, row("a", "3", "2", "4", seeds="1")), table(published, row("a", "3", "2", "4"))
    assert compare(ours, published).endswith("Its intervals are of means of 3 seeds, these numbers of 1.")


def test_other_items_and_features_are_said(tmp_path):
    paths = []
    for name, items in (("ours", ["90", "100"]), ("published", ["100", "100"])):
        paths.append(tmp_path / f"{name}.csv")
        with open(paths[-1], "w", newline="") as file:
            rows = [[*row(method, "3", "2", "4"), count] for method, count in zip("ab", items, strict=True)]
            csv.writer(file).writerows([[*HEAD, "items"], *rows])
    assert compare(*paths).endswith("Of other test items, or other features: a.")
    assert "Of other" not in compare(paths[1], paths[1])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row("b", "3", "2", "4")], "ours.csv: has no method in common with .*; give a table of the same name"),
        (
            [row("a", "3", "2", "4", corpus="coco")],
            "ours.csv: is of coco mini, .* of coco-mini mini; give a table of the same data",
        ),
        ([], "ours.csv: is no table of captionrl; give a .csv of results/"),
    ],
)
def test_tables_that_do_not_belong_together_are_refused(tmp_path, rows, message):
    published = table(tmp_path / "published.csv", row("a", "3", "2", "4"))
    with pytest.raises(UserError, match=message):
        compare(table(tmp_path / "ours.csv", *rows), published)


def test_a_metric_with_half_an_interval_is_none(tmp_path):
    path = tmp_path / "half.csv"
    path.write_text("method,source,seeds,corpus,scale,CIDEr-D,CIDEr-D_low\na,ours,3,coco,mini,3,2\n")
    assert "0 of 0 numbers lie within" in compare(path, path)


def test_a_number_that_cannot_be_read_is_named_and_none_is_none(tmp_path):
    published = table(tmp_path / "published.csv", row("a", "3", "2", "4"), row("b", "3", "2", "4"))
    ours = table(tmp_path / "ours.csv", row("a", "n/a", "2", "4"), row("b", "3", "", ""))
    assert "1 of 1 numbers lie within" in compare(ours, published)
    with pytest.raises(UserError, match=r"ours.csv: a: BLEU-4: '3,5' is no number; correct it"):
        compare(table(ours, row("a", "3,5", "2", "4")), published)
    with pytest.raises(UserError, match=r"published.csv: a: BLEU-4_low: '2,5' is no number; correct it"):
        compare(table(ours, row("a", "3", "2", "4")), table(published, row("a", "3", "2,5", "4")))


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"nothing.csv: "):
        compare(tmp_path / "nothing.csv", tmp_path / "nothing.csv")
