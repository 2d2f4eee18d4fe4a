"""Captions of a split by beam search with a checkpoint's policy."""

from pathlib import Path

import torch

from captionrl.datasets.prepare import load_captions
from captionrl.decoding.beam import beam_search
from captionrl.device import pick_device
from captionrl.errors import UserError
from captionrl.features.store import FeatureStore
from captionrl.files import write_json
from captionrl.progress import progress
from captionrl.training.checkpoint import Card, load_checkpoint
from captionrl.training.data import Clips, with_features

BATCH = 64  # clips at a time; the beam multiplies it


def predict(checkpoint: Path, captions: Path, features: Path, out: Path, *, split: str, beam: int, device: str) -> None:
    """Write {item: caption} of every item of `split` to `out`; captions are words joined by a space."""
    policy, card = load_checkpoint(checkpoint)
    where = pick_device(device)
    clips = open_clips(checkpoint, card, features, where)
    items = [item.id for item in with_features(load_captions(captions), clips.store).items[split]]
    policy, vocabulary = policy.to(where), card.vocabulary
    written = {}
    with torch.inference_mode():
        for first in progress(range(0, len(items), BATCH), title="beam search", unit="batch"):
            batch = items[first : first + BATCH]
            memory = policy.encode(clips.batch(batch))
            tokens, _ = beam_search(policy, memory, card.corpus_settings.max_words + 1, beam)
            for item, best in zip(batch, tokens[:, 0].tolist(), strict=True):
                written[item] = " ".join(vocabulary.decode(best))
    write_json(out, written)


def open_clips(checkpoint: Path, card: Card, features: Path, device: torch.device) -> Clips:
    """The clips of a feature store as the checkpoint with this card was trained to read them."""
    store = FeatureStore(features)
    if (store.attributes["weights_sha256"], store.attributes["fps"]) != (card.backbone_sha256, card.fps):
        raise UserError(
            f"{features}: features of another backbone or rate than {checkpoint} was trained on; extract them again"
        )
    return Clips(store, card.corpus_settings.max_frames, device, blind=card.blind)
