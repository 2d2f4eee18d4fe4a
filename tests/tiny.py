"""A corpus with random features and the first paper's runs, so small that a phase trains in a second."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from toy import sizes_for

from captionrl.config import Paper, load_paper, overlay
from captionrl.datasets.corpus import Corpus, Item
from captionrl.datasets.mine import mine
from captionrl.datasets.prepare import prepare
from captionrl.datasets.prepared import Captions, load_captions
from captionrl.datasets.segment import segment
from captionrl.datasets.segments import write_segments
from captionrl.features.backbones import MiniResNet, save_mini
from captionrl.features.frame_sampler import frame_sampler
from captionrl.features.frames import pack
from captionrl.features.store import FeatureStore, write_store
from captionrl.files import write_json
from captionrl.models import build_module
from captionrl.text.vocabulary import Vocabulary
from captionrl.training.checkpoint import Metadata, save_checkpoint
from captionrl.training.run import Job, train_phase

PAPER = Path(__file__).parents[1] / "papers/hrl"
CORPUS = "msrvtt-mini"
DIM = 6  # of a frame's feature
BACKBONE = {"backbone": "mini", "weights_sha256": "0" * 64, "fps": 3.0, "transform": "none", "code_version": "1"}
OVERRIDES: dict[str, Any] = {  # whatever matters to a training, so that the paper's own settings may change
    "corpora": {
        "msrvtt": {
            "max_frames": 5,
            "max_words": 6,
            "min_count": 1,
            "segmentation": "shallow",
            "sizes": {"boundary_critic": 8},
        }
    },
    "sizes": {
        "projection": 8,
        "encoder": 8,
        "manager_encoder": 6,
        "decoder": 16,
        "manager": 6,
        "goal": 3,
        "boundary_critic": 8,
        "attention": 8,
        "embedding": 8,
        "dropout": 0.2,
        "init": 0.1,
    },
    "phases": {
        "xe": {
            "epochs": 8,  # of six batches each
            "validate_every": 1,
            "batch": 8,
            "optimiser": "adam",
            "learning_rate": 0.05,
            "lr_patience": 3,
            "lr_schedule": "plateau",
            "clip": 10,
            "scheduled_sampling": {"start": 2, "per_epoch": 0.1, "max_probability": 0.3},
        },
        "rl": {
            "epochs": 4,
            "validate_every": 0.5,
            "batch": 8,
            "optimiser": "adam",
            "learning_rate": 0.02,
            "lr_patience": 3,
            "lr_schedule": "plateau",
            "clip": 10,
            "baseline": "greedy",
            "eos_in_reward": True,
            "punctuation_in_reward": False,
        },
    },
}
OVERRIDES["phases"]["boundary-critic"] = {"epochs": 8, "validate_every": 1, "batch": 8, "learning_rate": 0.02}
OVERRIDES["phases"]["xe-warm"] = {**OVERRIDES["phases"]["xe"], "epochs": 6}
OVERRIDES["phases"]["hrl"] = {
    **{key: value for key, value in OVERRIDES["phases"]["rl"].items() if key != "baseline"},
    "discount": 0.9,
    "worker_updates": 2,
    "manager_updates": 1,
    "manager_rate": 0.5,
    "samples": 1,
    "baseline": "linear",
    "baseline_rate": 1,
    "baseline_warmup": 1,
    "noise": 0.3,
    "noise_end": 0.1,
    "noise_scale": "absolute",
    "gradients_cross_segments": False,
}
XE_UPDATES = 48
CAPTIONING = {key: value for key, value in OVERRIDES["phases"]["rl"].items() if key != "baseline"}
SEEING: dict[str, Any] = {  # runs with a CNN of their own; what they learn from: `World.eyes`
    "sizes": {"attributes": 7},
    "runs": {
        "first": {"model": "e2e", "backbone": "mini-frames", "phases": ["step1", "step2", "step3"]},
        "no-visual-input": {"model": "e2e", "backbone": "mini-frames", "phases": ["step1"], "visual_input": False},
    },
    "phases": {
        "step1": {
            key: value
            for key, value in OVERRIDES["phases"]["xe"].items()
            if key not in ("scheduled_sampling", "epochs")
        }
        | {"objective": "multitask-xe", "epochs": 3},
        "step2": CAPTIONING | {"objective": "multitask", "samples": 2, "epochs": 1},
        "step3": CAPTIONING
        | {
            "objective": "multitask",
            "samples": 2,
            "epochs": 1,
            "batch": 4,
            "gradient_accumulation_steps": 2,
            "alpha": 0.5,
        }
        | {"cnn_rate": 0.5, "augmentation": {"crop": 0.2, "flip": True}, "frames_at_once": 5},
    },
}


@dataclass(frozen=True)
class World:
    """The corpus' files in a directory, and training on them."""

    root: Path

    @property
    def captions(self) -> Path:
        return self.root / "captions"

    @property
    def features(self) -> Path:
        return self.root / "features.h5"

    @property
    def segments(self) -> Path:
        return self.root / "segments.parquet"

    def cnn(self) -> dict[str, Path]:
        """What runs of SEEING learn from: arguments of `train`, made the first time."""
        store, weights, attributes = (self.root / name for name in ("frames.h5", "mini.safetensors", "attributes.tsv"))
        if not attributes.exists():
            captions = load_captions(self.captions)
            write_frames(store, [item.id for items in captions.items.values() for item in items])
            write_cnn(weights)
            mine(captions, "dictionary", 7).save(attributes)
        return {"features": store, "attributes": attributes, "weights": weights}

    def load(self) -> tuple[Captions, Vocabulary, FeatureStore]:
        vocabulary = Vocabulary.load(self.captions / "vocabulary.json")
        return load_captions(self.captions), vocabulary, FeatureStore(self.features)

    def train(self, run: str, phase: str, out: Path, overrides: dict[str, Any] | None = None, **changes: Any) -> Path:
        """Train a phase into `out`, its state below a directory beside it; like the rule, with segments if need be."""
        paper = tiny_paper(overrides)
        facts = {
            "captions": self.captions,
            "features": self.features,
            "segments": self.segments if phase in paper.phases and paper.needs_segments(phase, CORPUS) else None,
            "attributes": None,
            "weights": None,
            "start": None,
            "state": out.parent / "state",
        }
        facts |= {
            "run": run,
            "phase": phase,
            "corpus": CORPUS,
            "seed": 1,
            "device": "cpu",
            "precision": "float32",
            "out": out,
        }
        train_phase(paper, Job(**facts | changes))
        return out

    def metadata(self, **changes: Any) -> Metadata:
        """The card of a run's checkpoint, with `changes`."""
        paper, (_, vocabulary, _) = tiny_paper(), self.load()
        model = changes.get("model", "attention")
        facts = {"paper": "hrl", "run": "xe-baseline", "phase": "xe", "corpus": CORPUS, "seed": 1, "visual_input": True}
        facts |= {"model": model, "features": DIM, "sizes": sizes_for(model, paper.sizes).model_dump()}
        facts |= {"settings": paper.corpora[CORPUS].model_dump(), "words": list(vocabulary.words), "fps": 3.0}
        facts |= {"backbone": "mini", "backbone_sha256": BACKBONE["weights_sha256"], "config": "c", "code": "v"}
        return Metadata(**facts | {"updates": XE_UPDATES, "best_update": 9, "val_score": 1.5} | changes)

    def untrained(self, path: Path, **changes: Any) -> Path:
        """A checkpoint of random weights, far from uniform; `changes` of its card."""
        metadata = self.metadata(**changes)
        torch.manual_seed(0)
        sizes = sizes_for(metadata.model, metadata.sizes | {"init": 1.5})
        policy = build_module(metadata.model, metadata.features, len(metadata.words), sizes)
        save_checkpoint(path, policy, metadata)
        return path


