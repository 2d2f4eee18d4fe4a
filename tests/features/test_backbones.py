import os
import pickle
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save

from captionrl.config.backbones import BACKBONES
from captionrl.errors import UserError
from captionrl.features.backbones import (
    BATCH,
    MiniResNet,
    load_backbone,
    load_mini,
    load_trunk,
    normalise,
    save_mini,
)
from captionrl.features.resize import resize_of
from captionrl.files import sha256


@pytest.fixture
def mini(mini_weights):
    return load_backbone("mini", mini_weights)


def random_frames(count, size=64, seed=0):
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=torch.manual_seed(seed))


def test_mini_features(mini, mini_weights):
    """float16 [N, 128], and close to what the plain fp32 module gives for normalised images."""
    frames = random_frames(5)
    features = mini.forward(frames)
    assert features.dtype == torch.float16
    assert features.shape == (5, mini.dim) == (5, 128)
    with torch.inference_mode():
        plain = load_mini(mini_weights).eval()((frames.permute(0, 3, 1, 2) / 255 - 0.5) / 0.25)
    assert (features - plain).abs().max() < 0.03 * plain.abs().max()  # bf16 has 8 bits
    assert mini.weights_sha256 == sha256(mini_weights)
    assert not torch.allclose(features[0], features[1], atol=1e-2)


def test_features_do_not_depend_on_the_batch(mini):
    """A frame alone, among others, and beyond the first BATCH: the same; one item repeated: the same bits."""
    frames = random_frames(BATCH + 3)
    together = mini.forward(frames)
    alone = torch.cat([mini.forward(frame[None]) for frame in frames])
    reverse = mini.forward(frames.flip(0)).flip(0)
    scale = together.abs().max()
    assert (together - alone).abs().max() <= 0.01 * scale
    assert (together - reverse).abs().max() <= 0.01 * scale
    assert torch.equal(together, mini.forward(frames))


def test_no_frames_no_features(mini):
    assert mini.forward(random_frames(0)).shape == (0, 128)


def test_features_beyond_float16_are_refused(mini):
    """Else infinities would lie in the store, unseen until a loss is NaN."""
    with torch.no_grad():
        mini.module.stages[3].norm2.weight.fill_(1e8)
    with pytest.raises(UserError, match="float16"):
        mini.forward(random_frames(2))


def test_heads_live_in_the_weights_file(mini_weights, tmp_path):
    model = load_mini(mini_weights).eval()
    assert {name: head.out_features for name, head in model.heads.items()} == {"actor": 5, "action": 7}
    logits = model.classify(model(torch.zeros(2, 3, 64, 64)))
    assert {name: tuple(value.shape) for name, value in logits.items()} == {"actor": (2, 5), "action": (2, 7)}
    save_mini(model, tmp_path / "again.safetensors")
    assert sha256(tmp_path / "again.safetensors") == sha256(mini_weights)


@pytest.mark.parametrize("heads", ["{", "[]", '{"actor": "5"}', '{"actor": 1000000000}', '{"nobody": 5}', '{"a.b": 5}'])
def test_heads_that_are_not_the_weights_are_refused(mini_weights, tmp_path, heads):
    path = tmp_path / "a.safetensors"
    path.write_bytes(save(load_file(mini_weights), {"heads": heads}))
    with pytest.raises(UserError, match=r"a\.safetensors: not weights of the mini backbone"):
        load_mini(path)


