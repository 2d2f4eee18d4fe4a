"""The mini backbone's training, on a few stills."""

import json

import numpy as np
import pytest
import torch

from captionrl.config import BackbonePhase
from captionrl.config.backbones import MINI
from captionrl.datasets.mini.world import LABELS
from captionrl.datasets.mini.write import write_imagenet
from captionrl.features.backbones import MiniResNet, load_backbone, load_mini
from captionrl.files import read_json, sha256
from captionrl.training import backbone as module
from captionrl.training.backbone import AttributeLearner, Frames, train_backbone

STILLS = 40
PHASE = BackbonePhase(epochs=3, batch=16)


def with_changes(**changes):
    return PHASE.model_copy(update=changes)


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    raw = tmp_path_factory.mktemp("imagenet-mini")
    write_imagenet(raw, size=STILLS)
    return raw / "images.npz"


@pytest.fixture
def train(images, tmp_path):
    """Train into a file of its own name below tmp_path, its state beside it."""

    def train(name="mini", source=images, phase=PHASE, seed=0):
        out = tmp_path / name / "mini.safetensors"
        train_backbone(source, out, tmp_path / name / "state", phase=phase, seed=seed, device="cpu")
        return out

    return train


def history(out):
    return [json.loads(line) for line in out.with_suffix(".metrics.jsonl").read_text().splitlines()]


def test_what_was_trained_is_a_backbone(train, images):
    out = train()
    assert {name: head.out_features for name, head in load_mini(out).heads.items()} == LABELS
    features = load_backbone("mini", out).forward(torch.zeros(2, MINI.size, MINI.size, 3).byte())
    assert features.shape == (2, MiniResNet.dim)
    provenance = read_json(out.with_suffix(".json"))
    assert provenance["inputs"] == {"images": sha256(images)}
    assert provenance["config"] == PHASE.model_dump()


def test_the_loss_falls(train):
    losses = [row["loss"] for row in history(train(phase=with_changes(epochs=6))) if row["kind"] == "train"]
    assert losses[-1] < 0.8 * losses[0]


def test_equal_seeds_give_equal_bytes_and_other_seeds_do_not(train):
    first, again, other = train("first"), train("again"), train("other", seed=1)
    assert first.read_bytes() == again.read_bytes() != other.read_bytes()


def test_it_needs_no_corpus(train, images, tmp_path):
    """Nothing but the stills: no clip of any split can leak into the features."""
    alone = tmp_path / "alone/images.npz"
    alone.parent.mkdir()
    alone.write_bytes(images.read_bytes())
    assert train("alone", alone).read_bytes() == train("beside").read_bytes()


def test_every_tenth_still_is_held_back(train, images, monkeypatch):
    seen = []

    class Spied(AttributeLearner):
        def __init__(self, network, frames, held_back, phase, seed):
            seen.append((frames, held_back))
            super().__init__(network, frames, held_back, phase, seed)

    monkeypatch.setattr(module, "AttributeLearner", Spied)
    train(phase=with_changes(epochs=0.1))
    ((frames, held_back),) = seen
    labels = torch.from_numpy(np.load(images)["labels"])
    assert torch.equal(held_back.labels, labels[::10])
    assert torch.equal(frames.labels, labels[[index for index in range(STILLS) if index % 10]])


def toy_learner(batch=8):
    generator = torch.Generator().manual_seed(0)
    frames = Frames(
        torch.randint(0, 256, (20, 64, 64, 3), generator=generator, dtype=torch.uint8),
        torch.stack([torch.arange(20) % 3, torch.arange(20) % 2], 1),
    )
    torch.manual_seed(0)
    return AttributeLearner(MiniResNet({"three": 3, "two": 2}), frames, frames, with_changes(batch=batch), seed=0)


def test_an_epoch_is_every_training_still_once(monkeypatch):
    learner, shown = toy_learner(), []
    classify = AttributeLearner._classify
    monkeypatch.setattr(AttributeLearner, "_classify", lambda self, x: shown.append(x) or classify(self, x))
    orders = []
    for epoch in range(2):
        shown.clear()
        for index in range(learner.batches):
            learner.loss(epoch, index)
        assert [len(images) for images in shown] == [8, 8, 4]
        rows = [(learner.frames.images == image).flatten(1).all(1).nonzero().item() for image in torch.cat(shown)]
        assert sorted(rows) == list(range(20))
        orders.append(rows)
    assert orders[0] != orders[1]


def test_accuracy_is_the_share_of_right_labels():
    learner = toy_learner()
    with torch.no_grad():
        for head, answer in ((learner.network.heads["three"], 2), (learner.network.heads["two"], 0)):
            head.weight.zero_()
            head.bias.copy_(torch.eye(len(head.bias))[answer])
    scores = learner.validate()
    assert scores == pytest.approx({"accuracy": (0.3 + 0.5) / 2, "three": 0.3, "two": 0.5})
    assert next(iter(scores)) == "accuracy"  # what training maximises
