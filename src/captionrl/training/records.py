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

from captionrl.files import write_json, write_text, writing
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

    from torch.utils.tensorboard import SummaryWriter  # slow to import

    events = out.with_suffix(".tensorboard")
    shutil.rmtree(events, ignore_errors=True)
    with writing(events), SummaryWriter(str(events)) as board:
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
