"""Models of timm and open_clip, with the preprocessing that these libraries would do."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from captionrl.config.backbones import BACKBONES, RANDOM
from captionrl.errors import UserError
from captionrl.features.backbones import load_backbone, load_trunk, normalise
from captionrl.features.image import read_still
from captionrl.features.libraries import open_clip_facts, timm, timm_facts
from captionrl.features.resize import resize_of
from captionrl.features.video import sample_frames
from captionrl.files import sha256

import open_clip  # isort: skip - needs the torchvision that captionrl.features.libraries made importable
from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict  # isort: skip

PHOTOGRAPHS = sorted((Path(__file__).parents[2].parent / "shared/data/coco/images").glob("*.jpg"))[:10]
TOLERANCE = 2e-6  # of normalised pixels, which reach 2.7: rounding of float32
TIMM = [
    "vit_small_patch14_dinov2.lvd142m", "vit_base_patch32_clip_224.openai", "vit_base_patch16_siglip_224.webli",
    "resnet18.a1_in1k", "tf_efficientnet_lite0.in1k", "vgg16.tv_in1k", "convnext_tiny.in12k_ft_in1k",
    "inception_resnet_v2.tf_in1k", "vit_base_patch16_clip_384.laion2b_ft_in12k_in1k",
]  # fmt: skip
CLIP = [
    ("ViT-B-32", "openai"), ("ViT-B-32", "laion2b_s34b_b79k"), ("ViT-B-16-SigLIP", "webli"), ("RN50", "openai"),
    ("ViT-B-16-SigLIP-384", "webli"),
]  # fmt: skip

DINOV2 = "shorter 518 crop 518 bicubic"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[Path]:
    """Noise of odd sizes, wide, high and small, and photographs where there are some."""
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for width, height in ((641, 480), (427, 640), (97, 61), (300, 300)):
        rough = generator.integers(0, 256, (height // 7 + 1, width // 7 + 1, 3), dtype=np.uint8)
        Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{width}.png")
    return [*sorted(folder.iterdir()), *PHOTOGRAPHS]


def assert_equal_preprocessing(facts, transform, pictures):
    for path in pictures:
        pixels = torch.from_numpy(read_still(path, resize_of(facts))[None].copy())
        with Image.open(path) as image:
            expected = transform(image.convert("RGB"))
        assert (normalise(pixels, facts.mean, facts.std)[0] - expected).abs().max() < TOLERANCE, path


@pytest.mark.parametrize("name", TIMM)
def test_pictures_become_what_timms_own_transform_makes_of_them(name, pictures):
    config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    transform = timm.data.create_transform(**config, is_training=False)
    assert_equal_preprocessing(timm_facts(name, config), transform, pictures)


@pytest.mark.parametrize(("name", "tag"), CLIP)
def test_pictures_become_what_open_clips_own_transform_makes_of_them(name, tag, pictures):
    size = open_clip.get_model_config(name)["vision_cfg"]["image_size"]
    pretrained = open_clip.pretrained.get_pretrained_cfg(name, tag)
    config = {**merge_preprocess_dict(asdict(PreprocessCfg()), pretrained), "size": size}
    transform = image_transform_v2(PreprocessCfg(**config), is_train=False)
    assert_equal_preprocessing(open_clip_facts(name, config), transform, pictures)


def test_bicubic_is_not_bilinear():
    assert {timm_facts(name, config_of(name)).interpolation for name in TIMM} == {"bicubic", "bilinear"}


def config_of(name):
    return timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())


def test_frames_of_a_video_are_scaled_as_stills_are(clip, tmp_path):
    """By Pillow: FFmpeg's bicubic has another kernel."""
    facts = BACKBONES["efficientnet-lite0"].facts
    path = clip(tmp_path / "clip.mp4", [0.0, 1.0], rate=1, size=(320, 240))
    whole = [image for _, image in sample_frames(path, 1.0)]
    scaled = [image for _, image in sample_frames(path, 1.0, resize_of(facts))]
    assert len(whole) == len(scaled) == 2
    for before, after in zip(whole, scaled, strict=True):
        Image.fromarray(before).save(tmp_path / "frame.png")
        assert np.array_equal(read_still(tmp_path / "frame.png", resize_of(facts)), after)


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_efficientnet", "test_convnext"])
def test_a_vector_is_what_timm_pools_and_a_grid_is_what_it_pools_from(name):
    vector, grid = (load_backbone(f"timm:{name}{suffix}", RANDOM) for suffix in ("", "@grid5"))
    frames = torch.randint(0, 256, (2, 160, 160, 3), dtype=torch.uint8, generator=torch.manual_seed(0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model(name).eval()
    model.reset_classifier(0)
    images = normalise(frames, vector.mean, vector.std)
    with torch.no_grad():
        expected, maps = model(images), model.forward_features(images)
    found, cells = vector.forward(frames), grid.forward(frames)
    assert found.shape == (2, vector.dim) == expected.shape
    assert torch.allclose(found.float(), expected, atol=1e-3, rtol=1e-3)
    if maps.dim() == 3:  # a class token, and 10 x 10 patches
        maps = maps[:, model.num_prefix_tokens :].transpose(1, 2).unflatten(2, (10, 10))
    side = maps.shape[-1]
    assert side % 5 == 0
    first = maps[:, :, : side // 5, : side // 5].mean((2, 3))
    assert cells.shape == (2 * 25, maps.shape[1])
    assert torch.allclose(cells.float().unflatten(0, (2, 25))[:, 0], first, atol=1e-3, rtol=1e-3)


def test_maps_whose_channels_come_last_are_turned():
    grid = load_backbone("timm:swin_tiny_patch4_window7_224@grid7", RANDOM)
    frames = torch.randint(0, 256, (1, 224, 224, 3), dtype=torch.uint8, generator=torch.manual_seed(0))
    maps = grid.module.trunk.model.forward_features(normalise(frames, grid.mean, grid.std))
    assert maps.shape == (1, 7, 7, 768)
    assert torch.allclose(grid.forward(frames).float(), maps.flatten(0, 2), atol=2e-2)


def test_random_weights_are_always_alike_and_say_so():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = load_backbone("timm:test_vit", RANDOM)
    assert torch.get_rng_state().equal(before)
    torch.manual_seed(6)
    again, other = load_backbone("timm:test_vit", RANDOM), load_backbone("timm:test_vit2", RANDOM)
    assert first.weights_sha256 == again.weights_sha256 != other.weights_sha256
    assert first.transform.endswith("; float32; random weights")
    assert first.random


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_come_from_a_file_with_its_digest(tmp_path, suffix):
    torch.manual_seed(7)
    model = timm.create_model("test_vit").eval()
    path = tmp_path / f"weights{suffix}"
    (torch.save if suffix == ".pth" else save_file)(model.state_dict(), path)
    loaded = load_backbone("timm:test_vit", path)
    assert loaded.weights_sha256 == sha256(path)
    assert "random" not in loaded.transform
    model.reset_classifier(0)
    frames = torch.randint(0, 256, (2, 160, 160, 3), dtype=torch.uint8)
    with torch.no_grad():
        expected = model(normalise(frames, loaded.mean, loaded.std))
    assert torch.allclose(loaded.forward(frames).float(), expected, atol=1e-3, rtol=1e-3)
    with pytest.raises(UserError, match=f"{path}: not the weights of timm's test_resnet "):
        load_backbone("timm:test_resnet", path)
    less = {name: value for name, value in timm.create_model("test_vit").state_dict().items() if name != "norm.weight"}
    torch.save(less, tmp_path / "less.pth")
    with pytest.raises(UserError, match=r"less.pth: not the weights of timm's test_vit \(Missing key.*norm\.weight"):
        load_backbone("timm:test_vit", tmp_path / "less.pth")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:vit_smal_patch14_dinov2.lvd142m", "has no such model; did you mean vit_small_patch14_dinov2.lvd142m"),
        ("timm:zzzzzz", r"timm:zzzzzz: timm [\d.]+ has no such model$"),
        ("open_clip:ViT-B-23/openai", "has no model ViT-B-23; did you mean ViT-B-32"),
        ("open_clip:ViT-B-32/laion", "no weights laion are known of ViT-B-32; there are openai, laion400m_e31"),
        ("timm:dm_nfnet_f0.dm_in1k", "takes pictures of 192 x 192 pixels, 90% by squash"),
        ("timm:nothing_", "has no such model"),
    ],
)
def test_names_are_checked_when_loaded(name, message):
    with pytest.raises(UserError, match=message):
        load_backbone(name, RANDOM)


def test_a_cnn_of_timm_can_be_trained_and_takes_weights(tmp_path):
    trunk, facts = load_trunk("timm:test_resnet")
    assert trunk(torch.zeros(2, 3, 160, 160)).shape == (2, facts.dim)
    model = timm.create_model("test_resnet")
    torch.save(model.state_dict(), tmp_path / "w.pth")
    loaded, _ = load_trunk("timm:test_resnet", tmp_path / "w.pth")
    assert all(value.equal(model.state_dict()[name]) for name, value in loaded.state_dict().items())
    assert len(loaded.state_dict()) == len(model.state_dict()) - 2  # the classifier
    with pytest.raises(
        UserError, match="cannot be trained; those can: mini, efficientnet-lite0, inception-resnet-v2, timm:MODEL"
    ):
        load_trunk("timm:test_resnet@grid2")


def test_open_clips_image_tower_takes_the_weights_of_the_whole_model(tmp_path):
    torch.manual_seed(1)
    tower = open_clip.create_model("RN50", force_quick_gelu=True).visual.eval()
    weights = {f"visual.{name}": value.half() for name, value in tower.state_dict().items()}
    save_file({**weights, "logit_scale": torch.zeros(1)}, tmp_path / "w.safetensors")
    tower.load_state_dict({name.removeprefix("visual."): value for name, value in weights.items()})
    frames = torch.randint(0, 256, (1, 224, 224, 3), dtype=torch.uint8)
    vector = load_backbone("open_clip:RN50/openai", tmp_path / "w.safetensors")
    with torch.no_grad():
        expected = tower(normalise(frames, vector.mean, vector.std))
    assert vector.dim == 1024
    assert torch.allclose(vector.forward(frames).float(), expected, atol=1e-3, rtol=1e-2)
    save_file({"visual.conv1.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"other.safetensors: not the weights of open_clip's RN50"):
        load_backbone("open_clip:RN50/openai", tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("name", "dim", "resize"),
    [
        ("open_clip:ViT-B-32/laion2b_s34b_b79k", 512, "shorter 224 crop 224 bicubic"),
        ("open_clip:ViT-B-32/openai@grid7", 768, "shorter 224 crop 224 bicubic"),
        pytest.param("open_clip:ViT-B-16-SigLIP/webli", 768, "squash 224 bicubic", marks=pytest.mark.slow),
        pytest.param("open_clip:ViT-B-16-SigLIP/webli@grid7", 768, "squash 224 bicubic", marks=pytest.mark.slow),
        pytest.param(
            "timm:vit_base_patch16_siglip_224.webli", 768, "shorter 248 crop 224 bicubic", marks=pytest.mark.slow
        ),
        pytest.param("timm:vit_small_patch14_dinov2.lvd142m", 384, DINOV2, marks=pytest.mark.slow),
        pytest.param("timm:vit_small_patch14_dinov2.lvd142m@grid7", 384, DINOV2, marks=pytest.mark.slow),
    ],
)
def test_clip_siglip_and_dinov2(name, dim, resize):
    backbone = load_backbone(name, RANDOM)
    assert (backbone.dim, str(backbone.resize)) == (dim, resize)
    size = backbone.resize.size
    frames = torch.randint(0, 256, (1, size, size, 3), dtype=torch.uint8, generator=torch.manual_seed(0))
    assert backbone.forward(frames).shape == (backbone.grid**2 or 1, dim)
