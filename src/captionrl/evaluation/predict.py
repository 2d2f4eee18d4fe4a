"""Captions of a split with a checkpoint's policy: one an item by beam search, or a set an item."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from captionrl.datasets.prepared import load_captions
from captionrl.decoding.beam import beam_search
from captionrl.decoding.lookahead import look_ahead as look_ahead_search
from captionrl.decoding.rerank import nearest
from captionrl.decoding.rollout import sample
from captionrl.device import pick_device
from captionrl.errors import UserError
from captionrl.evaluation.trained import open_clips
from captionrl.files import write_json
from captionrl.models.policy import Features, Policy
from captionrl.progress import progress
from captionrl.training.checkpoint import load_checkpoint

BATCH = 64  # clips at a time; the beam, or the size of a set, multiplies it

Decoder = Callable[[Policy, Features, int], Tensor]  # policy, B clips, most tokens -> tokens [B, S, T]


def predict(
    checkpoint: Path,
    captions: Path,
    features: Path,
    out: Path,
    *,
    split: str,
    beam: int,
    device: str,
    length_normalised: bool = False,
    stage: int | None = None,
    look_ahead: float | None = None,
    rerank: bool = False,
) -> None:
    """Write {item: caption} of every item of `split` to `out`; captions are words joined by a space.

    `length_normalised`: as of `beam_search`; look-ahead search has no such choice. `stage`: whose words, of a model
    that has stages, if not the last one's. `look_ahead`: the log-probability's weight in the beam's scores, of a model
    with a value network, which has the rest (decoding/lookahead.py). `rerank`: the caption of the beam that the model's
    image-text embedding prefers (decoding/rerank.py).
    """

    def best(policy: Policy, features: Features, max_tokens: int) -> Tensor:
        memory = policy.encode(features)
        if rerank:
            embedding: Any = getattr(policy, "similarity", None)
            if embedding is None:
                raise UserError(f"{checkpoint}: --rerank: the model has no image-text embedding; leave it out")
            found = beam_search(policy, memory, max_tokens, beam, length_normalised=length_normalised)
            return nearest(embedding.pictures(features), embedding.captions, *found)
        if look_ahead is not None:
            value: Any = getattr(policy, "value", None)
            if value is None:
                raise UserError(f"{checkpoint}: --look-ahead: the model has no value network; leave it out")
            expected = value.start(features)
            return look_ahead_search(policy, memory, value, expected, max_tokens, beam, look_ahead)[0][:, :1]
        if stage is None:
            return beam_search(policy, memory, max_tokens, beam, length_normalised=length_normalised)[0][:, :1]
        if stage not in range(policy.decoder_stages):
            there = (
                f"stages 0 to {policy.decoder_stages - 1}; give one of them"
                if policy.decoder_stages > 1
                else "none; leave it out"
            )
            raise UserError(f"{checkpoint}: --stage {stage}: the model has {there}")
        start = policy.start_stages(memory, [stage] * len(memory.first_words()))
        return beam_search(policy, memory, max_tokens, beam, start, length_normalised=length_normalised)[0][:, :1]

    title = "beam search" if look_ahead is None else "look-ahead search"
    found = decode(checkpoint, features, _items(captions, split), best, device=device, title=title)
    write_json(out, {item: texts[0] for item, texts in found.items()})


def predict_sets(
    checkpoint: Path,
    captions: Path,
    features: Path,
    out: Path,
    *,
    split: str,
    how: Literal["sample", "beam-set"],
    size: int,
    device: str,
    length_normalised: bool = False,
) -> None:
    """Write {item: [captions]} of every item of `split` to `out`, `size` captions each (SLE section 5.4).

    `sample`: random sampling, seeded with the checkpoint's own seed, so that equal checkpoints give equal captions on
    the same kind of device. `beam-set`: all that a beam search of width `size` finds, best first.
    """

    def random(policy: Policy, features: Features, max_tokens: int) -> Tensor:
        memory = policy.encode(features)
        clips = torch.arange(len(memory.first_words()), device=memory.first_words().device)
        rollout = sample(policy, memory.select(clips.repeat_interleave(size)), max_tokens)
        return rollout.tokens.unflatten(0, (-1, size))

    def beam(policy: Policy, features: Features, max_tokens: int) -> Tensor:
        memory = policy.encode(features)
        return beam_search(policy, memory, max_tokens, size, length_normalised=length_normalised)[0]

    decoder, title = (random, "sampling") if how == "sample" else (beam, "beam search")
    write_json(out, decode(checkpoint, features, _items(captions, split), decoder, device=device, title=title))


def decode(
    checkpoint: Path, features: Path, items: Sequence[str], decoder: Decoder, *, device: str, title: str
) -> dict[str, list[str]]:
    """What `decoder` writes about every one of `items` that has features."""
    policy, metadata = load_checkpoint(checkpoint)
    where = pick_device(device)
    clips = open_clips(checkpoint, metadata, features, where)
    items = [item for item in items if item in clips.store]
    if not items:
        raise UserError(f"{features}: has features of none of the items to caption; extract those of this corpus")
    policy, vocabulary = policy.to(where), metadata.vocabulary
    written = {}
    with torch.inference_mode(), torch.random.fork_rng([where] if where.type == "cuda" else []):
        torch.manual_seed(metadata.seed)
        for first in progress(range(0, len(items), BATCH), title=title, unit="batch"):
            batch = items[first : first + BATCH]
            tokens = decoder(policy, clips.batch(batch), metadata.corpus_settings.max_words + 1)
            for item, rows in zip(batch, tokens.tolist(), strict=True):
                written[item] = [" ".join(vocabulary.decode(row)) for row in rows]
    return written


def _items(captions: Path, split: str) -> list[str]:
    corpus = load_captions(captions)
    corpus.require([split], captions, "captioning it")
    return [item.id for item in corpus.items[split]]
