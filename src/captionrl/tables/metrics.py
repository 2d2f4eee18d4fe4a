"""A paper's numbers as DVC reads them: one JSON of all its tables, and a CSV of every learning curve."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from captionrl.config import Paper
from captionrl.errors import UserError
from captionrl.files import read_csv, sweep_killed, write_json, write_text
from captionrl.tables.validations import read_validations

Metrics = dict[str, dict[str, dict[str, float]]]  # by table, method and metric


def write_metrics(paper: Paper, tables: Sequence[Path], curves: Sequence[Path], out: Path) -> None:
    """Write `out`, and beside it curves/CORPUS-RUN.csv for every run whose training the paper's figures show.

    `curves` are validation curves called …/CORPUS/PAPER/RUN/PHASE/seedK.csv, as training leaves them.
    """
    for corpus, run in paper.figures.learners:
        write_text(out.parent / "curves" / f"{corpus}-{run}.csv", _curve(paper, corpus, run, curves))
    sweep_killed(out.parent / "curves")
    write_json(out, read_tables(tables))


def read_tables(paths: Sequence[Path]) -> Metrics:
    """Our numbers of every table (.csv), none of the cited ones, nor what could not be computed."""
    return {path.stem: _numbers(path) for path in paths}


def _numbers(path: Path) -> dict[str, dict[str, float]]:
    try:
        return {
            row["method"]: {name: float(row[name]) for name in row if row.get(f"{name}_low")}
            for row in read_csv(path)
            if row["source"] == "ours"
        }
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: no table of captionrl ({error}); make it again") from None


def _curve(paper: Paper, corpus: str, run: str, files: Sequence[Path]) -> str:
    """CSV of validation CIDEr-D, the mean over seeds, by updates since the run's first phase began.

    In reinforcement also of `train_reward`, that of greedy captions of training items. A phase that stops early is as
    long as its shortest seed.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["update", "CIDEr-D", "train_reward", "run", "phase"])
    start = 0
    for name, phase in paper.lineage(run):
        found = [path for path in files if path.parts[-5:-1] == (corpus, paper.paper, name, phase)]
        if not found:
            raise UserError(f"{paper.paper}/{name}/{phase} on {corpus}: no validation curve; give its .csv too")
        seeds = read_validations(found, paper.phase_of(phase, corpus).early_stopping is not None)
        try:
            for rows in zip(*seeds, strict=True):
                means = [_mean(rows, key) for key in ("val_cider", "train_reward")]
                writer.writerow([start + int(rows[0]["update"]), *means, name, phase])
            start += int(seeds[0][-1]["update"])
        except (LookupError, ValueError) as error:
            raise UserError(f"{found[0]}: no validation curve ({error}); train it again") from None
    return text.getvalue()


def _mean(rows: Sequence[dict[str, str]], key: str) -> str:
    """Over the rows of all seeds; nothing where they have no such column."""
    return f"{sum(float(row[key]) for row in rows) / len(rows):.4f}" if key in rows[0] else ""
