"""CLIPScore and RefCLIPScore of captions of pictures (Hessel et al. 2021, "CLIPScore", EMNLP).

By open_clip, with weights from a file: nothing is downloaded. Captions are read as they are written.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

import captionrl
from captionrl.datasets.corpus import split_hash
from captionrl.errors import UserError
from captionrl.evaluation.aggregate import Array, aggregate
from captionrl.evaluation.results import Result, reference_count
from captionrl.features.backbones import Backbone, load_backbone
from captionrl.features.backbones import normalise as normalise_pixels
from captionrl.features.image import read_still
from captionrl.progress import progress
from captionrl.rewards.clip import PREFIX, SCALE, load_clip

METRICS = ("CLIPScore", "RefCLIPScore")
BATCH = 64


@dataclass(frozen=True)
class Clip:
    """A model of open_clip, the file of its weights, and the pictures that captions are about."""

    model: str  # NAME/TAG, such as ViT-B-32/openai
    weights: Path
    pictures: Path | Mapping[str, Path]  # {id: file}, or a directory, where `find_pictures` looks

    @cached_property
    def image_tower(self) -> Backbone:
        return load_backbone(f"open_clip:{self.model}", self.weights)

    @cached_property
    def text_tower(self) -> tuple[Any, Any]:
        name, _, tag = self.model.partition("/")
        return load_clip(name, tag, self.weights, torch.device("cpu"))

    @torch.inference_mode()
    def of_pictures(self, paths: Sequence[Path]) -> Tensor:
        """Embeddings [N, D] of length 1. Raises MediaError for a file that is no picture."""
        tower, rows = self.image_tower, []
        for part in progress(_parts(paths), title="CLIPScore, pictures", unit="batch"):
            pixels = np.stack([read_still(path, tower.resize) for path in part])
            rows.append(tower.module(normalise_pixels(torch.from_numpy(pixels), tower.mean, tower.std)))
        return normalize(torch.cat(rows), dim=-1)

    @torch.inference_mode()
    def of_texts(self, captions: Sequence[str]) -> Tensor:
        """Embeddings [N, D] of length 1, each caption behind the prefix that its authors' code has."""
        model, tokenise = self.text_tower
        parts = progress(_parts([PREFIX + caption for caption in captions]), title="CLIPScore, captions", unit="batch")
        return torch.cat([model.encode_text(tokenise(part), normalize=True) for part in parts])


def _parts(rows: Sequence[Any]) -> list[Any]:
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]


def evaluate_clip(
    references: Mapping[str, Sequence[str]],
    systems: Sequence[Mapping[str, str]],
    clip: Clip,
    metrics: Iterable[str] = METRICS,
) -> list[dict[str, Result]]:
    """CLIPScore and RefCLIPScore of each system's captions {id: caption} of pictures, times 100.

    CLIPScore is 2.5 max(cos(picture, caption), 0); RefCLIPScore the harmonic mean of that and of the caption's highest
    cosine with a reference, or 0 (eq. 1 and 2). Raises UserError for an item without a picture.
    """
    ids = sorted(references)
    pictures = find_pictures(clip.pictures, ids) if isinstance(clip.pictures, Path) else clip.pictures
    if missing := [id for id in ids if id not in pictures]:
        raise UserError(f"pictures: none for {len(missing)} items, such as {missing[0]!r}")
    seen = clip.of_pictures([pictures[id] for id in ids])
    said = [clip.of_texts([system[id] for id in ids]) for system in systems]
    counts = [len(references[id]) for id in ids]
    known = clip.of_texts([text for id in ids for text in references[id]]).split(counts)
    results = []
    for captions in said:
        fit = SCALE * (seen * captions).sum(-1).clamp(min=0)
        close = torch.stack([(rows @ row).max().clamp(min=0) for rows, row in zip(known, captions, strict=True)])
        both = torch.where(fit * close > 0, 2 * fit * close / (fit + close), 0)
        scores = {"CLIPScore": fit.double().numpy(), "RefCLIPScore": both.double().numpy()}
        results.append({metric: _result(metric, scores[metric], ids, counts, clip) for metric in metrics})
    return results


def _result(metric: str, scores: Array, ids: list[str], counts: list[int], clip: Clip) -> Result:
    rows = np.column_stack([scores, np.ones(len(scores))])
    fields = [
        metric,
        f"model:open_clip:{clip.model}",
        f"weights:{clip.image_tower.weights_sha256[:8]}",
        f"prefix:{PREFIX.strip()}",
        *([reference_count(counts)] if metric == "RefCLIPScore" else []),
        f"items:{len(ids)}",
        f"split:{split_hash(ids)[:8]}",
        f"version:{captionrl.__version__}",
    ]
    items = dict(zip(ids, aggregate(metric, rows).tolist(), strict=True))
    return Result(metric, float(aggregate(metric, rows.sum(axis=0))), items, rows, "|".join(fields))


def find_pictures(folder: Path, ids: Iterable[str]) -> dict[str, Path]:
    """The picture of each id in a folder: ID.jpg, ID.png, …; or, as COCO has it, a name that ends in _ and 12 digits.

    Raises UserError for an id that has none, or several.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such directory")
    named: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            coco = re.fullmatch(r"(?:.*_)?(\d{12})", path.stem)
            for name in {path.stem, path.name, *([str(int(coco[1]))] if coco else [])}:
                named.setdefault(name, []).append(path)
    found = {}
    for id in ids:
        match named.get(id, []):
            case [path]:
                found[id] = path
            case []:
                raise UserError(f"{folder}: no picture of item {id!r}; it would be {id}.jpg or {id}.png, for example")
            case several:
                raise UserError(f"{folder}: {len(several)} files for item {id!r}: {', '.join(p.name for p in several)}")
    return found
