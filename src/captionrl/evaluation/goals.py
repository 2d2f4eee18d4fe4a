"""CIDEr-D of HRL with the manager's own goals, with another clip's, and with none."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from captionrl.decoding.rollout import greedy
from captionrl.evaluation.bootstrap import difference_interval, paired
from captionrl.evaluation.trained import open_seeds
from captionrl.models.hrl import HRL
from captionrl.rewards import CiderD
from captionrl.text.punctuation import PUNCTUATION
from captionrl.training.data import EVALUATION_BATCH

SAMPLES = 2000  # bootstrap resamples


class Zero(nn.Module):
    def forward(self, goals: Tensor) -> Tensor:
        return torch.zeros_like(goals)


class Shuffle(nn.Module):
    """Every clip gets the goal that another clip has at the same step: the one before it of those not ended.

    The last one left of a batch has its own.
    """

    def forward(self, goals: Tensor) -> Tensor:
        return goals.roll(1, 0)


def goal_scores(checkpoints: list[Path], captions: Path, features: Path, split: str) -> dict[str, Any]:
    """CIDEr-D (times 100) of greedy captions, over the seeds' mean, and what it loses without its own goals."""
    scores: dict[str, list[np.ndarray]] = {"own": [], "shuffled": [], "zero": []}
    for seed in open_seeds(checkpoints, captions, features, split, HRL, "goals"):
        policy, items = seed.policy, seed.items
        references = {item: seed.captions.tokens[item] for item in items}
        cider = CiderD.from_captions(references, vocabulary=seed.metadata.words, skip=PUNCTUATION)
        goal = policy.manager.goal
        for name, change in (("own", nn.Identity()), ("shuffled", Shuffle()), ("zero", Zero())):
            policy.manager.goal = nn.Sequential(goal, change)  # type: ignore[assignment]
            parts = []
            for part in np.array_split(items, -(-len(items) // EVALUATION_BATCH)):  # of like sizes: none of one clip
                ids = part.tolist()
                with torch.inference_mode():
                    memory = policy.encode(seed.clips.batch(ids))
                    rollout = greedy(policy, memory, seed.metadata.corpus_settings.max_words + 1)
                parts.append(cider.score(rollout.tokens, rollout.lengths, ids).numpy())
            scores[name].append(np.concatenate(parts))
    statistics = {name: [np.stack([s, np.ones_like(s)], 1) for s in seeds] for name, seeds in scores.items()}
    report: dict[str, Any] = {"split": split, "items": len(items), "seeds": len(checkpoints)}
    for name, seeds in scores.items():
        report[name] = {"CIDEr-D": 100 * float(np.mean(seeds))}
        if name != "own":
            pair = statistics[name], statistics["own"]
            low, high = difference_interval("CIDEr-D", *pair, SAMPLES)
            report[name] |= {
                "difference": report[name]["CIDEr-D"] - report["own"]["CIDEr-D"],
                "low": low,
                "high": high,
                "p": paired("CIDEr-D", *pair, SAMPLES),
            }
    return report


def render(report: dict[str, Any]) -> str:
    """A report as plain text."""
    lines = [f"own goals {report['own']['CIDEr-D']:7.2f} CIDEr-D, greedy, {report['items']} {report['split']} items"]
    for name in ("shuffled", "zero"):
        value, difference, low, high, p = (report[name][key] for key in ("CIDEr-D", "difference", "low", "high", "p"))
        lines.append(f"{name:<9} {value:7.2f} CIDEr-D, {difference:+.2f} [{low:+.2f}, {high:+.2f}], p = {p:.4f}")
    return "\n".join(lines)
