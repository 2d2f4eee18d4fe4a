"""Mean average precision of a captioner's attribute head, against that of the prior.

An item has an attribute if one of its captions has a form of it. The average precision of an attribute is the mean,
over the items that have it, of the share of such items among all that are at least as probable to; its prior is the
share of items that have it, which is the average precision of equal predictions for all clips. Both are averaged over
the attributes that some item of the split has.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from captionrl.datasets.attributes import Attributes
from captionrl.datasets.prepared import load_captions
from captionrl.device import pick_device
from captionrl.errors import UserError
from captionrl.evaluation.trained import open_clips
from captionrl.features.store import FeatureStore
from captionrl.training.checkpoint import load_checkpoint
from captionrl.training.data import EVALUATION_BATCH, with_features

SAMPLES = 1000
SHOWN = 5  # best and worst attributes of the report as text

Numbers = np.ndarray


def recognition_scores(
    checkpoints: Sequence[Path], attributes: Path, captions: Path, features: Path, split: str, device: str = "auto"
) -> dict[str, Any]:
    """The report: mean average precision and prior, in percent, their bootstrap intervals over items, each attribute.

    The checkpoints are seeds of one run.
    """
    listed = Attributes.load(attributes)
    known = with_features(load_captions(captions), FeatureStore(features), split)
    items = [item.id for item in known.items[split]]
    present = np.array([listed.of(known.tokens[item]) for item in items])
    there = np.asarray(present.any(0))
    seeds = [probabilities(path, features, items, len(listed.listed), device)[:, there] for path in checkpoints]
    found = np.mean([average_precision(seed, present[:, there], np.ones(len(items))) for seed in seeds], 0)
    prior = present[:, there].mean(0)
    resampled = _resampled(seeds, present[:, there])
    names = [name for name, is_there in zip(listed.names, there, strict=True) if is_there]
    return {
        "split": split,
        "items": len(items),
        "seeds": len(seeds),
        "attributes": len(names),
        "nowhere": len(listed.listed) - len(names),
        "mean average precision": _percent(found.mean(), resampled[:, 0]),
        "prior": _percent(prior.mean(), resampled[:, 1]),
        "above prior": _percent((found - prior).mean(), resampled[:, 0] - resampled[:, 1]),
        "by attribute": {
            name: {"average precision": 100 * float(ap), "prior": 100 * float(share)}
            for name, ap, share in zip(names, found, prior, strict=True)
        },
    }


def probabilities(
    checkpoint: Path, features: Path, items: Sequence[str], attributes: int, device: str = "auto"
) -> Numbers:
    """[I, A]: how probable a run's checkpoint holds each of the first `attributes` attributes of each item."""
    policy, metadata = load_checkpoint(checkpoint)
    attribute_head: Any = getattr(policy, "attributes", None)
    if attribute_head is None or attributes > metadata.sizes.get("attributes", 0):
        raise UserError(f"{checkpoint}: has no head for {attributes} attributes; give a run that was trained on them")
    where = pick_device(device)
    clips, policy = open_clips(checkpoint, metadata, features, where), policy.to(where)
    with torch.inference_mode():
        parts = [
            attribute_head(clips.batch(items[at : at + EVALUATION_BATCH])).sigmoid().cpu().double()
            for at in range(0, len(items), EVALUATION_BATCH)
        ]
    return torch.cat(parts)[:, :attributes].numpy()


def average_precision(probability: Numbers, present: Numbers, weight: Numbers) -> Numbers:
    """The average precision [A] of probabilities [I, A] where items count `weight` [I] times; nan where none has it."""
    return _precision(*_ranked(probability), present, weight)


def _ranked(probability: Numbers) -> tuple[Numbers, Numbers]:
    """Of every attribute [I, A]: the items, most probable first, and the last place of those as probable as each."""
    order = np.argsort(-probability, 0, kind="stable")
    sorted_ = np.take_along_axis(probability, order, 0)
    last = np.arange(len(order))[:, None] * np.ones_like(order)
    for row in range(len(order) - 2, -1, -1):
        last[row] = np.where(sorted_[row] == sorted_[row + 1], last[row + 1], row)
    return order, last


def _precision(order: Numbers, last: Numbers, present: Numbers, weight: Numbers) -> Numbers:
    all_, mine = weight[order], np.take_along_axis(present * weight[:, None], order, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.take_along_axis(mine.cumsum(0), last, 0) / np.take_along_axis(all_.cumsum(0), last, 0)
        return np.nansum(mine * shares, 0) / mine.sum(0)


def _resampled(seeds: Sequence[Numbers], present: Numbers) -> Numbers:
    """Mean average precision and prior [SAMPLES, 2] of items drawn with replacement, alike for all seeds."""
    items = len(present)
    ranked = [_ranked(seed) for seed in seeds]
    rows = []
    for weight in np.random.default_rng(0).multinomial(items, np.full(items, 1 / items), size=SAMPLES).astype(float):
        precision = np.mean([_precision(*one, present, weight) for one in ranked], 0)
        there = ~np.isnan(precision)
        prior = (weight @ present / items)[there]
        rows.append((precision[there].mean(), prior.mean()))
    return np.array(rows)


def _percent(value: float, resampled: Numbers) -> dict[str, float]:
    """The percentiles minus the resamples' bias: an item drawn twice ranks beside itself, so they score too high."""
    low, high = np.percentile(resampled, [2.5, 97.5]) - (resampled.mean() - value)
    return {"value": 100 * float(value), "low": 100 * float(low), "high": 100 * float(high)}


def render(report: dict[str, Any]) -> str:
    """A report as plain text."""
    lines = []
    for name in ("mean average precision", "prior", "above prior"):
        value, low, high = (report[name][key] for key in ("value", "low", "high"))
        lines.append(f"{name:<24}{value:6.2f} [{low:.2f}, {high:.2f}]")
    ranked = sorted(report["by attribute"].items(), key=lambda row: row[1]["prior"] - row[1]["average precision"])
    for what, rows in (("best", ranked[:SHOWN]), ("worst", ranked[-SHOWN:])):
        stats = (f"{name} {row['average precision']:.1f} (prior {row['prior']:.1f})" for name, row in rows)
        lines.append(f"{what}: {', '.join(stats)}")
    seeds = f", mean of {report['seeds']} seeds" if report["seeds"] > 1 else ""
    lines.append(
        f"{report['attributes']} attributes of {report['items']} {report['split']} items"
        f" ({report['nowhere']} that none has left out){seeds}"
    )
    return "\n".join(lines)
