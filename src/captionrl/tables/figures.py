"""A paper's figures: one PNG each, and one HTML page that holds them all."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path

from captionrl.config import Paper
from captionrl.errors import UserError
from captionrl.files import write_text
from captionrl.tables.curves import by_phase, draw_curves
from captionrl.tables.drawing import DPI, WIDTH, Sheet
from captionrl.tables.examples import Sources, draw_attention, draw_examples, draw_stages
from captionrl.tables.tradeoff import draw_tradeoff
from captionrl.tables.values import draw_values

RULE = (
    "Examples are not picked by hand: they are the test items whose ids have the smallest SHA-256. Captions are those "
    "of the first seed's checkpoints, one by beam search or, where five are shown, as the figure's title says; "
    "references are the first of each item."
)
STYLE = (
    f"body {{ font: 15px/1.5 sans-serif; color: #1a1a1a; max-width: {WIDTH * DPI:.0f}px; margin: 2em auto; "
    "padding: 0 1em } h1 { font-size: 1.3em } figure { margin: 2em 0; padding-top: 1em; border-top: 1px solid #ddd } "
    "img { max-width: 100%; height: auto; display: block } figcaption { font-weight: bold }"
)


def draw_figures(
    paper: Paper, scale: str, curves: Sequence[Path], tables: Sequence[Path], sources: Sources, out: Path
) -> list[Path]:
    """Write every figure of the paper to `out`/<name>.png and all of them to `out`/figures.html; return the paths.

    `curves` are the validation curves of every phase and seed that a figure shows, called
    …/CORPUS/PAPER/RUN/PHASE/seedK.csv; `tables` those tables, TABLE.csv, of which a figure draws numbers.
    """
    figures = paper.figures
    if not figures.names:
        raise UserError(f"papers/{paper.paper}: figures: there are none; say there what to draw")
    sheets: dict[str, Sheet] = {}
    paths = by_phase(curves)
    sheets |= {name: draw_curves(paper, figure, paths) for name, figure in figures.curves.items()}
    sheets |= {name: draw_examples(paper, figure, sources) for name, figure in figures.examples.items()}
    sheets |= {name: draw_attention(paper, figure, sources) for name, figure in figures.attention.items()}
    sheets |= {name: draw_stages(paper, figure, sources) for name, figure in figures.stages.items()}
    sheets |= {name: draw_values(paper, figure, sources) for name, figure in figures.values.items()}
    rows = {path.stem: path for path in tables}
    sheets |= {name: draw_tradeoff(paper, figure, rows) for name, figure in figures.tradeoffs.items()}
    pictures = {name: out / f"{name}.png" for name in figures.names}
    for name, path in pictures.items():
        sheets[name].save(path)
    write_text(out / "figures.html", page(paper, scale, pictures))
    return [*pictures.values(), out / "figures.html"]


def page(paper: Paper, scale: str, pictures: dict[str, Path]) -> str:
    """An HTML page that needs nothing but itself: the pictures stand in it."""
    drawn = {name: figure for figures in paper.figures.kinds.values() for name, figure in figures.items()}
    titles = {name: f"{figure.title}, {figure.corpus}" for name, figure in drawn.items()}
    body = [
        f'<figure id="{name}"><figcaption>{name.replace("figure", "Figure ")}. {escape(titles[name])}</figcaption>\n'
        f'<img alt="{escape(titles[name])}" src="data:image/png;base64,{b64encode(path.read_bytes()).decode()}">'
        "</figure>"
        for name, path in pictures.items()
    ]
    title = escape(f"Figures of {paper.title}")
    rule = f" {RULE}" if paper.figures.captioners or paper.figures.predicted else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        f"<p>Drawn by captionrl at the {scale} scale.{rule}</p>\n" + "\n".join(body) + "\n</body>\n</html>\n"
    )
