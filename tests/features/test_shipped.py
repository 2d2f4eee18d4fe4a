"""The mini backbone's weights that come with the package."""

import json
import re
from pathlib import Path

import torch

import captionrl
from captionrl.config import BackbonePhase
from captionrl.config.backbones import BACKBONES
from captionrl.features.backbones import load_backbone
from captionrl.features.weights import find_weights
from captionrl.files import sha256

MINI_WEIGHTS = find_weights("mini", None)


def test_they_are_what_their_record_says():
    record = json.loads(MINI_WEIGHTS.with_suffix(".json").read_text())
    assert record["sha256"] == sha256(MINI_WEIGHTS)
    assert re.fullmatch("[0-9a-f]{12}", record["commit"])  # a commit, with nothing changed since
    assert record["command"].startswith("captionrl backbone --images data/imagenet-mini/images.npz ")
    assert (
        record["config"].items() <= BackbonePhase().model_dump().items()
    )  # settings that are newer are at their defaults


def test_they_are_those_of_all_that_is_made_of_the_mini_backbone_and_of_nothing_else():
    paths = {find_weights(name, None) for name in ("mini", "mini-grid", "mini-frames")}
    assert paths == {Path(captionrl.__file__).parent / "features/mini.safetensors"}
    same = [name for name, spec in BACKBONES.items() if spec.weights == BACKBONES["mini"].weights]
    assert same == ["mini", "mini-grid"]


def test_they_tell_pictures_apart():
    backbone = load_backbone("mini", MINI_WEIGHTS)
    frames = torch.arange(2 * 64 * 64 * 3).view(2, 64, 64, 3).remainder(251).to(torch.uint8)
    features = backbone.forward(frames)
    assert features.shape == (2, 128)
    assert (features[0] - features[1]).abs().max() > 0.01
    halves = load_backbone("mini", MINI_WEIGHTS, precision="bfloat16").forward(frames)
    assert 0 < (features - halves).abs().max() < 0.03 * features.abs().max()  # of 8 bits


def test_they_compute_in_float32_whatever_the_processor_can():
    assert load_backbone("mini", MINI_WEIGHTS).precision == "float32"
    assert "float32" in load_backbone("mini", MINI_WEIGHTS).transform
    assert "bfloat16" in load_backbone("mini", MINI_WEIGHTS, precision="bfloat16").transform
