"""Trained captioners with the clips that they were trained to see, for all that evaluates them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch

from captionrl.datasets.prepared import Captions, load_captions
from captionrl.errors import UserError
from captionrl.features.store import FeatureStore
from captionrl.training.checkpoint import Metadata, load_checkpoint
from captionrl.training.data import FeatureBatches, clips_of, with_features

P = TypeVar("P")


@dataclass(frozen=True)
class Seed(Generic[P]):
    """A checkpoint of a run, on the CPU, and the items of a split that have features."""

    checkpoint: Path
    policy: P
    metadata: Metadata
    clips: FeatureBatches
    captions: Captions
    items: list[str]


def open_seeds(
    checkpoints: Sequence[Path], captions: Path, features: Path, split: str, kind: type[P], has: str
) -> Iterator[Seed[P]]:
    """The seeds of a run, one after the other; UserError for a policy that is no `kind`, one that has `has`."""
    corpus = load_captions(captions)
    corpus.require([split], captions, "evaluation")
    for checkpoint in checkpoints:
        policy, metadata = load_checkpoint(checkpoint)
        if not isinstance(policy, kind):
            raise UserError(f"{checkpoint}: a captioner without {has} ({metadata.model}); give a run of one with it")
        clips = open_clips(checkpoint, metadata, features, torch.device("cpu"))
        seen = with_features(corpus, clips.store, split)
        yield Seed(checkpoint, policy, metadata, clips, seen, [item.id for item in seen.items[split]])


def open_clips(checkpoint: Path, metadata: Metadata, features: Path, device: torch.device) -> FeatureBatches:
    """The clips of a feature store as the checkpoint with this metadata was trained on them."""
    store = FeatureStore(features)
    trained_on = [metadata.backbone, metadata.backbone_sha256, metadata.fps]
    if [store.attributes[name] for name in ("backbone", "weights_sha256", "fps")] != trained_on:
        raise UserError(
            f"{features}: features of another backbone or rate than {checkpoint} was trained on; extract them again"
        )
    return clips_of(store, metadata.corpus_settings.max_frames, device, visual_input=metadata.visual_input)
