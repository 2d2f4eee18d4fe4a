"""Train one phase of one run: from files to a checkpoint, with its metrics and its provenance beside it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captionrl.config import EndToEndSizes, Paper, PolicyPhase, Sizes, model_spec, objective_spec
from captionrl.config.backbones import RANDOM
from captionrl.datasets.attributes import Attributes
from captionrl.datasets.prepared import load_captions
from captionrl.datasets.segments import load_segments
from captionrl.device import pick_device
from captionrl.dotted import load_object
from captionrl.errors import UserError
from captionrl.features.store import FeatureStore
from captionrl.features.weights import find_weights
from captionrl.files import fingerprint, read_json, sha256, sweep
from captionrl.models import Policy, build_module
from captionrl.provenance import code_version
from captionrl.state import open_state
from captionrl.text.vocabulary import Vocabulary
from captionrl.training.checkpoint import Metadata, load_beside, load_module, save_checkpoint
from captionrl.training.data import Data, clips_of, with_features
from captionrl.training.loop import Learner, train
from captionrl.training.records import check_board, write_metrics, write_provenance


@dataclass(frozen=True)
class Job:
    """One phase of one run, on one corpus, with one seed; and the files it reads and writes."""

    run: str
    phase: str
    corpus: str
    seed: int
    captions: Path  # the directory of a prepared corpus
    features: Path | None  # a feature store; its manifest lies beside it, as .json. A critic needs none
    segments: Path | None  # where the captions' segments end; a critic needs it
    weights: Path | str | None  # of a CNN that is part of the captioner, where there is no checkpoint to start from
    attributes: Path | None  # the list of those to predict, if any
    start: Path | None  # the checkpoint this phase starts from
    out: Path  # the checkpoint; .metrics.jsonl, .csv and .json come beside it
    state: Path  # below it lie the states of unfinished trainings
    device: str
    precision: str


def train_phase(paper: Paper, job: Job) -> None:
    """Train, or go on training, and write the checkpoint with the best validation score and what lies beside it."""
    for name, known, place in (
        (job.run, paper.runs, "runs"),
        (job.phase, paper.runs[job.run].phases if job.run in paper.runs else (), f"runs.{job.run}.phases"),
        (job.corpus, paper.corpora, "corpora"),
    ):
        if name not in known:
            raise UserError(f"papers/{paper.paper}: {place}: no {name!r}; there are {', '.join(known)}")
    run, phase, settings = paper.runs[job.run], paper.phase_of(job.phase, job.corpus), paper.corpora[job.corpus]
    sizes = paper.sizes_of(job.run, job.corpus)
    model = model_spec(run.model)
    if model.cnn and not job.start:
        job = replace(job, weights=find_weights(paper.backbone_of(job.corpus, job.run), job.weights))
    starts_from = paper.start_of(job.run, job.phase)
    if starts_from and job.start is None:
        what = f"goes on from {'/'.join(starts_from)}; give its checkpoint with --start"
        raise UserError(f"{job.run}/{job.phase}: {what}")
    if job.start and not starts_from:
        raise UserError(f"{job.run}/{job.phase}: begins with fresh weights; leave --start out")
    check_board(job.out)
    needs_features, needs_segments = model.captions, paper.needs_segments(job.phase, job.corpus)
    needs_attributes = paper.needs_attributes(job.phase, job.corpus)
    for option, needed, given in (
        ("--features", needs_features, job.features),
        ("--segments", needs_segments, job.segments),
        ("--attributes", needs_attributes, job.attributes),
    ):
        if needed and given is None:
            raise UserError(f"{job.run}/{job.phase}: cannot be trained without {option}; give it")
    features, segments = job.features if needs_features else None, job.segments if needs_segments else None
    device = pick_device(job.device)
    store = FeatureStore(features) if features else None
    captions = load_captions(job.captions)
    if store:
        backbone = paper.backbone_of(job.corpus, job.run)
        if store.attributes["backbone"] != backbone:
            what = f"{store.attributes['backbone']}, not {backbone}, the backbone of {paper.paper}/{job.run}"
            raise UserError(f"{features}: features of {what}; extract those of {backbone}")
        captions = with_features(captions, store, "train", "val")
    captions.require(("train", "val"), job.captions, "training", at_least=2)  # CIDEr-D of one item alone is 0
    vocabulary = Vocabulary.load(job.captions / "vocabulary.json")
    config = paper.training_config(job.run, job.phase, job.corpus)
    attributes = Attributes.load(job.attributes) if job.attributes and needs_attributes else None
    if attributes and isinstance(sizes, EndToEndSizes) and len(attributes.listed) > sizes.attributes:
        more = f"{len(attributes.listed)} attributes, but sizes.attributes is {sizes.attributes}"
        raise UserError(f"{job.attributes}: {more}; list fewer with --max-attributes")
    inputs = {
        "captions": sha256(job.captions / "captions.parquet"),
        "vocabulary": sha256(job.captions / "vocabulary.json"),
        "features": read_json(features.with_suffix(".json")) if features else None,
        "segments": sha256(segments) if segments else None,
        "start": sha256(job.start) if job.start else None,
        "weights": sha256(job.weights) if isinstance(job.weights, Path) else job.weights,
        "attributes": sha256(job.attributes) if job.attributes else None,
    }
    identity: dict[str, Any] = {
        "name": [paper.paper, job.run, job.phase, job.corpus],
        "config": config,
        "inputs": inputs,
        "seed": job.seed,
        "code": code_version("train", *paper.training_methods_of(job.run, job.phase, job.corpus)),
        "threads": torch.get_num_threads(),
        "device": device.type,
        "precision": job.precision,
        "torch": torch.__version__,
    }
    torch.manual_seed(job.seed)
    facts: dict[str, Any] = {
        "model": run.model,
        "words": list(vocabulary.words),
        "sizes": sizes.model_dump(),
        "features": store.dim if store else 0,
        "backbone": paper.backbone_of(job.corpus, job.run) if store else "",
        "backbone_sha256": store.attributes["weights_sha256"] if store else "",
    }
    module = _start(job, facts, sizes, sees=run.visual_input)
    if isinstance(phase, PolicyPhase) and phase.start_temperature != 1:
        assert isinstance(module, Policy)
        module.sharpen(phase.start_temperature)
    data = Data(
        captions=captions,
        vocabulary=vocabulary,
        max_words=settings.max_words,
        device=device,
        clips=clips_of(store, settings.max_frames, device, visual_input=run.visual_input) if store else None,
        boundaries=load_segments(segments, captions.tokens) if segments else None,
        attributes=attributes,
    )
    learner = load_object(objective_spec(phase.objective).path)(module, data, phase, job.seed)
    if job.start:
        _go_on(_beside(learner, module), load_beside(job.start))
    title = f"{paper.paper}/{job.run}/{job.phase} {job.corpus} seed {job.seed}"
    with open_state(job.state, identity, title) as state:
        half = torch.bfloat16 if job.precision == "bfloat16" else None
        history = train(learner, phase, state, seed=job.seed, title=title, half=half)
        best = max((row for row in history if row["kind"] == "validation"), key=lambda row: row[learner.metric])
        metadata = Metadata(
            **facts,
            paper=paper.paper,
            run=job.run,
            phase=job.phase,
            corpus=job.corpus,
            seed=job.seed,
            visual_input=run.visual_input,
            settings=settings.model_dump(include={"max_frames", "max_words", "min_count"}),
            fps=float(store.attributes["fps"]) if store else paper.fps,
            updates=history[-1]["update"],
            best_update=best["update"],
            val_score=best[learner.metric],
            config=fingerprint(config),
            code=identity["code"],
        )
        sweep(job.out.parent, f"{job.out.stem}.*")
        write_metrics(job.out, history, state)
        write_provenance(job.out, identity, hours=history[-1]["seconds"] / 3600)
        save_checkpoint(job.out, module, metadata, _beside(learner, module))


def _start(job: Job, facts: dict[str, Any], sizes: Sizes, *, sees: bool) -> nn.Module:
    """What a phase begins with: fresh weights, those of a checkpoint, or fresh ones around what was trained before.

    Such are HRL's critic and the CNN of a captioner that has one.
    """
    start, spec = job.start, model_spec(facts["model"])
    fresh: Any = build_module(facts["model"], facts["features"], len(facts["words"]), sizes, facts["backbone"])
    if start is None:
        if spec.cnn and job.weights != RANDOM:
            fresh.load_cnn(job.weights)
        return fresh
    module, metadata = load_module(start)
    if metadata.model == spec.starts_from:
        shared = [
            facts["sizes"][name] == metadata.sizes[name]
            for name in ("boundary_critic", "critic_input", "close_caption")
        ]
        fits = facts["words"] == metadata.words and all(shared)
        if fits:
            fresh.get_submodule("boundary_critic").load_state_dict(module.state_dict())
            module = fresh
    else:
        fits = facts == {name: getattr(metadata, name) for name in facts}
    if not fits:
        what = "model or vocabulary, sizes or backbone"
        raise UserError(f"{start}: another {what} than this phase's; train it again")
    if metadata.seed != job.seed:
        raise UserError(f"{start}: of seed {metadata.seed}, not {job.seed}; give that of the same seed")
    if spec.captions and metadata.model == facts["model"] and metadata.visual_input != sees:
        shown = "with" if metadata.visual_input else "without"
        raise UserError(f"{start}: trained {shown} visual input, unlike this run; give another run's checkpoint")
    return module


def _beside(learner: Learner, module: nn.Module) -> dict[str, Tensor]:
    """The parameters that a learner trains beside the module: baselines."""
    own = {id(parameter) for parameter in module.parameters()}
    return {name: tensor for name, tensor in learner.module.named_parameters() if id(tensor) not in own}


@torch.no_grad()
def _go_on(beside: dict[str, Tensor], trained: dict[str, Tensor]) -> None:
    """Give baselines the weights that the same ones had at the end of the phase before."""
    if {name: tensor.shape for name, tensor in beside.items()} == {name: at.shape for name, at in trained.items()}:
        for name, tensor in beside.items():
            tensor.copy_(trained[name])
