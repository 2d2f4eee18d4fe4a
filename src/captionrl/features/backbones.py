"""The CNNs that turn a frame into a vector or a grid of them: torchvision's, timm's and a small ResNet.

`load_backbone` gives a frozen one, `load_trunk` one to train.

A grid keeps where things are: attention then has regions to look at, as it has frames in a video.
"""

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from captionrl.errors import UserError
from captionrl.features.resize import Resize
from captionrl.files import atomic, sha256

BATCH = 32  # frames a forward pass; more gain nothing on a CPU, and 32 at 224x224 fit any GPU

RGB = tuple[float, float, float]
IMAGENET_MEAN: RGB = (0.485, 0.456, 0.406)
IMAGENET_STD: RGB = (0.229, 0.224, 0.225)
HALF: RGB = (0.5, 0.5, 0.5)  # what TensorFlow's Inception networks take for mean and for standard deviation
MINI_MEAN: RGB = (0.5, 0.5, 0.5)
MINI_STD: RGB = (0.25, 0.25, 0.25)
MINI_RESIZE = Resize(64)  # squashed: a centre crop would lose who stands at the border


@dataclass(frozen=True)
class Backbone:
    """A frozen CNN with everything that decides its features. Made by `load_backbone`."""

    name: str
    module: nn.Module  # float [N, 3, size, size] -> [N, dim], or [N * grid * grid, dim]
    dim: int
    grid: int  # cells a side; 0: features are pooled over the picture
    resize: Resize
    mean: RGB
    std: RGB
    weights_sha256: str
    device: torch.device
    precision: str  # "float32" or "bfloat16"

    @property
    def transform(self) -> str:
        """From decoded frame to features, in words; stored with the features."""
        return f"{self.resize}; mean {list(self.mean)} std {list(self.std)}; {self.precision}"

    @torch.inference_mode()
    def forward(self, frames: Tensor) -> Tensor:
        """Features float16 [N, dim], on the CPU, of uint8 frames [N, size, size, 3].

        With a grid [N * grid * grid, dim]: the cells of a frame row by row, frame after frame.

        Batches are cut from these N frames alone. Give one item at a time, and its features have the same bits
        whatever else is extracted, before or after a restart.
        """
        if not len(frames):
            return torch.empty(0, self.dim, dtype=torch.float16)
        features = torch.cat([self._batch(batch.to(self.device)) for batch in frames.split(BATCH)]).cpu()
        if not features.isfinite().all():
            raise UserError(f"backbone {self.name}: features beyond float16 (65504); are its weights trained ones?")
        return features

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

    dim = 128

    def __init__(self, heads: dict[str, int]):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.stages = nn.Sequential(
            ResidualBlock(16, 16, 1), ResidualBlock(16, 32, 2), ResidualBlock(32, 64, 2), ResidualBlock(64, 128, 2)
        )
        self.heads = nn.ModuleDict({name: nn.Linear(self.dim, values) for name, values in heads.items()})

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, 64, 64], normalised by MINI_MEAN and MINI_STD -> [B, 128]."""
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
        save_file(weights, temporary, metadata={"heads": json.dumps(heads)})


def load_mini(path: Path | str) -> MiniResNet:
    """The model of `save_mini`, with its heads in the order in which they were made."""
    weights = _read_weights(Path(path))
    try:
        with safe_open(path, "pt") as file:
            heads = json.loads(file.metadata()["heads"])
    except (SafetensorError, KeyError, TypeError):
        raise UserError(f"{path}: not weights of the mini backbone (no `heads` in its metadata)") from None
    model = MiniResNet(heads)
    _fill(model, weights, Path(path), "mini")
    return model


def load_resnet(depth: int, path: Path | str) -> nn.Module:
    """torchvision's ResNet-`depth` (of 50 and more) without its classifier: [B, 3, H, W] -> [B, 2048]."""
    return _load_torchvision(f"resnet{depth}", "fc", path, f"ResNet-{depth}")


def load_vgg16(path: Path | str) -> nn.Module:
    """torchvision's VGG-16 without its last layer: [B, 3, H, W] -> [B, 4096], fc7 after its ReLU."""
    return _load_torchvision("vgg16", "classifier.6", path, "VGG-16")


def load_inception_resnet_v2(path: Path | str | None) -> nn.Module:
    """timm's Inception-ResNet-v2 without its classifier: [B, 3, H, W] -> [B, 1536]; without `path` random weights."""
    from captionrl.features import torchvision_cpu  # noqa: F401 - timm imports torchvision, and takes seconds to

    import timm  # isort: skip

    model: nn.Module = timm.create_model("inception_resnet_v2", pretrained=False, num_classes=0)
    if path is not None:  # its classifier has 1,001 classes, TensorFlow's background among them
        weights = {name: value for name, value in _read_weights(Path(path)).items() if not name.startswith("classif.")}
        _fill(model, weights, Path(path), "timm's Inception-ResNet-v2")
    return model