def tiny_world(root: Path) -> World:
    """22 training, 7 validation and 7 test clips of somebody doing something with something, two captions each."""
    facts = list(product(("man", "woman", "dog", "robot"), ("lifts", "kicks", "paints"), ("ball", "box", "car")))
    splits = ("train", "train", "train", "val", "test")
    items = [Item(f"clip{index}", splits[index % 5], None) for index in range(len(facts))]
    captions = {
        item.id: [f"A {actor} {action} a {thing}.", f"The {thing} is with a {actor}"]
        for item, (actor, action, thing) in zip(items, facts, strict=True)
    }
    world = World(root)
    prepare(Corpus(CORPUS, items, captions, "made up"), world.captions, min_count=1)
    write_features(world.features, [item.id for item in items])
    write_segments(world.segments, segment(load_captions(world.captions).tokens, "shallow"))
    return world


def tiny_paper(overrides: dict[str, Any] | None = None) -> Paper:
    return load_paper(PAPER, "mini", overlay(OVERRIDES, overrides or {}))


def write_features(path: Path, items: Sequence[str], seed: int = 0, **changes: Any) -> None:
    """A store of random features of clips of 2 to 8 frames, and its manifest."""
    generator = np.random.default_rng(seed)
    arrays = [(item, generator.normal(size=(generator.integers(2, 9), DIM)).astype(np.float16)) for item in items]
    attributes = BACKBONE | {"dim": DIM} | changes
    write_store(path, arrays, attributes)
    write_json(path.with_suffix(".json"), {**attributes, "seed": seed})


def write_frames(path: Path, items: Sequence[str]) -> None:
    """A frame store of pictures of soft random edges, of clips of 2 to 5 frames, and its manifest."""
    generator = np.random.default_rng(0)
    sampler = frame_sampler("mini-frames", 5)
    arrays = []
    for item in items:
        rough = torch.from_numpy(generator.uniform(0, 255, (generator.integers(2, 6), 3, 4, 4)))
        fine = torch.nn.functional.interpolate(rough, (64, 64), mode="bilinear").permute(0, 2, 3, 1)
        arrays.append((item, pack(fine.round().to(torch.uint8).numpy())))
    attributes = {
        "backbone": sampler.name,
        "weights_sha256": sampler.weights_sha256,
        "fps": 3.0,
        "dim": sampler.dim,
    }
    attributes |= {"transform": sampler.transform, "code_version": "1"}
    write_store(path, arrays, attributes)
    write_json(path.with_suffix(".json"), attributes)


def write_cnn(path: Path) -> None:
    """The mini backbone's weights at random, its statistics unlike those that it would see here."""
    torch.manual_seed(0)
    model = MiniResNet({"actor": 5})
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    save_mini(model, path)


def fill(disk: Path, leave: int) -> Path:
    """A file that leaves so many bytes of the disk free."""
    usage = os.statvfs(disk)
    filler = disk / "filler"
    with open(filler, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, usage.f_bavail * usage.f_frsize - leave))
    return filler