def test_normalise():
    frames = random_frames(2, 8)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    expected = (frames.permute(0, 3, 1, 2) / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    images = normalise(frames, mean, std)
    assert torch.allclose(images, expected, atol=1e-5)
    assert images.is_contiguous(memory_format=torch.channels_last)


class Bomb:
    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("backbone", ["resnet152", "vgg16"])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, backbone):
    bomb = Bomb()
    bomb.folder = str(tmp_path / "boom")
    torch.save({"conv1.weight": bomb}, tmp_path / "bomb.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(bomb))
    for name in ("bomb.pth", "bare.pth"):
        with pytest.raises(UserError, match=f"{name}: refused"):
            load_backbone(backbone, tmp_path / name)
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_bad_weights_are_named_in_one_line(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    for content in (b"", b"not weights at all", b"hello\n", b"\x80\x02}", bytes(range(128, 256))):
        path.write_bytes(content)
        with pytest.raises(UserError, match=str(path)) as raised:
            load_backbone("resnet152", path)
        assert "\n" not in str(raised.value)


def test_weights_of_another_model(tmp_path, mini_weights):
    for backbone in ("resnet152", "vgg16"):
        with pytest.raises(UserError, match=f"not the weights of torchvision's {backbone} "):
            load_backbone(backbone, mini_weights)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(UserError, match="not a state dict"):
        load_backbone("resnet152", tmp_path / "list.pth")
    with pytest.raises(UserError, match="no such file"):
        load_backbone("mini", tmp_path / "none.safetensors")
    with pytest.raises(UserError, match=r"is called 'vgg'; did you mean 'vgg16'\? there are mini, mini-grid"):
        load_backbone("vgg", mini_weights)


def test_mini_backbone_loads_no_torchvision(mini_weights):
    code = (
        "import sys; from captionrl.features.backbones import load_backbone; load_backbone('mini', sys.argv[1]); "
        "assert 'torchvision' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(mini_weights)], check=True)


@pytest.mark.slow
def test_resnet152_as_torchvision_saves_it(tmp_path):
    from captionrl.features.torchvision_cpu import torchvision

    torch.manual_seed(0)
    reference = torchvision.models.resnet152(weights=None)
    for name, weight in reference.named_parameters():
        if name.endswith("bn3.weight"):
            torch.nn.init.constant_(weight, 0.2)  # untrained, 50 residual blocks add up to 1e8
    torch.save(reference.state_dict(), tmp_path / "resnet152.pth")
    backbone = load_backbone("resnet152", tmp_path / "resnet152.pth")
    frames = random_frames(2, 224)
    features = backbone.forward(frames)
    assert features.shape == (2, 2048) == (2, backbone.dim)
    reference.fc = torch.nn.Identity()
    with torch.inference_mode():
        plain = reference.eval()(normalise(frames, backbone.mean, backbone.std))
    assert (features - plain).abs().max() < 0.05 * plain.abs().max()


def few_numbers(weight):
    """Random weights whose rows overlap in memory: no two are alike, and a file holds 4 MB of VGG-16's 550."""
    step, columns = 64, weight[0].numel()
    scale = 0.1 if weight.ndim == 1 else (2 / columns) ** 0.5
    numbers = scale * torch.randn((len(weight) - 1) * step + columns)
    return numbers.unfold(0, columns, step).view_as(weight)


@pytest.fixture(scope="module")
def vgg16(tmp_path_factory):
    """torchvision's own, and ours from the file that torch.save writes of it."""
    from captionrl.features.torchvision_cpu import torchvision

    torch.manual_seed(0)
    with torch.device("meta"):
        reference = torchvision.models.vgg16(weights=None).eval()
    weights = {name: few_numbers(weight) for name, weight in reference.state_dict().items()}
    reference.load_state_dict(weights, assign=True)
    path = tmp_path_factory.mktemp("vgg16") / "vgg16.pth"
    torch.save(weights, path)
    return reference, load_backbone("vgg16", path)


def test_vgg16_is_torchvisions_up_to_fc7_after_its_relu(vgg16):
    reference, backbone = vgg16
    frames = random_frames(2, 7).repeat_interleave(32, 1).repeat_interleave(32, 2)
    features = backbone.forward(frames)
    assert features.shape == (2, 4096) == (2, backbone.dim)
    with torch.inference_mode():
        maps = reference.avgpool(reference.features(normalise(frames, backbone.mean, backbone.std)))
        plain = reference.classifier[:5](maps.flatten(1))
    assert (features - plain).abs().max() < 1e-3 * plain.max()
    assert (plain[0] - plain[1]).abs().max() > 0.2 * plain.max()
    assert features.min() == 0


def test_vgg16_sees_frames_as_resnet152_does():
    assert replace(BACKBONES["vgg16"].facts, dim=2048) == BACKBONES["resnet152"].facts


def test_mini_resnet_is_small():
    assert sum(parameter.numel() for parameter in MiniResNet({}).parameters()) < 400_000


def test_inception_resnet_v2_without_its_classifier_equals_timms_features(tmp_path):
    """Its published file tells 1,001 classes: TensorFlow's have one more, the background."""
    torch.manual_seed(0)
    reference = load_trunk("inception-resnet-v2")[0].eval()
    weights = reference.state_dict() | {"classif.weight": torch.zeros(1001, 1536), "classif.bias": torch.zeros(1001)}
    torch.save(weights, tmp_path / "inception_resnet_v2-940b1cd6.pth")
    frames = torch.randint(256, (2, 128, 128, 3), dtype=torch.uint8)
    trunk, facts = load_trunk("inception-resnet-v2", tmp_path / "inception_resnet_v2-940b1cd6.pth")
    loaded = trunk.eval()
    with torch.inference_mode():
        images = frames.float().permute(0, 3, 1, 2) / 127.5 - 1  # as TensorFlow's Inception networks want them
        expected = reference.forward_features(images).mean((2, 3))
        found = loaded(normalise(frames, facts.mean, facts.std))
    assert found.shape == (2, 1536)
    assert torch.allclose(found, expected, atol=1e-4, rtol=1e-3)


def test_weights_of_another_network_are_not_inception_resnet_v2s(tmp_path):
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other.pth: not the weights of timm's inception_resnet_v2"):
        load_trunk("inception-resnet-v2", tmp_path / "other.pth")


def test_a_backbone_that_cannot_be_trained_is_refused():
    with pytest.raises(UserError, match="cannot be trained"):
        load_trunk("vgg16")


def test_resnet152_whole_sees_what_a_crop_loses():
    cropped, whole = (resize_of(BACKBONES[name].facts) for name in ("resnet152", "resnet152-whole"))
    assert (str(cropped), str(whole)) == ("shorter 256 crop 224 bilinear", "squash 450 bilinear")
    assert whole.scaled(640, 480) == (450, 450)
    assert BACKBONES["resnet152-whole"].weights == BACKBONES["resnet152"].weights
