"""The mini backbone learns to see: attribute labels of rendered stills, by the one training loop.

At the paper scale backbones come with ImageNet weights instead. No frame of any corpus is ever seen.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from captionrl.config import BackbonePhase
from captionrl.config.backbones import MINI
from captionrl.device import pick_device
from captionrl.features.backbones import MiniResNet, normalise, save_mini
from captionrl.files import damage_named, sha256, sweep
from captionrl.provenance import code_version
from captionrl.state import open_state
from captionrl.training.loop import ParameterGroups, train
from captionrl.training.records import write_metrics, write_provenance

HELD_BACK = 10  # every tenth still measures how well the backbone sees what it has not learnt


@dataclass(frozen=True)
class Frames:
    images: Tensor  # [F, S, S, 3] uint8
    labels: Tensor  # [F, heads] int64

    def where(self, chosen: Tensor) -> "Frames":
        return Frames(self.images[chosen], self.labels[chosen])


class AttributeLearner:
    """Every attribute of a frame by a linear classifier on the pooled features."""

    metric = "accuracy"

    def __init__(self, network: MiniResNet, frames: Frames, held_back: Frames, phase: BackbonePhase, seed: int) -> None:
        self.module: nn.Module = network
        self.network, self.frames, self.held_back, self.phase, self.seed = network, frames, held_back, phase, seed
        self.batches = -(-len(frames.images) // phase.batch)

    def parameter_groups(self) -> ParameterGroups:
        return [(list(self.module.parameters()), 1.0)]

    def loss(self, epoch: int, index: int) -> tuple[Tensor, dict[str, float]]:
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**63)
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
        return {self.metric: shares.mean().item(), **dict(zip(self.network.heads, shares.tolist(), strict=True))}

    def _classify(self, images: Tensor) -> list[Tensor]:
        device = next(self.network.parameters()).device
        return list(self.network.classify(self.network(normalise(images.to(device), MINI.mean, MINI.std))).values())


def train_backbone(images: Path, out: Path, states: Path, *, phase: BackbonePhase, seed: int, device: str) -> None:
    """Train on the stills of imagenet-mini; write the weights to `out`, metrics and provenance beside it."""
    where = pick_device(device)
    frames, heads = _read(images)
    identity: dict[str, Any] = {
        "name": ["backbone", "mini"],
        "config": phase.model_dump(),
        "inputs": {"images": sha256(images)},
        "seed": seed,
        "code": code_version("backbone"),
        "threads": torch.get_num_threads(),
        "device": where.type,
        "torch": torch.__version__,
    }
    title = "mini backbone"
    with open_state(states, identity, title) as state:
        torch.manual_seed(seed)
        network = MiniResNet(heads).to(where)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as frames are: faster on CPUs
        held_back = torch.arange(len(frames.images)) % HELD_BACK == 0
        learner = AttributeLearner(network, frames.where(~held_back), frames.where(held_back), phase, seed)
        history = train(learner, phase, state, seed=seed, title=title)
        sweep(out.parent, f"{out.stem}.*")
        write_metrics(out, history, state)
        save_mini(network, out)
        write_provenance(out, identity | {"sha256": sha256(out)}, hours=history[-1]["seconds"] / 3600)


def _read(path: Path) -> tuple[Frames, dict[str, int]]:
    """The stills, resized as features' frames are, their labels, and {attribute: classes}."""
    what, fix = "not the stills and labels to train with", "make them again"
    with damage_named(path, what, fix), np.load(path, allow_pickle=False) as file:
        images, labels, heads = file["images"], file["labels"], json.loads(str(file["heads"]))
        side = MINI.size
        shown = np.stack(
            [np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)) for image in images]
        )
        return Frames(torch.from_numpy(shown), torch.from_numpy(labels)), heads