class Grid(nn.Module):
    """The last feature map of a CNN, averaged over `side` x `side` cells (adaptive pooling), as one row a cell."""

    def __init__(self, trunk: nn.Module, side: int):
        super().__init__()
        self.trunk, self.side = trunk, side

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B * side * side, dim], the cells of an image row by row."""
        maps = nn.functional.adaptive_avg_pool2d(self.trunk(images).float(), self.side)
        return maps.permute(0, 2, 3, 1).flatten(0, 2)


def load_mini_grid(side: int, path: Path | str) -> nn.Module:
    """The map that `mini` pools, from the same weights; 4 cells a side are all that it has of a 64x64 image."""
    model = load_mini(path)
    return Grid(nn.Sequential(model.stem, model.stages), side)


def load_resnet_grid(depth: int, side: int, path: Path | str) -> nn.Module:
    return Grid(nn.Sequential(*list(load_resnet(depth, path).children())[:-2]), side)  # no pooling, no classifier


# name -> loader, features, grid, resize, mean, std
BACKBONES: dict[str, tuple[Callable[[Path | str], nn.Module], int, int, Resize, RGB, RGB]] = {
    "mini": (load_mini, MiniResNet.dim, 0, MINI_RESIZE, MINI_MEAN, MINI_STD),
    "mini-grid": (partial(load_mini_grid, 4), MiniResNet.dim, 4, MINI_RESIZE, MINI_MEAN, MINI_STD),
    "resnet152": (partial(load_resnet, 152), 2048, 0, Resize(224, shorter=256), IMAGENET_MEAN, IMAGENET_STD),
    "vgg16": (load_vgg16, 4096, 0, Resize(224, shorter=256), IMAGENET_MEAN, IMAGENET_STD),
    "inception-resnet-v2": (load_inception_resnet_v2, 1536, 0, Resize(224), HALF, HALF),
    # 448 / 32 = 14 cells a side; squashed, so that the grid covers the whole picture
    "resnet101-grid": (partial(load_resnet_grid, 101, 14), 2048, 14, Resize(448), IMAGENET_MEAN, IMAGENET_STD),
}


def load_trunk(name: str, weights: Path | str | None = None) -> nn.Module:
    """The CNN of a backbone, to be trained: float [N, 3, size, size] -> [N, dim]; without a file of random weights."""
    if name == "inception-resnet-v2":
        return load_inception_resnet_v2(weights)
    if name != "mini":
        raise UserError(f"backbone {name!r} cannot be trained; choose inception-resnet-v2 or mini")
    model = MiniResNet({}) if weights is None else load_mini(weights)
    model.heads = nn.ModuleDict()  # of its own training alone
    return model


def load_backbone(
    name: str, weights: Path | str, device: torch.device | str = "cpu", precision: str = "float32"
) -> Backbone:
    """A backbone by name, its weights from a file: safetensors, or (torchvision's) a state dict of torch.save.

    `precision` is that of its arithmetic. bfloat16 pays where there are matrix units for it: CUDA from Ampere on, CPUs
    with AMX. Frames/s of ResNet-152 on one core, float32 / bfloat16: with AMX 4.3 / 19.7; avx512_bf16 alone 4.8 / 3.6;
    neither 5.1 / 1.4. The mini backbone with AMX: 2200 / 5200.
    """
    if name not in BACKBONES:
        raise UserError(f"backbone {name!r} is unknown; choose one of {', '.join(BACKBONES)}")
    load, dim, grid, resize, mean, std = BACKBONES[name]
    device = torch.device(device)
    module = load(weights).eval().requires_grad_(False).to(device)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # absent from torch's stubs
    return Backbone(name, module, dim, grid, resize, mean, std, sha256(weights), device, precision)


def _load_torchvision(name: str, last: str, path: Path | str, what: str) -> nn.Module:
    """torchvision's model called `name`, its layer `last`, the classifier of 1000 classes, cut off."""
    from captionrl.features.torchvision_cpu import torchvision  # seconds to import, and the mini scale needs none

    with torch.device("meta"):  # no random numbers for millions of weights that are replaced at once
        model: nn.Module = getattr(torchvision.models, name)(weights=None)
    _fill(model, _read_weights(Path(path)), Path(path), f"torchvision's {what}")
    model.set_submodule(last, nn.Identity())
    return model


def _read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name. Nothing that a file could run is run."""
    if not path.is_file():
        raise UserError(f"{path}: no such weights file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise UserError(f"{path}: not a whole safetensors file ({error}); fetch or make it again") from None
    except pickle.UnpicklingError:
        raise UserError(f"{path}: refused: it holds more than tensors (pickled code?), or is no torch file") from None
    except Exception as error:  # whatever torch's unpickler stumbles over: KeyError, struct.error, AssertionError ...
        reason = f"{type(error).__name__} {error}".splitlines()[0]
        raise UserError(f"{path}: not a whole torch file ({reason}); fetch it again") from None
    if not (isinstance(weights, dict) and all(isinstance(value, Tensor) for value in weights.values())):
        raise UserError(f"{path}: not a state dict (a mapping from names to tensors)")
    return weights


def _fill(model: nn.Module, weights: dict[str, Tensor], path: Path, what: str) -> None:
    try:
        model.load_state_dict(weights, assign=True)
    except RuntimeError as error:  # lists every key; the first is enough to see what is wrong
        first = str(error).splitlines()[1].strip()[:200]
        raise UserError(f"{path}: not the weights of {what} ({first})") from None
