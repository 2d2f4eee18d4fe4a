"""What keeps the frames of a clip, where others extract features from them."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from captionrl.config.backbones import FRAMES, TRAINABLE
from captionrl.errors import UserError
from captionrl.features.backbones import load_trunk
from captionrl.features.frames import QUALITY, pack
from captionrl.features.resize import Resize, resize_of
from captionrl.features.store import sample_uniformly
from captionrl.features.weights import spec_of


@dataclass(frozen=True)
class FrameSampler:
    """Takes a backbone's place in `extract`, and stores frames, at most so many a clip. Made by `frame_sampler`."""

    name: str
    most: int
    dim: int  # of what the backbone makes of a frame
    resize: Resize
    grid: int = 0

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def transform(self) -> str:
        return f"{self.resize}; {self.most} frames at most; JPEG {QUALITY}"

    @property
    def weights_sha256(self) -> str:
        """In place of weights, what decides the frames."""
        return hashlib.sha256(self.transform.encode()).hexdigest()

    def forward(self, frames: Tensor, shown: Tensor) -> Tensor:
        """uint8 [n, bytes], of samples that show uint8 frames[shown[n]]: if there are too many, some, evenly spaced."""
        return torch.from_numpy(pack(frames.numpy()[sample_uniformly(shown.numpy(), self.most)]))


def frame_sampler(name: str, most: int) -> FrameSampler:
    """The sampler of frames in a backbone's size; `name` is that of the store, BACKBONE-frames."""
    spec = spec_of(name)
    if name == spec.name:
        raise UserError(f"{name}: no name of frames, which is BACKBONE{FRAMES}; {TRAINABLE}")
    facts = spec.facts or load_trunk(spec.name)[1]
    return FrameSampler(name, most, facts.dim, resize_of(facts))
