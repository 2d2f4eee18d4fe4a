"""Captions of any video, GIF or image with a checkpoint's policy: the pipeline's own way from file to caption."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from captionrl.config import model_spec
from captionrl.config.backbones import is_extracted, is_imported
from captionrl.device import pick_device
from captionrl.errors import UserError
from captionrl.evaluation.describe import Description, describe
from captionrl.features.backbones import Backbone, load_backbone
from captionrl.features.frame_sampler import FrameSampler, frame_sampler
from captionrl.features.frames import unpack
from captionrl.features.store import sample_uniformly
from captionrl.features.video import read_clip
from captionrl.features.weights import find_weights
from captionrl.models import Features, Policy
from captionrl.training.checkpoint import Metadata, load_checkpoint


@dataclass(frozen=True)
class Captioner:
    """A policy and the backbone that it was trained with. Made by `load_captioner`."""

    policy: Policy
    metadata: Metadata
    backbone: Backbone | FrameSampler  # the latter where the policy has a CNN of its own
    device: torch.device

    def caption(self, media: Path, beam: int, *, length_normalised: bool = False) -> tuple[Description, np.ndarray]:
        """The best caption of a media file, and the numbers [N] of the sampled frames that it was read from.

        Frame k is the one on show at k / fps seconds. `length_normalised`: as of `beam_search`. Raises MediaError for a
        file that cannot be read to its end.
        """
        metadata = self.metadata
        frames, shown = read_clip(media, metadata.fps, self.backbone.resize)
        numbers = sample_uniformly(np.arange(len(shown)), metadata.corpus_settings.max_frames)
        read = self.backbone.forward(torch.from_numpy(frames), torch.from_numpy(shown))
        if isinstance(self.backbone, FrameSampler):
            kept = torch.from_numpy(unpack(read.numpy()))  # these frames already
        else:  # of float16, as in a feature store: [N, cells of a frame, D]
            kept = read.float().unflatten(0, (len(shown), -1))[torch.from_numpy(numbers)].flatten(0, 1)
        batch = kept.unsqueeze(0).to(self.device)
        clip = Features(batch, torch.ones(batch.shape[:2], dtype=torch.bool, device=batch.device))
        most = metadata.corpus_settings.max_words + 1
        (description,) = describe(
            self.policy, metadata.vocabulary, clip, most, beam, length_normalised=length_normalised
        )
        return description, numbers


def load_captioner(checkpoint: Path, weights: Path | str | None, device: str) -> Captioner:
    """The captioner of a checkpoint; its backbone's weights from `weights`, else from where they are by default."""
    policy, metadata = load_checkpoint(checkpoint)
    if not metadata.visual_input:
        raise UserError(f"{checkpoint}: trained without visual input; give another run's checkpoint")
    if not metadata.fps and not is_imported(metadata.backbone):
        raise UserError(f"{checkpoint}: trained on frames of an unknown rate (fps 0); give another run's checkpoint")
    where = pick_device(device)
    if model_spec(metadata.model).cnn:
        return Captioner(
            policy.to(where), metadata, frame_sampler(metadata.backbone, metadata.corpus_settings.max_frames), where
        )
    if not is_extracted(metadata.backbone):
        fault = f"trained on {metadata.backbone} features, which are not computed from pixels here"
        mine = "import those of your files (`captionrl features import --like`) and use `captionrl predict`, or "
        fix = f"{mine if is_imported(metadata.backbone) else ''}give a checkpoint trained on a backbone's"
        raise UserError(f"{checkpoint}: {fault}; {fix}")
    found = find_weights(metadata.backbone, weights, checkpoint)
    backbone = load_backbone(metadata.backbone, found, where)
    if backbone.weights_sha256 != metadata.backbone_sha256:
        raise UserError(
            f"{found}: other weights of {metadata.backbone} than {checkpoint} was trained with "
            f"(sha256 {backbone.weights_sha256[:12]}, not {metadata.backbone_sha256[:12]}); name those with --weights"
        )
    return Captioner(policy.to(where), metadata, backbone, where)
