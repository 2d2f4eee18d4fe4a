"""A server's leaderboard: the numbers that a paper cites from it, and the files to upload for a row of ours.

Only the server holds the references of the test images, so our row has no numbers.
"""

import csv
import io
from pathlib import Path

from captionrl.config import Leaderboard, Paper
from captionrl.errors import UserError
from captionrl.evaluation.markup import barred, escaped
from captionrl.files import write_text


def write(paper: Paper, name: str, scale: str, out: Path) -> None:
    """Write `out` (csv) and, beside it, .md and .tex."""
    if name not in paper.leaderboards:
        there = ", ".join(paper.leaderboards) or "none"
        raise UserError(f"papers/{paper.paper}: leaderboards: no {name!r}; there are {there}")
    board = paper.leaderboards[name]
    note = _note(paper.paper, board, scale)
    write_text(out, as_csv(board, note, scale))
    write_text(out.with_suffix(".md"), markdown(board, note))
    write_text(out.with_suffix(".tex"), latex(board, note))


def as_csv(board: Leaderboard, note: str, scale: str) -> str:
    """One row a method, cited ones first; columns METRIC_COLUMN hold the numbers as printed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [f"{metric}_{column}" for metric in board.metrics for column in board.columns]
    writer.writerow(["method", "source", "scale", "corpus", *names, "note"])
    for method, *fields in _lines(board)[:-1]:
        writer.writerow([method, "cited", "paper", board.corpus.removesuffix("-mini"), *fields, ""])
    writer.writerow([board.run, "ours", scale, board.corpus, *[""] * len(names), note])
    return text.getvalue()


def markdown(board: Leaderboard, note: str) -> str:
    names = [f"{metric} {column}" for metric in board.metrics for column in board.columns]
    rows = [f"| method | {' | '.join(names)} |", "|---" * (1 + len(names)) + "|"]
    rows += [f"| {barred(method)} | {' | '.join(fields)} |" for method, *fields in _lines(board)]
    return f"**{board.title}.** {_legend(board, note)}\n\n" + "\n".join(rows) + "\n"


def latex(board: Leaderboard, note: str) -> str:
    width = len(board.columns)
    metrics = " & ".join(["", *(rf"\multicolumn{{{width}}}{{c}}{{{metric}}}" for metric in board.metrics)])
    head = " & ".join(["method", *(escaped(column) for _ in board.metrics for column in board.columns)])
    body = "\n".join(" & ".join([escaped(method), *fields]) + r" \\" for method, *fields in _lines(board))
    columns, caption = "l" + "r" * width * len(board.metrics), escaped(f"{board.title}. {_legend(board, note)}")
    return (
        f"\\begin{{table}}\n\\centering\n\\begin{{tabular}}{{{columns}}}\n\\toprule\n{metrics} \\\\\n{head} \\\\\n"
        f"\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}\n\\caption{{{caption}}}\n\\end{{table}}\n"
    )


def _lines(board: Leaderboard) -> list[list[str]]:
    """A row a method: its name and its numbers as printed, metric by metric; ours last."""
    lines = []
    for row in board.rows:
        numbers = [row.cited[column][i] for i in range(len(board.metrics)) for column in board.columns]
        lines.append([row.method, *("" if number is None else f"{number:.1f}" for number in numbers)])
    return [*lines, [f"ours: {board.run}", *[""] * len(board.metrics) * len(board.columns)]]


def _legend(board: Leaderboard, note: str) -> str:
    return f"Cited: as printed, on {board.corpus.removesuffix('-mini')}. Ours: {note}"


def _note(paper: str, board: Leaderboard, scale: str) -> str:
    """Why our row has no numbers, and how to get them."""
    first, second = (f"results/paper/{paper}/captions_{part}_{paper}_results.json" for part in ("test2014", "val2014"))
    mini = f" Those of {board.corpus} have the same format, but no such server." if scale == "mini" else ""
    how = f"Put {first} and {second} into results.zip, and upload that to {board.server}."
    return f"only the server scores it. {how}{mini}"
