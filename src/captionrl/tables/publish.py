"""Copy a scale's tables and figures into the documentation, with one page that shows all of them."""

import re
import shutil
from html import unescape
from pathlib import Path

from captionrl.errors import UserError
from captionrl.files import atomic, decode_utf8, read_bytes, write_text

KINDS = (".csv", ".md", ".tex", ".jsonl", ".png", ".html")
BESIDE = (
    (".csv", "CSV"), (".comparisons.csv", "differences as CSV"), (".tex", "LaTeX"),
    (".cells.jsonl", "provenance of every cell"),
)  # fmt: skip
FIGURES = "figures.html"
WRITTEN = "Written by `captionrl publish` from"


def publish(results: Path, out: Path) -> list[Path]:
    """Copy every table and figure below `results` to `out`, and write `out`/README.md, which shows them all.

    Returns the copied files of `results`. Raises UserError where no paper has a table, where `out` is below `results`,
    and where README.md is another one.
    """
    if out.resolve().is_relative_to(results.resolve()):
        raise UserError(f"{out}: below {results}, which is copied there; give --out another directory")
    files = [path for path in sorted(results.rglob("*")) if path.suffix in KINDS and path.name[0] != "."]
    if not any(path.match("*/*.md") and path.parent.parent == results for path in files):
        raise UserError(f"{results}: no tables; make them first with `snakemake all`, or name the folder of a scale")
    readme = out / "README.md"
    if readme.exists() and WRITTEN not in decode_utf8(read_bytes(readme), readme):
        raise UserError(
            f"{readme}: not written by `captionrl publish`, and would be lost; give --out another directory"
        )
    for path in files:
        with atomic(out / path.relative_to(results)) as temporary:
            shutil.copyfile(path, temporary)
    write_text(readme, page(results))
    return files


def page(results: Path) -> str:
    """The tables and figures of all papers below `results` in Markdown, with links relative to `results`."""
    papers = sorted({path.parent for path in results.glob("*/*.md")})
    titles = {paper: _titles(paper / FIGURES) for paper in papers}
    lines = [
        f"# Results at the {results.name} scale",
        "",
        f"{WRITTEN} the tables and figures of `snakemake all`. Provenance names each number's "
        "checkpoints, signature and commit; the commands in it are those of that commit.",
        "",
        *(f"- [{paper.name}](#{paper.name}): {titles[paper].get('', paper.name)}" for paper in papers),
    ]
    for paper in papers:
        lines += ["", f"## {paper.name}", "", f"{titles[paper].get('', paper.name)}. [Notes](../../{paper.name}.md)"]
        if (paper / FIGURES).exists():
            lines[-1] += f", [all figures on one page]({paper.name}/{FIGURES})"
        for table in sorted(paper.glob("*.md")):
            beside = [(table.with_suffix(suffix), what) for suffix, what in BESIDE]
            links = ", ".join(f"[{what}]({paper.name}/{path.name})" for path, what in beside if path.exists())
            text = decode_utf8(read_bytes(table), table).strip()
            lines += ["", f"### {paper.name}/{table.stem}", "", text, "", f"Files: {links}"]
        if curves := [f"[{path.stem}]({paper.name}/curves/{path.name})" for path in sorted(paper.glob("curves/*.csv"))]:
            lines += ["", f"Learning curves as CSV, means over seeds: {', '.join(curves)}"]
        for figure in sorted(paper.glob("*.png")):
            title = titles[paper].get(figure.stem, figure.stem)
            lines += ["", f"### {paper.name}/{figure.stem}", "", f"{title}.", ""]
            lines += [f"![{title}]({paper.name}/{figure.name})"]
    return "\n".join(lines) + "\n"


def _titles(figures: Path) -> dict[str, str]:
    """The title of each figure by name, and of the paper under "", as the page of a paper's figures has them."""
    if not figures.exists():
        return {}
    text = decode_utf8(read_bytes(figures), figures)
    heading = re.search("<h1>Figures of (.*)</h1>", text)
    titles = dict(re.findall('<figure id="(.*?)">.*?\n<img alt="(.*?)"', text))
    return {name: unescape(title) for name, title in {"": heading[1] if heading else "", **titles}.items()}
