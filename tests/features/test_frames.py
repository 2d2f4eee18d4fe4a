"""Frames that are kept look like those of the clip, are few, and vary as one when a CNN learns from them."""

import numpy as np
import pytest
import torch

from captionrl.config import Augmentation
from captionrl.errors import UserError
from captionrl.features.augment import augment
from captionrl.features.extract import extract
from captionrl.features.frame_sampler import frame_sampler
from captionrl.features.frames import pack, unpack
from captionrl.features.store import FeatureStore, sample_uniformly
from captionrl.features.video import sample_frames


def smooth(number: int, side: int = 32, seed: int = 0) -> np.ndarray:
    """Frames with soft edges, as those of clips have, uint8 [N, S, S, 3]."""
    rough = torch.from_numpy(np.random.default_rng(seed).uniform(0, 255, (number, 3, 4, 4)))
    fine = torch.nn.functional.interpolate(rough, (side, side), mode="bilinear")
    return fine.permute(0, 2, 3, 1).round().to(torch.uint8).numpy()


def test_jpegs_are_close_to_what_they_were_made_of():
    frames = smooth(5)
    rows = pack(frames)
    assert rows.shape[0] == 5
    assert rows.nbytes < frames.nbytes / 2
    found = unpack(rows)
    assert found.shape == frames.shape
    assert np.abs(found.astype(int) - frames).mean() < 2


def test_a_frame_store_holds_what_the_clips_show(clip, tmp_path):
    """In shards, with the sampling and resizing of features."""
    rendered = clip(tmp_path / "clip.avi", [k / 15 for k in range(60)], rate=15)
    sampler = frame_sampler("mini-frames", 3)
    manifest = extract(
        [("clip", rendered), ("again", rendered)], sampler, tmp_path / "a.h5", tmp_path / "a.json",
        state=tmp_path / "state", code_version="1", shard_items=1,
    )  # fmt: skip
    assert (manifest["frames"], manifest["dim"], manifest["backbone"]) == (6, 128, "mini-frames")
    store = FeatureStore(tmp_path / "a.h5")
    shown = sample_uniformly(np.stack([frame for _, frame in sample_frames(rendered, 3.0, sampler.resize)]), 3)
    rows = store.read("clip")
    assert rows.dtype == np.uint8
    assert len({frame.mean().round() for frame in shown}) == 3
    assert np.abs(unpack(rows).astype(int) - shown).max() <= 1
    assert (store.read("again") == rows).all()


def test_frames_for_a_backbone_that_is_none_are_refused():
    for name, error in (("mini", "no name of frames"), ("resnet-frames", "no backbone is"), ("vgg16-frames", "mini")):
        with pytest.raises(UserError, match=error):
            frame_sampler(name, 5)


def test_without_augmentation_frames_stay_as_they_are():
    frames = torch.from_numpy(smooth(4)).unflatten(0, (2, 2))
    assert augment(frames, Augmentation()).equal(frames.float())


def test_a_mirrored_clip_is_mirrored_in_every_frame_and_half_of_the_clips_are():
    frames = torch.from_numpy(smooth(2)).expand(64, 2, 32, 32, 3)
    torch.manual_seed(0)
    found = augment(frames, Augmentation(flip=True))
    plain, mirrored = frames[0].float(), frames[0].flip(2).float()
    sides = [bool((clip - plain).abs().max() < 1e-3) for clip in found]
    others = [bool((clip - mirrored).abs().max() < 1e-3) for clip in found]
    assert all(one != other for one, other in zip(sides, others, strict=True))
    assert 20 < sum(sides) < 44


def test_a_crop_shows_a_part_of_the_picture_and_all_frames_the_same_part():
    """Of a picture that is bright by its place, the place of every new pixel can be read off."""
    places = torch.linspace(0, 255, 32)
    across = places.expand(32, 32)
    picture = torch.stack([across, across.T, across], -1).to(torch.uint8)
    torch.manual_seed(0)
    found = augment(picture.expand(200, 2, 32, 32, 3), Augmentation(crop=0.25))
    assert (found[:, 0] - found[:, 1]).abs().max() < 1e-3
    width = (found[:, 0, 0, -1, 0] - found[:, 0, 0, 0, 0]) / 255
    height = (found[:, 0, -1, 0, 1] - found[:, 0, 0, 0, 1]) / 255
    assert (width - height).abs().max() < 0.05
    assert width.min() > 0.7
    assert width.max() <= 1
    assert 0.85 < width.mean() < 0.92  # kept is uniform in [0.75, 1]
    assert found.min() >= 0
    assert found.max() <= 255


def test_equal_seeds_give_equal_pictures():
    frames = torch.from_numpy(smooth(4)).unflatten(0, (2, 2))
    settings = Augmentation(crop=0.2, flip=True)
    torch.manual_seed(3)
    first = augment(frames, settings)
    torch.manual_seed(3)
    assert augment(frames, settings).equal(first)
