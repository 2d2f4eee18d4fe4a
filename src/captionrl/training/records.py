"""A training's history while it grows, and what lies beside a checkpoint: its metrics and its provenance."""

import csv
import io
import json
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from textwrap import indent
from typing import Any

from captionrl.files import read_json, write_json, write_text, writing
from captionrl.provenance import commit
from captionrl.state import IDENTITY

HISTORY = "history.jsonl"  # both in the state's directory
BOARD = "tensorboard"
SECONDS = 10  # until TensorBoard sees a new row at the latest


class LiveHistory:
    """The history of a running training as it grows, in its state's directory: JSON lines, and events for TensorBoard.

    The first line says how many updates there will be at most, and which score counts. A training that goes on writes
    both anew from the rows of its state: rows since the last save will come again.
    """

    def __init__(
        self, directory: Path, history: Sequence[dict[str, Any]], *, title: str, total: int, metric: str
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        shutil.rmtree(directory / BOARD, ignore_errors=True)
        self.board = SummaryWriter(str(directory / BOARD / title), flush_secs=SECONDS)
        if (directory / IDENTITY).exists():
            settings = json.dumps(read_json(directory / IDENTITY), indent=1)
            self.board.add_text("settings", indent(settings, "    "))  # Markdown's code
        self.file = open(directory / HISTORY, "w", encoding="utf-8")  # noqa: SIM115 - open while the training runs
        self._write({"total": total, "metric": metric})
        for row in history:
            self.add(row)

    def add(self, row: dict[str, Any]) -> None:
        """Numbers are shown as KIND/NAME, captions as captions/ITEM."""
        self._write(row)
        for name, value in row.items():
            if name == "captions":
                for item, caption in value.items():
                    self.board.add_text(f"captions/{item}", caption, row["update"])
            elif name not in ("kind", "update"):
                self.board.add_scalar(f"{row['kind']}/{name}", value, row["update"])

    def close(self) -> None:
        self.file.close()
        self.board.close()

    def _write(self, row: dict[str, Any]) -> None:
        with writing(Path(self.file.name)):
            self.file.write(json.dumps(row, ensure_ascii=False) + "\n")
            self.file.flush()


def read_history(directory: Path) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
    """The first line and the rows so far of the training whose state is in a directory; None where there is none."""
    try:
        lines = (directory / HISTORY).read_text(encoding="utf-8").split("\n")[:-1]  # the last one may still be written
    except FileNotFoundError:
        return None
    rows = [json.loads(line) for line in lines]
    return (rows[0], rows[1:]) if rows else None


def summary(live: tuple[dict[str, Any], list[dict[str, Any]]] | None) -> str:
    """What `read_history` found, in a line: share of the updates, time left, scores, and what it writes."""
    if live is None or not (rows := [row for row in live[1] if row["kind"] != "captions"]):
        return "has begun"
    (first, every), last = live, rows[-1]
    metric, update = first["metric"], last["update"]
    parts = [f"{update / first['total']:.0%} of {first['total']} updates"]
    if update:
        left = round((first["total"] - update) * last["seconds"] / update)
        parts.append(f"at most {timedelta(seconds=left)} left")
    if scores := [(row[metric], row["update"]) for row in rows if metric in row]:
        best, when = max(scores, key=lambda scored: scored[0])  # the first of equal ones
        parts.append(f"{metric} {scores[-1][0]:.1f}, best {best:.1f} at update {when}")
    if losses := [row["loss"] for row in rows if "loss" in row]:
        parts.append(f"loss {losses[-1]:.2f}")
    if captions := [row["captions"] for row in every if row["kind"] == "captions"]:
        item, caption = next(iter(captions[-1].items()))
        parts.append(f"{item}: {caption!r}")
    return "  ".join(parts)


def write_metrics(out: Path, history: list[dict[str, Any]], state: Path) -> None:
    """The history as JSON lines, its validation rows as CSV, and what TensorBoard was shown of it."""
    write_text(
        out.with_suffix(".metrics.jsonl"), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in history)
    )
    rows = [{key: row[key] for key in row if key != "kind"} for row in history if row["kind"] == "validation"]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(out.with_suffix(".csv"), text.getvalue())
    board = out.with_suffix(".tensorboard")
    with writing(board):
        shutil.rmtree(board, ignore_errors=True)
        board.mkdir()
        for events in (path for path in (state / BOARD).rglob("*") if path.is_file()):
            (board / events.name).write_bytes(events.read_bytes())


def write_provenance(out: Path, identity: dict[str, Any], hours: float) -> None:
    """What a checkpoint's bytes do not say: on which machine and commit it was trained, and for how long."""
    write_json(
        out.with_suffix(".json"),
        {
            **identity,
            "hours": round(hours, 5),
            "commit": commit(),
            "slurm_job": os.environ.get("SLURM_JOB_ID"),
            "machine": f"{platform.machine()} {platform.system()}",
            "python": platform.python_version(),
            "command": " ".join(["captionrl", *sys.argv[1:]]),
        },
    )
