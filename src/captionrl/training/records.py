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

from captionrl.errors import UserError
from captionrl.files import atomic_folder, read_json, write_json, write_text, writing
from captionrl.provenance import commit
from captionrl.state import IDENTITY

HISTORY = "history.jsonl"  # both in the state's directory
BOARD = "tensorboard"
EVENTS = "events.out.tfevents.captionrl"


class LiveHistory:
    """The history of a running training as it grows, in its state's directory: JSON lines, and events for TensorBoard.

    The first line says how many updates there will be at most, and which score counts. A training that goes on writes
    both anew from the rows of its state: rows since the last save will come again. An event's time is the seconds of
    training. TensorBoard's own writer is not used: it works in a thread, whose errors are tracebacks.
    """

    def __init__(
        self, directory: Path, history: Sequence[dict[str, Any]], *, title: str, total: int, metric: str
    ) -> None:
        from tensorboard.compat.proto.event_pb2 import Event  # slow to import
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.lines, self.events, self.seconds = directory / HISTORY, directory / BOARD / title / EVENTS, 0.0
        shutil.rmtree(directory / BOARD, ignore_errors=True)
        with writing(self.events):
            self.events.parent.mkdir(parents=True)
            self.writer = RecordWriter(open(self.events, "wb"))  # noqa: SIM115 - both open while the training runs
            self.writer.write(Event(file_version="brain.Event:2").SerializeToString())
        with writing(self.lines):
            self.file = open(self.lines, "w", encoding="utf-8")  # noqa: SIM115
        if (directory / IDENTITY).exists():
            settings = json.dumps(read_json(directory / IDENTITY), indent=1)
            self._show({"settings": indent(settings, "    ")}, update=0)  # Markdown's code
        self._write({"total": total, "metric": metric})
        for row in history:
            self.add(row)

    def add(self, row: dict[str, Any]) -> None:
        """Numbers are shown as KIND/NAME, captions as captions/ITEM."""
        self._write(row)
        self.seconds = row.get("seconds", self.seconds)
        numbers = {f"{row['kind']}/{name}": value for name, value in row.items() if isinstance(value, float)}
        captions = {f"captions/{item}": caption for item, caption in row.get("captions", {}).items()}
        self._show(numbers | captions, row["update"])

    def close(self) -> None:
        self.file.close()
        self.writer.close()

    def _write(self, row: dict[str, Any]) -> None:
        with writing(self.lines):
            self.file.write(json.dumps(row, ensure_ascii=False) + "\n")
            self.file.flush()

    def _show(self, values: dict[str, float | str], update: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from torch.utils.tensorboard.summary import scalar, text

        with writing(self.events):
            for tag, value in values.items():
                summary = text(tag, value) if isinstance(value, str) else scalar(tag, value)
                event = Event(wall_time=self.seconds, step=update, summary=summary)
                self.writer.write(event.SerializeToString())
            self.writer.flush()


def read_history(directory: Path) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
    """The first line and the rows so far of the training whose state is in a directory; None where there is none."""
    try:
        lines = (directory / HISTORY).read_bytes().split(b"\n")[:-1]  # the last one may still be written
    except FileNotFoundError:
        return None
    rows: list[dict[str, Any] | None] = []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except ValueError:  # of a file that another host is writing, zeros may be what is seen
            rows.append(None)
    return (rows[0], [row for row in rows[1:] if row is not None]) if rows and rows[0] is not None else None


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


def check_board(out: Path) -> None:
    """Raise UserError where the folder beside a checkpoint, which `write_metrics` replaces, is not a training's."""
    board = out.with_suffix(".tensorboard")
    if board.is_dir() and (strange := {path.name for path in board.iterdir()} - {EVENTS}):
        raise UserError(f"{board}: holds {min(strange)}, which is no training's, and would be lost; move it")


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
    with atomic_folder(board) as folder:
        for events in (state / BOARD).rglob(EVENTS):
            (folder / EVENTS).write_bytes(events.read_bytes())
        shutil.rmtree(board, ignore_errors=True)


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
