"""What lies beside a training: its state's directory, its metrics, its provenance."""

import csv
import io
import json
import os
import platform
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from captionrl.files import fingerprint, read_json, write_json, write_text
from captionrl.provenance import commit


def open_state(states: Path, identity: dict[str, Any], title: str) -> Path:
    """The directory of the training that `identity` determines: its name is a hash of it."""
    directory = states / fingerprint(identity)
    if not (directory / "identity.json").exists():
        write_json(directory / "identity.json", {"title": title, **identity})
    return directory


def write_metrics(out: Path, history: list[dict[str, Any]]) -> None:
    """The history as JSON lines, its validation rows as CSV, and all of it for TensorBoard."""
    write_text(out.with_suffix(".metrics.jsonl"), "".join(json.dumps(row) + "\n" for row in history))
    rows = [{key: row[key] for key in row if key != "kind"} for row in history if row["kind"] == "validation"]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(out.with_suffix(".csv"), text.getvalue())

    from torch.utils.tensorboard import SummaryWriter  # slow to import

    events = out.with_suffix(".tensorboard")
    shutil.rmtree(events, ignore_errors=True)
    with SummaryWriter(str(events)) as board:
        for row in history:
            for name, value in row.items():
                if name not in ("kind", "update"):
                    board.add_scalar(f"{row['kind']}/{name}", value, row["update"])


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


def list_states(states: Path) -> list[dict[str, Any]]:
    """The trainings and extractions whose state is kept, oldest first: directory, title, bytes, days since saved."""
    rows = []
    for identity in states.rglob("identity.json"):
        files = [path for path in identity.parent.rglob("*") if path.is_file()]
        rows.append(
            {
                "directory": str(identity.parent.relative_to(states)),
                "title": read_json(identity)["title"],
                "bytes": sum(path.stat().st_size for path in files),
                "days": round((time.time() - max(path.stat().st_mtime for path in files)) / 86400, 2),
            }
        )
    return sorted(rows, key=lambda row: -row["days"])


def prune_states(states: Path, days: float) -> list[dict[str, Any]]:
    """Delete the states not touched for `days` days; return them."""
    old = [row for row in list_states(states) if row["days"] >= days]
    for row in old:
        shutil.rmtree(states / row["directory"])
    return old
