"""A picture of two metrics of a table: what a system gains in one and pays in the other."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes

from captionrl.config import Paper, TradeoffFigure, split_system
from captionrl.config.systems import BEAM_SET, GREEDY, LOOKAHEAD, RERANKED
from captionrl.errors import UserError
from captionrl.files import damage_named, read_csv
from captionrl.tables.drawing import BLACK, GREY, LINES, MARGIN, WIDTH, Sheet, plain

MARKERS = {  # by decoding, with what the key says of it
    "sample": ("o", "circles: sampled (rs)"),
    BEAM_SET: ("s", "squares: beam (bs)"),
    "": ("D", "diamonds: beam search"),
    GREEDY: ("^", "triangles: greedy"),
    LOOKAHEAD: ("P", "crosses: look-ahead"),
    RERANKED: ("X", "slanted crosses: re-ranked"),
}
STAGE = ("v", "triangles on their heads: earlier stages")


def draw_tradeoff(paper: Paper, figure: TradeoffFigure, tables: Mapping[str, Path]) -> Sheet:
    """A point a row of ours, with its 95 % intervals; one colour a run, one marker a decoding."""
    if figure.table not in tables:
        raise UserError(f"{paper.paper}/{figure.table}: no table; give its .csv too")
    path = tables[figure.table]
    ours = [row for row in paper.tables[figure.table].rows if row.run]
    columns = [f"{metric}{what}" for metric in (figure.x, figure.y) for what in ("", "_low", "_high")]
    with damage_named(path, "not the numbers of this figure", "make the table again"):
        rows = {row["method"]: row for row in read_csv(path) if row["source"] == "ours"}
        points = {row.method: [float(rows[row.method][name]) for name in columns] for row in ours}
    names: dict[str, str] = {}  # of runs, without their decoding
    for row in sorted(ours, key=lambda row: "." in str(row.run)):  # a run's own name, where it has a row
        run, decoding = split_system(str(row.run))
        names.setdefault(run, (decoding and row.method.rpartition(" (")[0]) or row.method)  # SLL of "SLL (rs)"
    colours = {run: LINES[index % len(LINES)] for index, run in enumerate(names)}

    def draw(axes: Axes) -> None:
        for row in ours:
            run, decoding = split_system(str(row.run))
            x, x_low, x_high, y, y_low, y_high = points[row.method]
            x_error, y_error = [[x - x_low], [x_high - x]], [[y - y_low], [y_high - y]]
            colour = colours[run]
            marker, _ = MARKERS.get(decoding, STAGE)
            axes.errorbar(x, y, y_error, x_error, fmt=marker, color=colour, markersize=6, linewidth=1)
        for run, name in names.items():
            axes.plot([], [], "o", color=colours[run], label=name)
        above = {"bbox_to_anchor": (0, 1), "borderaxespad": 0.2, "ncols": len(names)}  # the axes, in one row
        axes.legend(loc="lower left", fontsize=9, frameon=False, handletextpad=0.1, **above)
        axes.set_xlabel(figure.x, fontsize=9)
        axes.set_ylabel(figure.y, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e4e4e4", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.margins(0.08)
        axes.tick_params(labelsize=9, color=GREY, labelcolor=BLACK)

    sheet = Sheet()
    y = sheet.title(f"{figure.title}, {figure.corpus}")
    found = [MARKERS.get(split_system(str(row.run))[1], STAGE)[1] for row in ours]
    key = "; ".join(dict.fromkeys(found)).capitalize()
    what = f"Rows of {figure.table}, means over seeds with 95 % intervals over seeds and items. {key}."
    y = sheet.text(plain(what, GREY), MARGIN, y, WIDTH - 2 * MARGIN)
    y = sheet.plot(draw, MARGIN + 0.55, y + 0.35, WIDTH - 2 * MARGIN - 0.65, 4.4)
    sheet.reach(y + 0.4)
    return sheet
