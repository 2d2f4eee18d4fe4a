"""Learning curves: the validation scores of a run's phases, one after the other, over all seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from captionrl.config import CurvesFigure, Paper
from captionrl.errors import UserError
from captionrl.tables.drawing import BLACK, GREY, LINES, MARGIN, WIDTH, Sheet, plain
from captionrl.tables.validations import read_validations

Paths = dict[tuple[str, str, str], list[Path]]  # by corpus, run and phase: one a seed


@dataclass(frozen=True)
class Part:
    """One phase of a curve: P validations."""

    phase: tuple[str, str]  # run and phase
    reinforces: bool  # or cross-entropy
    epochs: np.ndarray  # [P] since the run's first phase began
    scores: np.ndarray  # [seeds, P] CIDEr-D of greedy captions of the validation items


def by_phase(files: Sequence[Path]) -> Paths:
    """Validation curves by what they are of: files …/CORPUS/PAPER/RUN/PHASE/seedK.csv."""
    paths: Paths = {}
    for path in sorted(files):
        if len(path.parts) < 5:
            raise UserError(f"{path}: must be called …/CORPUS/PAPER/RUN/PHASE/seedK.csv, as training leaves it")
        paths.setdefault((path.parts[-5], path.parts[-3], path.parts[-2]), []).append(path)
    return paths


def curve(paper: Paper, corpus: str, run: str, paths: Paths) -> list[Part]:
    """The phases of a run, each beginning at the epoch at which the one before it ended.

    One that stops early is as long as its shortest seed. A phase starts from the best weights of the one before, so its
    first score may differ from that one's last.
    """
    parts: list[Part] = []
    end = 0.0
    for phase in paper.lineage(run):
        files = paths.get((corpus, *phase))
        if not files:
            raise UserError(f"{paper.paper}/{'/'.join(phase)} on {corpus}: no validation curve; give its .csv too")
        settings = paper.phase_of(phase[1], corpus)
        seeds = read_validations(files, settings.early_stopping is not None)
        read = [_numbers(path, rows) for path, rows in zip(files, seeds, strict=True)]
        reinforces = settings.objective not in ("xe", "multitask-xe")
        parts.append(Part(phase, reinforces, end + read[0][0], np.stack([scores for _, scores in read])))
        end = float(parts[-1].epochs[-1])
    return parts


def draw_curves(paper: Paper, figure: CurvesFigure, paths: Paths) -> Sheet:
    """The mean over seeds as a line and their range as a band, for every run.

    A warm start is dashed, and a ring marks where reinforcement begins. A phase that two runs share is drawn once, as
    the first one's.
    """
    runs = [curve(paper, figure.corpus, method.run, paths) for method in figure.methods]
    seeds = {len(part.scores) for parts in runs for part in parts}
    if len(seeds) > 1:
        raise UserError(f"{paper.paper}: curves of {min(seeds)} to {max(seeds)} seeds; give as many for every phase")

    def draw(axes: Axes) -> None:
        drawn: set[tuple[str, str]] = set()
        for index, (method, parts) in enumerate(zip(figure.methods, runs, strict=True)):
            colour, own = LINES[index % len(LINES)], [part for part in parts if part.phase not in drawn]
            drawn |= {part.phase for part in parts}
            for part in own:
                mean = part.scores.mean(0)
                name = method.method if part is own[-1] else None
                warm = not part.reinforces and parts[-1].reinforces
                axes.plot(part.epochs, mean, color=colour, linewidth=1.6, linestyle="--" if warm else "-", label=name)
                axes.fill_between(part.epochs, part.scores.min(0), part.scores.max(0), color=colour, alpha=0.18, lw=0)
                if part.reinforces:
                    axes.plot(part.epochs[0], mean[0], "o", color=colour, markersize=6, markerfacecolor="white")
        axes.set_xlabel("epochs of training", fontsize=9)
        axes.set_ylabel("CIDEr-D of greedy captions, validation", fontsize=9)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=9, color=GREY, labelcolor=BLACK)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        place = {"bbox_to_anchor": (0, 1), "borderaxespad": 0.2, "ncols": len(runs)}  # above the axes, in one row
        axes.legend(loc="lower left", fontsize=9, frameon=False, handlelength=1.6, **place)

    sheet = Sheet()
    y = sheet.title(f"{figure.title}, {figure.corpus}")
    count = seeds.pop()
    what = "One seed." if count == 1 else f"Mean of {count} seeds and their range."
    what += " Dashed: warm start by cross-entropy. Ring: reinforcement begins, from the best weights so far."
    phases = {name for parts in runs for _, name in (part.phase for part in parts)}
    if count > 1 and any(paper.phase_of(name, figure.corpus).early_stopping is not None for name in phases):
        what += " A phase that stops early is drawn to the end of its shortest seed."
    y = sheet.text(plain(what, GREY), MARGIN, y, WIDTH - 2 * MARGIN)
    y = sheet.plot(draw, MARGIN + 0.55, y + 0.35, WIDTH - 2 * MARGIN - 0.65, 4.2)
    sheet.reach(y + 0.4)  # the axis' numbers and name
    return sheet


def _numbers(path: Path, rows: Sequence[dict[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    """Epochs and scores [P] of the rows of one validation curve."""
    try:
        columns = [[float(row[name]) for row in rows] for name in ("epoch", "val_cider")]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a captioner's validation curve ({error}); train it again") from None
    return np.array(columns[0]), np.array(columns[1])
