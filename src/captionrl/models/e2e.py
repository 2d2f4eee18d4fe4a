"""S2VT with its CNN in it, and a head that predicts attributes (Li and Gong 2019, section 3.1; figure 2).

    frames -> CNN -> linear -> two LSTMs that read the frames, and then write the words
                 \\-> mean over the frames -> linear, sigmoid: attributes, for training alone

Dropout is on the outputs of both LSTMs and nowhere else (section 4.1: "attached to each LSTM unit"), and one linear
layer computes the words' logits.

The CNN's batch normalisation always uses, and never changes, the statistics that it was pre-trained with; its scales
and shifts learn with all other weights. So frames look the same in training and at test time, whatever else is in a
batch: a self-critical baseline is that of the very features that a sample was drawn from, a part of a batch sees what
the whole would have, and recomputing activations has no side effects.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from captionrl.config import EndToEndSizes
from captionrl.config.backbones import FRAMES
from captionrl.features.backbones import BATCH, load_trunk, normalise
from captionrl.features.batch import Features
from captionrl.models.layers import initialise, mean_frame
from captionrl.models.s2vt import S2VT, State


class VisualEncoder(nn.Module):
    """A CNN that can be trained: frames [N, size, size, 3], from 0 to 255, to features [N, dim]."""

    def __init__(self, backbone: str) -> None:
        super().__init__()
        self.backbone = backbone
        self.trunk, facts = load_trunk(backbone)
        self.trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # absent from torch's stubs
        self.mean, self.std = facts.mean, facts.std
        self.at_once: int | None = None  # frames whose activations are kept in training; None: those of all

    def train(self, mode: bool = True) -> "VisualEncoder":
        """Batch normalisation stays as in evaluation."""
        super().train(mode)
        self.trunk.eval()
        return self

    def forward(self, frames: Tensor) -> Tensor:
        learns = torch.is_grad_enabled() and any(weight.requires_grad for weight in self.parameters())
        if not learns:
            return torch.cat([self._look(part) for part in frames.split(BATCH)])
        if self.at_once is None:
            return self._look(frames)
        parts = frames.split(self.at_once)
        return torch.cat(
            [checkpoint(self._look, part, use_reentrant=False, preserve_rng_state=False) for part in parts]
        )

    def _look(self, frames: Tensor) -> Tensor:
        features: Tensor = self.trunk(normalise(frames, self.mean, self.std))
        return features.float()


class EndToEnd(S2VT):
    """Takes clips as frames uint8 [B, N, S, S, 3], or float after `augment`; or as what its CNN has made of them."""

    cnn: VisualEncoder

    def __init__(self, features: int, vocabulary: int, sizes: EndToEndSizes, backbone: str | None = None) -> None:
        """`backbone` of a frame store names the CNN; without one it can only take features [B, N, `features`]."""
        super().__init__(features, vocabulary, sizes.model_copy(update={"dropout": 0.0}))
        self.seen = nn.Dropout(sizes.dropout)
        self.head = nn.Sequential(nn.Dropout(sizes.dropout), nn.Linear(sizes.decoder, vocabulary))
        self.attribute_head = nn.Linear(features, sizes.attributes)
        for layer in (self.head, self.attribute_head):
            initialise(layer, sizes.init)
        if backbone is not None:
            self.cnn = VisualEncoder(backbone.removesuffix(FRAMES))

    def load_cnn(self, weights: Path) -> None:
        """Take a file's weights for the CNN: those that its backbone was pre-trained with."""
        self.cnn.trunk.load_state_dict(load_trunk(self.cnn.backbone, weights)[0].state_dict())

    def visual_features(self, clips: Features) -> Features:
        """The CNN's features [B, N, D] of frames; what are features already stay as they are."""
        if clips.frames.dim() == 3:
            return clips
        visual = self.cnn(clips.frames[clips.mask])
        features = visual.new_zeros(*clips.mask.shape, visual.shape[-1])
        return Features(features.masked_scatter(clips.mask.unsqueeze(-1), visual), clips.mask)

    def encode(self, features: Features) -> State:
        return super().encode(self.visual_features(features))

    def attributes(self, features: Features) -> Tensor:
        """Logits [B, A] of the attributes of clips: of a linear layer on the mean of the CNN's features."""
        visual = self.visual_features(features)
        return self.attribute_head(mean_frame(visual.frames, visual.mask))
