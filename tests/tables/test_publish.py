"""Publishing copies tables and figures, and refreshes what the README shows."""

import pytest

from captionrl.errors import UserError
from captionrl.tables.publish import publish

README = """# captionrl

before
<!-- hrl/table1.md -->
an old table
<!-- end -->
between
<!-- a remark -->
<!-- e2e/table1.md -->
<!-- end -->
after
"""


@pytest.fixture
def results(tmp_path):
    for paper in ("hrl", "e2e"):
        folder = tmp_path / "results" / paper
        folder.mkdir(parents=True)
        for suffix in ("csv", "md", "tex", "cells.jsonl", "png", "log"):
            (folder / f"table1.{suffix}").write_text(f"{paper}'s \\1 {suffix}\n")
    (tmp_path / "README.md").write_text(README)
    return tmp_path / "results"


def run(results):
    return publish(results, results.parent / "docs", results.parent / "README.md")


def test_tables_and_figures_are_copied_as_they_are(results, tmp_path):
    run(results)
    copied = sorted(path.relative_to(tmp_path / "docs").as_posix() for path in (tmp_path / "docs").rglob("*.*"))
    kinds = ("cells.jsonl", "csv", "md", "png", "tex")
    assert copied == [f"{paper}/table1.{kind}" for paper in ("e2e", "hrl") for kind in kinds]
    for file in copied:
        assert (tmp_path / "docs" / file).read_bytes() == (results / file).read_bytes()


def test_the_readme_shows_the_new_tables_and_keeps_the_rest(results, tmp_path):
    run(results)
    readme = (tmp_path / "README.md").read_text()
    assert readme == README.replace("an old table\n", "hrl's \\1 md\n").replace(
        "<!-- e2e/table1.md -->\n", "<!-- e2e/table1.md -->\ne2e's \\1 md\n"
    )
    run(results)
    assert (tmp_path / "README.md").read_text() == readme


def test_without_tables_nothing_is_published(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "README.md").write_text(README)
    with pytest.raises(UserError, match="no tables; make them first"):
        run(tmp_path / "results")
    assert (tmp_path / "README.md").read_text() == README
    assert not (tmp_path / "docs").exists()


def test_a_table_that_the_readme_wants_but_nobody_made_is_named(results, tmp_path):
    (results / "hrl/table1.md").unlink()
    with pytest.raises(UserError, match=r"hrl/table1\.md: no such file"):
        run(results)
    assert (tmp_path / "README.md").read_text() == README
