"""Publishing copies tables and figures, and writes one page that shows them all."""

import re
from pathlib import Path

import pytest

from captionrl.config import load_paper
from captionrl.errors import UserError
from captionrl.tables import figures
from captionrl.tables.publish import publish

PAPER = load_paper(Path(__file__).parents[2] / "papers/hrl", "mini")
KINDS = ("cells.jsonl", "comparisons.csv", "csv", "md", "png", "tex")


@pytest.fixture
def results(tmp_path):
    for paper in ("hrl", "e2e"):
        folder = tmp_path / "results/mini" / paper
        folder.mkdir(parents=True)
        for suffix in (*KINDS, "log"):
            (folder / f"table1.{suffix}").write_text(f"{paper}'s \\1 {suffix}\n")
    pictures = {name: tmp_path / f"results/mini/hrl/{name}.png" for name in PAPER.figures.names}
    for path in pictures.values():
        path.write_bytes(b"a picture")
    (tmp_path / "results/mini/hrl/figures.html").write_text(figures.page(PAPER, "mini", pictures))
    return tmp_path / "results/mini"


@pytest.fixture
def page(results, tmp_path):
    publish(results, tmp_path / "docs/mini")
    return (tmp_path / "docs/mini/README.md").read_text()


def test_tables_and_figures_are_copied_as_they_are(results, page, tmp_path):
    copied = {path.relative_to(tmp_path / "docs/mini") for path in (tmp_path / "docs/mini").glob("*/*")}
    assert copied == {path.relative_to(results) for path in results.glob("*/*") if path.suffix != ".log"}
    for file in copied:
        assert (tmp_path / "docs/mini" / file).read_bytes() == (results / file).read_bytes()


def test_the_page_shows_every_table_and_figure_with_its_title(page):
    assert page.startswith("# Results at the mini scale\n")
    for paper in ("hrl", "e2e"):
        assert f"\n### {paper}/table1\n\n{paper}'s \\1 md\n" in page
    assert f"\n{PAPER.title}. " in page
    for drawn in PAPER.figures.kinds.values():
        for name, figure in drawn.items():
            assert f"![{figure.title}, {figure.corpus}](hrl/{name}.png)" in page


def test_every_link_of_the_page_leads_to_a_published_file(page, tmp_path):
    links = re.findall(r"\]\(([^)#]+)\)", page)
    assert {f"{paper}/table1.{kind}" for paper in ("e2e", "hrl") for kind in KINDS if kind != "md"} <= set(links)
    for link in links:
        if not link.startswith("../"):
            assert (tmp_path / "docs/mini" / link).exists()


def test_a_page_without_examples_says_nothing_of_how_they_are_chosen(tmp_path):
    paper = load_paper(Path(__file__).parents[2] / "papers/hrl", "laptop")
    pictures = {name: tmp_path / f"{name}.png" for name in paper.figures.names}
    for path in pictures.values():
        path.write_bytes(b"a picture")
    text = figures.page(paper, "laptop", pictures)
    assert "<p>Drawn by captionrl at the laptop scale.</p>" in text
    assert "SHA-256" not in text
    assert "SHA-256" in figures.page(PAPER, "mini", dict.fromkeys(PAPER.figures.names, path))


def test_learning_curves_are_published_and_found_on_the_page(results, tmp_path):
    (results / "e2e/curves").mkdir()
    (results / "e2e/curves/msvd-mini-e2e.csv").write_text("update,CIDEr-D,train_reward,run,phase\n")
    publish(results, tmp_path / "docs/mini")
    page = (tmp_path / "docs/mini/README.md").read_text()
    assert "Learning curves as CSV, means over seeds: [msvd-mini-e2e](e2e/curves/msvd-mini-e2e.csv)" in page
    assert (tmp_path / "docs/mini/e2e/curves/msvd-mini-e2e.csv").exists()


def test_publishing_twice_gives_the_same_page(results, page, tmp_path):
    publish(results, tmp_path / "docs/mini")
    assert (tmp_path / "docs/mini/README.md").read_text() == page


def test_the_folder_of_all_scales_or_one_inside_it_is_refused(tmp_path):
    table = tmp_path / "results/mini/hrl/table1.md"
    table.parent.mkdir(parents=True)
    table.write_text("| a |")
    (table.parent / ".123.host.table1.md").write_text("half")
    with pytest.raises(UserError, match=r"no tables; make them first .*, or name the folder of a scale"):
        publish(tmp_path / "results", tmp_path / "docs")
    with pytest.raises(UserError, match=r"below .*/results/mini, which is copied there; give --out another directory"):
        publish(tmp_path / "results/mini", tmp_path / "results/mini/docs")
    assert publish(tmp_path / "results/mini", tmp_path / "docs") == [table]


def test_without_tables_nothing_is_published(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results/curves.png").write_bytes(b"a picture")
    with pytest.raises(UserError, match="no tables; make them first"):
        publish(tmp_path / "results", tmp_path / "docs")
    assert not (tmp_path / "docs").exists()


def test_a_page_of_others_is_never_replaced(results, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/README.md").write_text("# My project")
    with pytest.raises(UserError, match=r"README\.md: not written by `captionrl publish`, and would be lost"):
        publish(results, tmp_path / "docs")
    assert [path.read_text() for path in (tmp_path / "docs").rglob("*")] == ["# My project"]
