"""Train one phase of one run: from files to a checkpoint, with its metrics and its provenance beside it."""

import csv
import io
import json
import os
import platform
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from captionrl.config import Paper
from captionrl.datasets.prepare import load_captions
from captionrl.errors import UserError
from captionrl.features.store import FeatureStore
from captionrl.files import fingerprint, read_json, sha256, write_json, write_text
from captionrl.models import build_policy
from captionrl.provenance import code_version, commit
from captionrl.text.vocabulary import Vocabulary
from captionrl.training.captioner import LEARNERS
from captionrl.training.checkpoint import Card, load_checkpoint, save_checkpoint
from captionrl.training.data import Clips, with_features
from captionrl.training.loop import pick_device, train


@dataclass(frozen=True)
class Job:
    """One phase of one run, on one corpus, with one seed; and the files it reads and writes."""

    run: str
    phase: str
    corpus: str
    seed: int
    captions: Path  # the directory of a prepared corpus
    features: Path  # a feature store; its manifest lies beside it, as .json
    start: Path | None  # the checkpoint this phase starts from
    out: Path  # the checkpoint; .metrics.jsonl, .csv and .json come beside it
    state: Path  # below it lie the states of unfinished trainings
    device: str


def train_phase(paper: Paper, job: Job) -> None:
    """Train, or go on training, and write the checkpoint with the best validation CIDEr-D and what lies beside it."""
    run, phase, settings = paper.runs[job.run], paper.phases[job.phase], paper.corpora[job.corpus]
    device = pick_device(job.device)
    store = FeatureStore(job.features)
    captions = with_features(load_captions(job.captions), store)
    vocabulary = Vocabulary.load(job.captions / "vocabulary.json")
    config = paper.training_config(job.run, job.phase, job.corpus)
    inputs = {
        "captions": sha256(job.captions / "captions.parquet"),
        "vocabulary": sha256(job.captions / "vocabulary.json"),
        "features": read_json(job.features.with_suffix(".json")),
        "start": sha256(job.start) if job.start else None,
    }
    identity: dict[str, Any] = {
        "name": [paper.paper, job.run, job.phase, job.corpus],
        "config": config,
        "inputs": inputs,
        "seed": job.seed,
        "code": code_version("train"),
        "threads": torch.get_num_threads(),
        "device": device.type,
        "torch": torch.__version__,
    }
    title = f"{paper.paper}/{job.run}/{job.phase} {job.corpus} seed {job.seed}"
    state = open_state(job.state, identity, title)

    torch.manual_seed(job.seed)
    if job.start:
        policy, card = load_checkpoint(job.start)
        if tuple(card.words) != vocabulary.words or card.model != run.model:
            raise UserError(f"{job.start}: another model or vocabulary than this phase's; train it again")
    else:
        policy = build_policy(run.model, store.dim, len(vocabulary), paper.sizes)
    clips = Clips(store, settings.max_frames, device, blind=run.blind)
    learner = LEARNERS[phase.objective](policy, clips, captions, vocabulary, settings, phase, job.seed)
    history = train(learner, phase, state, seed=job.seed, title=title)

    best = max((row for row in history if row["kind"] == "validation"), key=lambda row: row["val_cider"])
    write_metrics(job.out, history)
    card = Card(
        paper=paper.paper,
        run=job.run,
        phase=job.phase,
        corpus=job.corpus,
        seed=job.seed,
        model=run.model,
        blind=run.blind,
        features=store.dim,
        sizes=paper.sizes.model_dump(),
        settings=settings.model_dump(),
        words=list(vocabulary.words),
        backbone=paper.backbone,
        backbone_sha256=store.attributes["weights_sha256"],
        fps=paper.fps,
        updates=history[-1]["update"],
        best_update=best["update"],
        val_cider=best["val_cider"],
        config=fingerprint(config),
        code=identity["code"],
    )
    write_provenance(job.out, identity, hours=history[-1]["seconds"] / 3600)
    save_checkpoint(job.out, policy, card)


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
    """The trainings whose state is kept, oldest first: directory, title, bytes, and days since the last save."""
    rows = []
    for identity in states.glob("*/identity.json"):
        files = [path for path in identity.parent.rglob("*") if path.is_file()]
        rows.append(
            {
                "directory": identity.parent.name,
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
