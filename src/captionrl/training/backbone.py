"""The mini backbone learns to see: attribute labels of rendered training frames, by the one training loop.

At the paper scale backbones come with ImageNet weights instead. No frame of a validation or test item is ever seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from captionrl.config import BackbonePhase
from captionrl.errors import UserError
from captionrl.features.backbones import MINI_MEAN, MINI_RESIZE, MINI_STD, MiniResNet, normalise, save_mini
from captionrl.features.video import sample_frames
from captionrl.files import read_json, sha256
from captionrl.progress import progress
from captionrl.provenance import code_version
from captionrl.training.loop import pick_device, train
from captionrl.training.run import open_state, write_metrics, write_provenance

HELD_BACK = 10  # every tenth training clip measures how well the backbone sees what it has not learnt


@dataclass(frozen=True)
class Frames:
    images: Tensor  # [F, S, S, 3] uint8
    labels: Tensor  # [F, heads] int64


class AttributeLearner:
    """Every attribute of a frame by a linear classifier on the pooled features."""

    def __init__(self, network: MiniResNet, frames: Frames, held_back: Frames, phase: BackbonePhase, seed: int) -> None:
        self.module: nn.Module = network
        self.network, self.frames, self.held_back, self.phase, self.seed = network, frames, held_back, phase, seed
        self.batches = -(-len(frames.images) // phase.batch)

    def loss(self, epoch: int, index: int) -> tuple[Tensor, dict[str, float]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.frames.images), generator=generator)
        chosen = order[index * self.phase.batch : (index + 1) * self.phase.batch]
        logits = self._classify(self.frames.images[chosen])
        labels = self.frames.labels[chosen].to(logits[0].device)
        losses = [cross_entropy(head, labels[:, column]) for column, head in enumerate(logits)]
        loss = torch.stack(losses).sum()
        return loss, {"loss": loss.item()}

    def validate(self) -> dict[str, float]:
        """The share of right labels on clips held back, over all attributes and for each."""
        right = []
        for images, labels in zip(self.held_back.images.split(256), self.held_back.labels.split(256), strict=True):
            predicted = torch.stack([head.argmax(-1) for head in self._classify(images)], 1).cpu()
            right.append((predicted == labels).double())
        shares = torch.cat(right).mean(0)
        return {"accuracy": shares.mean().item(), **dict(zip(self.network.heads, shares.tolist(), strict=True))}

    def _classify(self, images: Tensor) -> list[Tensor]:
        device = next(self.network.parameters()).device
        return list(self.network.classify(self.network(normalise(images.to(device), MINI_MEAN, MINI_STD))).values())


def train_backbone(
    raw: Path,
    items: Sequence[tuple[str, str]],
    out: Path,
    states: Path,
    *,
    phase: BackbonePhase,
    seed: int,
    device: str,
) -> None:
    """Train on the labelled frames of the training `items` (id, media) below `raw`; write the weights to `out`."""
    where = pick_device(device)
    file = raw / "frame_labels.json"
    annotation = read_json(file)
    heads: dict[str, int] = annotation["heads"]
    identity: dict[str, Any] = {
        "name": ["backbone", "mini", raw.name],
        "config": phase.model_dump(),
        "inputs": {"labels": sha256(file)},
        "items": [item for item, _ in items],
        "seed": seed,
        "code": code_version("backbone"),
        "threads": torch.get_num_threads(),
        "device": where.type,
        "torch": torch.__version__,
    }
    title = f"mini backbone {raw.name}"
    state = open_state(states, identity, title)
    if unlabelled := {item for item, _ in items} - annotation["labels"].keys():
        raise UserError(f"{file}: no labels of training item {min(unlabelled)}; render the data set again")
    held_back = items[::HELD_BACK]
    train_items = [item for index, item in enumerate(items) if index % HELD_BACK]
    torch.manual_seed(seed)
    network = MiniResNet(heads).to(where)
    learner = AttributeLearner(
        network, _frames(raw, train_items, annotation), _frames(raw, held_back, annotation), phase, seed
    )
    history = train(learner, phase, state, seed=seed, title=title)
    write_metrics(out, history)
    write_provenance(out, identity, hours=history[-1]["seconds"] / 3600)
    save_mini(network, out)


def _frames(raw: Path, items: Sequence[tuple[str, str]], annotation: dict[str, Any]) -> Frames:
    """Every labelled frame of `items`, decoded as features are."""
    images, labels = [], []
    for item, media in progress(items, title="decoding labelled frames", unit="clip"):
        known = annotation["labels"][item]
        shown = [frame for _, frame in sample_frames(raw / media, annotation["fps"], resize=MINI_RESIZE)]
        count = min(len(known), len(shown))
        images += shown[:count]
        labels += known[:count]
    return Frames(torch.from_numpy(np.stack(images)), torch.tensor(labels))
