"""Frames varied at random, so that a CNN that learns from few clips never sees the same picture twice."""

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from captionrl.config import Augmentation


def augment(frames: Tensor, augmentation: Augmentation) -> Tensor:
    """uint8 [B, N, S, S, 3] -> float [B, N, S, S, 3] from 0 to 255: each clip cropped and mirrored as one.

    A crop leaves between 1 - `crop` and all of either side, anywhere in the picture, and is scaled to its size again.
    Draws from torch's global random generator of the CPU, three numbers a clip for a crop and one for a mirror.
    """
    if augmentation == Augmentation():
        return frames.float()
    batch, clip = len(frames), frames.shape[1]
    kept = 1 - augmentation.crop * torch.rand(batch)
    shift = (2 * torch.rand(batch, 2) - 1) * (1 - kept).unsqueeze(1)
    mirrored = torch.rand(batch) < 0.5 * augmentation.flip
    corner = torch.zeros(batch, 2, 3)  # of an affine map from places in the new picture to places in the old one
    corner[:, 0, 0] = torch.where(mirrored, -kept, kept)
    corner[:, 1, 1] = kept
    corner[:, :, 2] = shift
    maps = corner.to(frames.device).repeat_interleave(clip, 0)
    pictures = frames.flatten(0, 1).permute(0, 3, 1, 2).float()
    grid = affine_grid(maps, list(pictures.shape), align_corners=False)
    varied = grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    return varied.permute(0, 2, 3, 1).unflatten(0, (batch, clip))
