"""Train one phase of one run: from files to a checkpoint, with its metrics and its provenance beside it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from captionrl.config import Paper
from captionrl.datasets.prepare import load_captions
from captionrl.device import pick_device
from captionrl.errors import UserError
from captionrl.features.store import FeatureStore
from captionrl.files import fingerprint, read_json, sha256
from captionrl.models import build_policy
from captionrl.provenance import code_version
from captionrl.text.vocabulary import Vocabulary
from captionrl.training.captioner import LEARNERS
from captionrl.training.checkpoint import Card, load_checkpoint, save_checkpoint
from captionrl.training.data import Clips, with_features
from captionrl.training.loop import train
from captionrl.training.state import open_state, write_metrics, write_provenance


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
    for name, known, place in (
        (job.run, paper.runs, "runs"),
        (job.phase, paper.runs[job.run].phases if job.run in paper.runs else (), f"runs.{job.run}.phases"),
        (job.corpus, paper.corpora, "corpora"),
    ):
        if name not in known:
            raise UserError(f"papers/{paper.paper}.yaml: {place}: no {name!r}; there are {', '.join(known)}")
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
        theirs = (card.model, tuple(card.words), card.sizes, card.features, card.backbone_sha256)
        ours = (run.model, vocabulary.words, paper.sizes.model_dump(), store.dim, store.attributes["weights_sha256"])
        if theirs != ours:
            what = "model or vocabulary, sizes or backbone"
            raise UserError(f"{job.start}: another {what} than this phase's; train it again")
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
