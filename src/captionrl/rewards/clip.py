"""CLIPScore as a reward: how well a caption fits its picture, by CLIP, without references."""

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from captionrl.config.backbones import backbone_spec
from captionrl.errors import UserError
from captionrl.files import sha256
from captionrl.rewards.reward import RewardBatch, RewardData

PREFIX = "A photo depicts "  # as its authors' code has it
SCALE = 2.5


class ClipScoreReward:
    """2.5 max(cos(picture, "A photo depicts " + caption), 0) (Hessel et al. 2021, eq. 1).

    The picture is the run's own features, those of the image tower of a backbone `open_clip:NAME/TAG`; of a clip of
    several frames, their mean. The text tower is that of the same weights file.
    """

    maximum = SCALE

    def __init__(self, data: RewardData) -> None:
        backbone = str(data.features["backbone"])
        if not backbone.startswith("open_clip:") or backbone_spec(backbone).grid:
            what = f"features of {backbone} share no space with text"
            raise UserError(f"reward CLIPScore: {what}; give the run a backbone open_clip:NAME/TAG")
        assert data.clip_weights is not None
        if not data.clip_weights.is_file():
            raise UserError(f"{data.clip_weights}: no such file; clip_weights of the phase are those of {backbone}")
        if sha256(data.clip_weights) != data.features["weights_sha256"]:
            raise UserError(f"{data.clip_weights}: not the weights that the features were extracted with; give those")
        self._name, self._tag = backbone_spec(backbone).model.split("/")
        self._weights = data.clip_weights
        self._device = next(data.policy.parameters()).device

    def score(self, batch: RewardBatch) -> Tensor:
        weights = batch.clips.mask.unsqueeze(-1).to(batch.clips.frames)
        pictures = normalize((batch.clips.frames * weights).sum(1) / weights.sum(1), dim=-1)
        if batch.rows is not None:
            pictures = pictures.index_select(0, batch.rows)
        model, tokenize = self._model
        texts = tokenize([PREFIX + text for text in batch.texts]).to(self._device)
        captions = model.encode_text(texts, normalize=True)
        if captions.shape[-1] != pictures.shape[-1]:
            widths = f"{pictures.shape[-1]} numbers a frame, its text tower {captions.shape[-1]}"
            raise UserError(f"reward CLIPScore: the features have {widths}; give the image tower's own features")
        cosine: Tensor = (pictures * captions).sum(-1)
        return SCALE * cosine.clamp(min=0)

    @cached_property
    def _model(self) -> tuple[Any, Any]:
        return load_clip(self._name, self._tag, self._weights, self._device)


def load_clip(name: str, tag: str, weights: Path, device: torch.device) -> tuple[Any, Any]:
    """A model of open_clip with both towers, and its tokeniser; `tag` says which weights the file holds."""
    from captionrl.features.torchvision_cpu import torchvision  # noqa: F401  open_clip imports it

    try:
        import open_clip
    except ModuleNotFoundError:
        raise UserError("CLIPScore: needs open_clip; pip install 'captionrl[clip]'") from None
    # A file does not say which GELU its weights were trained with; their tag does.
    quick = bool(open_clip.pretrained.get_pretrained_cfg(name, tag).get("quick_gelu", False))
    model = open_clip.create_model(name, pretrained=str(weights), device=device, force_quick_gelu=quick)
    return model.eval().requires_grad_(False), open_clip.get_tokenizer(name)
