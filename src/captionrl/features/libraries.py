"""Any model of timm, and the image tower of any of open_clip's, with the preprocessing that the library says is its.

Nothing is ever downloaded: weights come from a file, or are random.
"""

import math
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captionrl.config.backbones import BackboneSpec, Facts
from captionrl.errors import UserError
from captionrl.features import torchvision_cpu  # noqa: F401 - timm and open_clip import torchvision
from captionrl.features.backbones import Grid
from captionrl.features.weights import fill, misfit, read_weights

import timm  # isort: skip
from timm.data import resolve_model_data_config  # isort: skip

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")  # that Pillow has


def load_timm(spec: BackboneSpec, path: Path | None) -> tuple[nn.Module, Facts]:
    """A model of timm without its classifier: [B, 3, H, W] -> [B, D]; with a grid [B * grid * grid, D].

    The file holds all weights that the model has with its classifier, as timm publishes them or as their first
    publisher does where timm knows how to rename these. UserError for an unknown model and for other weights.
    """
    known = [*timm.list_models(), *timm.list_pretrained()]
    if spec.model not in known:
        raise UserError(f"timm:{spec.model}: timm {timm.__version__} has no such model{_hint(spec.model, known)}")
    given = {"state_dict": read_weights(path)} if path else None
    try:
        model: Any = timm.create_model(spec.model, pretrained=path is not None, pretrained_cfg_overlay=given)
    except (RuntimeError, KeyError) as error:
        raise (misfit(path, f"timm's {spec.model}", error) if path else error) from None
    model.reset_classifier(0)
    facts = timm_facts(spec.name, resolve_model_data_config(model))
    return _measured(spec, Grid(TimmMap(model), spec.grid) if spec.grid else model, facts)


def timm_facts(name: str, config: dict[str, Any]) -> Facts:
    """The preprocessing of timm's evaluation by its data config; UserError for what Resize cannot do."""
    _, height, width = config["input_size"]
    scaled, crop = math.floor(width / config["crop_pct"]), config["crop_mode"]
    if height != width or crop == "border" or (crop == "squash" and scaled != width):
        raise _unfit(name, f"of {height} x {width} pixels, {config['crop_pct']:.0%} by {crop}")
    return _facts(name, config, width, None if crop == "squash" else scaled)


class TimmMap(nn.Module):
    """The last feature map of a model of timm, or its patches at their places."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model: Any = model

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, D, h, w]; ValueError for a model that has neither map nor patches in a square."""
        found: Tensor = self.model.forward_features(images)
        if found.dim() == 3:  # [B, tokens, D], the class token and the like first
            patches = found[:, getattr(self.model, "num_prefix_tokens", 0) :].transpose(1, 2)
            side = math.isqrt(patches.shape[2])
            if side**2 == patches.shape[2]:
                return patches.unflatten(2, (side, side))
        elif found.dim() == 4:
            return found if found.shape[1] == self.model.num_features else found.permute(0, 3, 1, 2)
        raise ValueError(f"features of shape {list(found.shape)}")


def load_open_clip(spec: BackboneSpec, path: Path | None) -> tuple[nn.Module, Facts]:
    """The image tower of a model of open_clip: [B, 3, H, W] -> [B, D], the embedding; with a grid its last patches.

    The file holds the weights of the whole model, or those that begin with `visual.`. UserError likewise.
    """
    try:
        import open_clip
        from open_clip.model import _build_vision_tower
        from open_clip.transform import PreprocessCfg, merge_preprocess_dict
    except ImportError as error:
        raise UserError(f"{spec.name}: {error}; run `pip install 'captionrl[clip]'`") from None
    name, tag = spec.model.split("/")
    if name not in open_clip.list_models():
        hint = _hint(name, open_clip.list_models())
        raise UserError(f"open_clip:{spec.model}: open_clip {open_clip.__version__} has no model {name}{hint}")
    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag not in tags:
        raise UserError(f"open_clip:{spec.model}: no weights {tag} are known of {name}; there are {', '.join(tags)}")
    config, pretrained = open_clip.get_model_config(name), open_clip.pretrained.get_pretrained_cfg(name, tag)
    config["vision_cfg"]["timm_model_pretrained"] = False
    quick_gelu = config.get("quick_gelu", False) or pretrained.get("quick_gelu", False)
    tower: Any = _build_vision_tower(config["embed_dim"], config["vision_cfg"], quick_gelu)
    if path:
        prefix, given = "visual.", read_weights(path)
        weights = {key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}
        fill(tower, weights, path, f"open_clip's {name}", assign=False)  # float16 among them
    preprocessing = merge_preprocess_dict(PreprocessCfg(size=tower.image_size), {**pretrained, "size": None})
    facts = open_clip_facts(spec.name, preprocessing)
    return _measured(spec, Grid(ClipMap(tower), spec.grid) if spec.grid else tower, facts)


def open_clip_facts(name: str, config: dict[str, Any]) -> Facts:
    """The preprocessing of open_clip's evaluation; UserError for what Resize cannot do."""
    size, mode = config["size"], config["resize_mode"]
    height, width = (size, size) if isinstance(size, int) else size
    if height != width or mode == "longest":
        raise _unfit(name, f"of {height} x {width} pixels by {mode}")
    return _facts(name, config, width, width if mode == "shortest" else None)


class ClipMap(nn.Module):
    """The last patches or the last feature map of an image tower of open_clip."""

    def __init__(self, tower: nn.Module):
        super().__init__()
        self.tower: Any = tower

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, D, h, w]"""
        options = {"normalize_intermediates": True, "intermediates_only": True, "output_fmt": "NCHW"}
        found: Tensor = self.tower.forward_intermediates(images, indices=1, **options)["image_intermediates"][-1]
        return found


def _measured(spec: BackboneSpec, network: nn.Module, facts: Facts) -> tuple[nn.Module, Facts]:
    """A network and its facts, with the width that features of a black picture have."""
    try:
        with torch.no_grad():
            rows = network.eval()(torch.zeros(1, 3, facts.size, facts.size))
    except ValueError as error:
        raise UserError(f"{spec.name}: the model has no cells ({error}); leave out @grid{spec.grid}") from None
    if rows.shape[:-1] != (spec.grid**2 or 1,):
        raise UserError(f"{spec.name}: gives features of shape {list(rows.shape)}, not a vector; try another model")
    return network, replace(facts, dim=rows.shape[-1])


def _facts(name: str, config: dict[str, Any], size: int, shorter: int | None) -> Facts:
    """What both libraries call alike; the width of features comes later."""
    if config["interpolation"] not in INTERPOLATIONS:
        raise _unfit(name, f"by the interpolation {config['interpolation']}")
    return Facts(0, size, tuple(config["mean"]), tuple(config["std"]), shorter, config["interpolation"])


def _unfit(name: str, what: str) -> UserError:
    return UserError(f"{name}: takes pictures {what}, which cannot be made here; choose another model")


def _hint(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=3)
    return f"; did you mean {' or '.join(close)}?" if close else ""
