"""What keeps the frames of a clip, where others extract features from them."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from captionrl.errors import UserError
from captionrl.features.backbones import BACKBONES
from captionrl.features.frames import QUALITY, SUFFIX, pack
from captionrl.features.resize import Resize
from captionrl.features.store import sample_uniformly


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

    def forward(self, frames: Tensor) -> Tensor:
        """uint8 [n, bytes], of uint8 frames [N, size, size, 3]: if there are too many, some of them, evenly spaced."""
        return torch.from_numpy(pack(sample_uniformly(frames.numpy(), self.most)))


def frame_sampler(name: str, most: int) -> FrameSampler:
    """The sampler of frames in a backbone's size; `name` is that of the store, BACKBONE-frames."""
    backbone = name.removesuffix(SUFFIX)
    if backbone == name or backbone not in BACKBONES:
        raise UserError(f"frames {name!r} are unknown; choose mini-frames or inception-resnet-v2-frames")
    _, dim, _, resize, _, _ = BACKBONES[backbone]
    return FrameSampler(name, most, dim, resize)
