"""Recall of an image-text embedding, both ways, and that of chance.

Pictures are taken some at a time, as the field does: COCO's 5,000 test pictures are five folds of 1,000.
"""

from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captionrl.errors import UserError
from captionrl.evaluation.aggregate import aggregate
from captionrl.evaluation.bootstrap import interval
from captionrl.evaluation.trained import open_seeds
from captionrl.models.actor_critic import ImageTextEmbedding, WithValueAndReward
from captionrl.objectives.embedding import ranks
from captionrl.training.data import EVALUATION_BATCH, FeatureBatches, caption_tokens, pad

TOP = (1, 5, 10)
WAYS = ("caption to picture", "picture to caption")
SAMPLES = 2000  # bootstrap resamples

Numbers = NDArray[np.int64]


def retrieval_scores(checkpoints: list[Path], captions: Path, features: Path, split: str, fold: int) -> dict[str, Any]:
    """Recall at 1, 5 and 10 (times 100, with 95 % intervals over seeds and pictures) both ways, the mean over seeds.

    A caption retrieves its picture from its fold, a picture any of its captions from all of its fold's. Folds are
    `fold` pictures each, in the corpus' order; pictures that fill none are left out. Every query counts once. Beside
    it: what a random order has, and the median rank of a query's best answer, 1 the first.
    """
    ranks_of = []
    for seed in open_seeds(checkpoints, captions, features, split, WithValueAndReward, "an embedding"):  # type: ignore[type-abstract]
        items, tokens_of = seed.items, seed.captions.tokens
        if len(items) < fold:
            what = f"{len(items)} {split} items with features, fewer than a fold of {fold}"
            raise UserError(f"{captions}: {what}; give a smaller one (--fold)")
        kept, most = items[: len(items) // fold * fold], seed.metadata.corpus_settings.max_words
        words = [tokens for item in kept for tokens in tokens_of[item]]
        tokens = [caption_tokens(seed.metadata.vocabulary, caption, most) for caption in words]
        owner = np.repeat(np.arange(len(kept)), [len(tokens_of[item]) for item in kept])
        ranks_of.append(places(*_embed(seed.policy.similarity, seed.clips, kept, tokens), owner, fold))
    given = {"split": split, "seeds": len(ranks_of), "fold": fold, "left_out": len(items) - len(kept)}
    return given | recalls(ranks_of, owner, fold)


@torch.inference_mode()
def _embed(
    similarity: ImageTextEmbedding, clips: FeatureBatches, items: list[str], tokens: list[list[int]]
) -> tuple[Tensor, Tensor]:
    """Unit vectors of pictures [P, J] and of captions [C, J]."""
    batch = EVALUATION_BATCH
    pictures = [similarity.pictures(clips.batch(items[at : at + batch])) for at in range(0, len(items), batch)]
    captions = [similarity.captions(pad(tokens[at : at + batch])) for at in range(0, len(tokens), batch)]
    return torch.cat(pictures), torch.cat(captions)


def places(pictures: Tensor, captions: Tensor, owner: Numbers, fold: int) -> tuple[Numbers, Numbers]:
    """The place of each caption's [C] and each picture's [P] best answer in its fold, 0 the first.

    Unit vectors [P, J] and [C, J]; caption c is of picture `owner[c]`, in the order of pictures.
    """
    of_captions, of_pictures = [], []
    for first in range(0, len(pictures), fold):
        members = np.arange(first, first + fold)
        mine = np.isin(owner, members)
        cosines = captions[mine] @ pictures[first : first + fold].T
        own = torch.from_numpy(owner[mine][:, None] == members)
        of_captions.append(ranks(cosines, own))
        of_pictures.append(ranks(cosines.T, own.T))
    return torch.cat(of_captions).numpy(), torch.cat(of_pictures).numpy()


def recalls(seeds: list[tuple[Numbers, Numbers]], owner: Numbers, fold: int) -> dict[str, Any]:
    """The report on the `places` of each seed."""
    captions = np.bincount(owner, minlength=owner[-1] + 1)  # of each picture
    negatives = captions.reshape(-1, fold).sum(1).repeat(fold)  # the captions of its fold
    report: dict[str, Any] = {"pictures": len(captions), "captions": len(owner)}
    queries = (owner, np.arange(len(captions)))  # whose picture each is about
    answers = ([(1, fold)], list(zip(captions.tolist(), negatives.tolist(), strict=True)))  # a query's own, and all
    for way, asked, found, there in zip(WAYS, queries, zip(*seeds, strict=True), answers, strict=True):
        report[way] = {"median rank": float(np.mean([np.median(one) + 1 for one in found]))}
        for top in TOP:
            metric = f"recall@{top}"
            hits = [np.bincount(asked, one < top).astype(np.float64) for one in found]
            statistics = [np.column_stack([hit, np.bincount(asked)]) for hit in hits]
            low, high = interval(metric, statistics, SAMPLES)
            report[way][metric] = {
                "value": float(np.mean([aggregate(metric, rows.sum(0)) for rows in statistics])),
                "low": low,
                "high": high,
                "chance": 100 * float(np.mean([chance(top, *numbers) for numbers in there])),
            }
    return report


def chance(top: int, own: int, answers: int) -> float:
    """How often one of `own` answers is among the first `top` of all in random order (hypergeometric)."""
    top = min(top, answers)
    return 1 - comb(answers - own, top) / comb(answers, top)


def render(report: dict[str, Any]) -> str:
    """A report as plain text."""
    lines = []
    for way in WAYS:
        numbers = report[way]
        lines.append(f"{way}, median rank {numbers['median rank']:g}")
        for name in (f"recall@{top}" for top in TOP):
            value, low, high, by_chance = (numbers[name][key] for key in ("value", "low", "high", "chance"))
            lines.append(f"  {name:<10}{value:6.2f} [{low:.2f}, {high:.2f}]  chance {by_chance:.2f}")
    seeds = f", mean of {report['seeds']} seeds" if report["seeds"] > 1 else ""
    lines.append(
        f"{report['captions']} captions of {report['pictures']} {report['split']} pictures, {report['fold']} at a time"
        f" ({report['left_out']} left out){seeds}"
    )
    return "\n".join(lines)
