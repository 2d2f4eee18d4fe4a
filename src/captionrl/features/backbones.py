"""The networks that turn a frame into a vector or a grid of them: the mini backbone, torchvision's and timm's.

`load_backbone` gives a frozen one, `load_trunk` one to train; config/backbones.py lists all of them with their loaders.

A grid keeps where things are: attention then has regions to look at, as it has frames in a video.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from captionrl.config.backbones import MINI, RANDOM, RGB, TRAINABLE, BackboneSpec, Facts
from captionrl.dotted import load_object
from captionrl.errors import UserError
from captionrl.features.resize import Resize, resize_of
from captionrl.features.weights import fill, read_weights, spec_of
from captionrl.files import atomic, sha256

BATCH = 32  # frames a forward pass; more gain nothing on a CPU, and 32 at 224x224 fit any GPU


@dataclass(frozen=True)
class Backbone:
    """A frozen network with everything that decides its features. Made by `load_backbone`."""

    name: str
    module: nn.Module  # float [N, 3, H, W] -> [N, dim], or [N * grid * grid, dim]
    dim: int
    grid: int  # cells a side; 0: features are pooled over the picture
    resize: Resize
    mean: RGB
    std: RGB
    weights_sha256: str  # of their file; random ones: of names, shapes and values
    device: torch.device
    precision: str  # "float32" or "bfloat16"
    random: bool = False  # its weights are random, for tests

    @property
    def transform(self) -> str:
        """From decoded frame to features, in words; stored with the features."""
        random = "; random weights" if self.random else ""
        return f"{self.resize}; mean {list(self.mean)} std {list(self.std)}; {self.precision}{random}"

    @torch.inference_mode()
    def forward(self, frames: Tensor, shown: Tensor | None = None) -> Tensor:
        """Features float16 [N, dim], on the CPU, of samples that show uint8 frames[shown[n]] [M, H, W, 3].

        With a grid [N * grid * grid, dim]: the cells of a frame row by row, frame after frame. Without `shown` sample n
        shows frame n.

        Batches are cut from these M frames alone. Give one item at a time, and its features have the same bits
        whatever else is extracted, before or after a restart.
        """
        if not len(frames):
            return torch.empty(0, self.dim, dtype=torch.float16)
        features = torch.cat([self._batch(batch.to(self.device)) for batch in frames.split(BATCH)]).cpu()
        if not features.isfinite().all():
            raise UserError(f"backbone {self.name}: features beyond float16 (65504); are its weights trained ones?")
        if shown is None or len(shown) == len(frames):
            return features
        return features.unflatten(0, (len(frames), -1))[shown].flatten(0, 1)

    def _batch(self, frames: Tensor) -> Tensor:
        images = normalise(frames, self.mean, self.std)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            features: Tensor = self.module(images)
        return features.to(torch.float16)


def normalise(frames: Tensor, mean: RGB, std: RGB) -> Tensor:
    """uint8 [N, H, W, 3] -> float [N, 3, H, W], in channels_last memory (the frames' own order: nothing moves)."""
    scale = 1 / (255 * torch.tensor(std, device=frames.device))
    shift = -torch.tensor(mean, device=frames.device) / torch.tensor(std, device=frames.device)
    return torch.addcmul(shift, frames.float(), scale).permute(0, 3, 1, 2)


class MiniResNet(nn.Module):
    """A ResNet of four stages for 64x64 images, 0.3 M parameters; features are 128-d, pooled over the picture.

    Half of them by their mean, half by their maximum, in which a small object is not drowned by the backdrop. `heads`
    names the attributes that it learns to predict, and how many values each has; only its training needs them.
    Where things are survives the pooling as far as those labels ask for it.
    """

    dim = MINI.dim

    def __init__(self, heads: dict[str, int]):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.stages = nn.Sequential(
            ResidualBlock(16, 16, 1), ResidualBlock(16, 32, 2), ResidualBlock(32, 64, 2), ResidualBlock(64, 128, 2)
        )
        self.heads = nn.ModuleDict({name: nn.Linear(self.dim, values) for name, values in heads.items()})

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, 64, 64], normalised as MINI says -> [B, 128]."""
        grid = self.stages(self.stem(images)).float()
        half = self.dim // 2
        return torch.cat([grid[:, :half].mean((2, 3)), grid[:, half:].amax((2, 3))], 1)

    def classify(self, features: Tensor) -> dict[str, Tensor]:
        """[B, 128] -> for each head, logits [B, values]."""
        return {name: head(features) for name, head in self.heads.items()}


class ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.shortcut(x) + self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x))))))


def save_mini(model: MiniResNet, path: Path | str) -> None:
    """Write weights as safetensors; the heads go into its metadata, so that the file alone rebuilds the model."""
    heads = {name: head.out_features for name, head in model.heads.items()}
    weights = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    with atomic(path) as temporary:
        temporary.write_bytes(save(weights, {"heads": json.dumps(heads)}))  # save_file hides it from all others


def load_mini(path: Path | str) -> MiniResNet:
    """The model of `save_mini`, with its heads in the order in which they were made."""
    weights = read_weights(Path(path))
    try:
        with safe_open(path, "pt") as file:
            heads = json.loads(file.metadata()["heads"])
        if any(weights[f"heads.{name}.bias"].shape != (values,) for name, values in heads.items()):
            raise ValueError
        model = MiniResNet(heads)
    except (SafetensorError, AttributeError, KeyError, TypeError, ValueError, RecursionError):
        raise UserError(f"{path}: not weights of the mini backbone (wrong or no `heads` in its metadata)") from None
    fill(model, weights, Path(path), "mini")
    return model


class Grid(nn.Module):
    """The last feature map of a network, averaged over `side` x `side` cells (adaptive pooling), as one row a cell."""

    def __init__(self, trunk: nn.Module, side: int):
        super().__init__()
        self.trunk, self.side = trunk, side

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B * side * side, dim], the cells of an image row by row."""
        maps = nn.functional.adaptive_avg_pool2d(self.trunk(images).float(), self.side)
        return maps.permute(0, 2, 3, 1).flatten(0, 2)


