"""A tiny model of open_clip with random weights, known to it as `tiny`."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from captionrl.features.torchvision_cpu import torchvision  # noqa: F401

CONFIG = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "patch_size": 16, "head_width": 8},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def tiny_clip(folder: Path) -> tuple[Any, Path]:
    """The model, and the file of its weights."""
    import open_clip

    (folder / "tiny.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    made = open_clip.create_model("tiny").eval()
    with torch.no_grad():
        made.text_projection.mul_(30)
    save_file(made.state_dict(), folder / "tiny.safetensors")
    return made, folder / "tiny.safetensors"
