"""What lies beside a checkpoint: its metrics and its provenance."""

import csv
import io
import json
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

from captionrl.files import atomic_folder, write_json, write_text
from captionrl.provenance import commit


def write_metrics(out: Path, history: list[dict[str, Any]]) -> None:
    """The history as JSON lines, its validation rows as CSV, and all of it for TensorBoard."""
    write_text(out.with_suffix(".metrics.jsonl"), "".join(json.dumps(row) + "\n" for row in history))
    rows = [{key: row[key] for key in row if key != "kind"} for row in history if row["kind"] == "validation"]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(out.with_suffix(".csv"), text.getvalue())

    events = out.with_suffix(".tensorboard")
    with atomic_folder(events) as folder:
        _write_events(folder / "events.out.tfevents.captionrl", history)
        shutil.rmtree(events, ignore_errors=True)


def _write_events(path: Path, history: list[dict[str, Any]]) -> None:
    """TensorBoard's file of scalars, a row's time being its seconds of training.

    Its own writer works in a thread, whose errors are tracebacks.
    """
    from tensorboard.compat.proto.event_pb2 import Event  # slow to import
    from tensorboard.summary.writer.record_writer import RecordWriter
    from torch.utils.tensorboard.summary import scalar

    with open(path, "wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(file_version="brain.Event:2").SerializeToString())
        for row in history:
            for name, value in row.items():
                if name not in ("kind", "update"):
                    summary = scalar(f"{row['kind']}/{name}", value)
                    event = Event(wall_time=row["seconds"], step=row["update"], summary=summary)
                    writer.write(event.SerializeToString())


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