def load_mini_network(spec: BackboneSpec, path: Path | None) -> nn.Module:
    """The mini backbone without its heads, or the map that it pools: 4 cells a side are all that it has."""
    model = MiniResNet({}) if path is None else load_mini(path)
    model.heads = nn.ModuleDict()  # of its own training alone
    return Grid(nn.Sequential(model.stem, model.stages), spec.grid) if spec.grid else model


def load_resnet(spec: BackboneSpec, path: Path | None) -> nn.Module:
    """torchvision's ResNet of 50 layers and more without its classifier: [B, 3, H, W] -> [B, 2048]; or its last map."""
    model = _load_torchvision(spec, path, "fc")
    return Grid(nn.Sequential(*list(model.children())[:-2]), spec.grid) if spec.grid else model  # no pooling


def load_vgg16(spec: BackboneSpec, path: Path | None) -> nn.Module:
    """torchvision's VGG-16 without its last layer: [B, 3, H, W] -> [B, 4096], fc7 after its ReLU."""
    return _load_torchvision(spec, path, "classifier.6")


def load_inception_resnet_v2(spec: BackboneSpec, path: Path | None) -> nn.Module:
    """timm's Inception-ResNet-v2 without its classifier: [B, 3, H, W] -> [B, 1536]."""
    from captionrl.features import torchvision_cpu  # noqa: F401 - timm imports torchvision, and takes seconds to

    import timm  # isort: skip

    model: nn.Module = timm.create_model(spec.model, pretrained=False, num_classes=0)
    if path is not None:  # its classifier has 1,001 classes, TensorFlow's background among them
        weights = {name: value for name, value in read_weights(path).items() if not name.startswith("classif.")}
        fill(model, weights, path, f"timm's {spec.model}")
    return model


def _load_torchvision(spec: BackboneSpec, path: Path | None, last: str) -> nn.Module:
    """torchvision's model of that name, its layer `last`, the classifier of 1000 classes, cut off."""
    from captionrl.features.torchvision_cpu import torchvision  # seconds to import, and the mini scale needs none

    with torch.device("meta" if path else "cpu"):  # no random numbers for millions of weights that are replaced at once
        model: nn.Module = getattr(torchvision.models, spec.model)(weights=None)
    if path:
        fill(model, read_weights(path), path, f"torchvision's {spec.model}")
    model.set_submodule(last, nn.Identity())
    return model


def load_trunk(name: str, weights: Path | None = None) -> tuple[nn.Module, Facts]:
    """The network of a backbone, to be trained: float [N, 3, size, size] -> [N, dim]; without a file random weights."""
    spec = spec_of(name)
    if not spec.trainable:
        raise UserError(f"backbone {name!r} cannot be trained; {TRAINABLE}")
    return _load(spec, weights)


def load_backbone(
    name: str, weights: Path | str, device: torch.device | str = "cpu", precision: str = "float32"
) -> Backbone:
    """A backbone by name, its weights from a file: safetensors, or a state dict of torch.save; or RANDOM, always alike.

    `precision` is that of its arithmetic. bfloat16 pays where there are matrix units for it: CUDA from Ampere on, CPUs
    with AMX. Frames/s of ResNet-152 on one core, float32 / bfloat16: with AMX 4.3 / 19.7; avx512_bf16 alone 4.8 / 3.6;
    neither 5.1 / 1.4. The mini backbone with AMX: 2200 / 5200.
    """
    spec, device = spec_of(name), torch.device(device)
    if name != spec.name:
        raise UserError(f"{name}: frames, of which no features are extracted; `captionrl frames` stores them")
    path = None if weights == RANDOM else Path(weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module, facts = _load(spec, path)
    digest = sha256(path) if path else _digest(module)
    module = module.eval().requires_grad_(False).to(device)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # absent from torch's stubs
    transform = (resize_of(facts), facts.mean, facts.std)
    return Backbone(spec.name, module, facts.dim, spec.grid, *transform, digest, device, precision, random=path is None)


def _load(spec: BackboneSpec, path: Path | None) -> tuple[nn.Module, Facts]:
    loaded: Any = load_object(spec.loader)(spec, path)
    return (loaded, spec.facts) if spec.facts else loaded


def _digest(module: nn.Module) -> str:
    """SHA-256 of a network's weights, for those that are of no file."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(f"{name}\0{tuple(value.shape)}\0".encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()
