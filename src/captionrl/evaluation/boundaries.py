"""F1 of HRL's boundary critic, against the best rule that sees the last word alone."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from captionrl.datasets.prepared import load_captions
from captionrl.datasets.segments import load_segments
from captionrl.errors import UserError
from captionrl.evaluation.aggregate import Array
from captionrl.evaluation.bootstrap import interval, paired
from captionrl.models.boundary_critic import BoundaryCritic
from captionrl.objectives.boundaries import boundary_counts, is_word, precision_recall_f1
from captionrl.text.vocabulary import EOS
from captionrl.training.checkpoint import load_module
from captionrl.training.data import CaptionPairs, Data

F1 = "boundary-F1"
SAMPLES = 2000  # bootstrap resamples
BATCH = 256


def score_boundaries(checkpoint: Path, captions: Path, segments: Path, split: str) -> dict[str, Any]:
    """Precision, recall and F1 (times 100, with 95 % intervals over items) of the critic and of the last-word rule.

    `p` is the paired bootstrap's, over items, for their difference in F1.
    """
    critic, metadata = load_module(checkpoint)
    if not isinstance(critic, BoundaryCritic):
        raise UserError(f"{checkpoint}: a captioner ({metadata.model}); give a checkpoint of a boundary critic")
    if not critic.reads_current:
        raise UserError(f"{checkpoint}: a critic that reads the previous word; the last-word rule would see more")
    corpus = load_captions(captions)
    corpus.require(("train", split), captions, "the last-word rule or its evaluation")
    data = Data(
        captions=corpus,
        vocabulary=metadata.vocabulary,
        max_words=metadata.corpus_settings.max_words,
        device=torch.device("cpu"),
        boundaries=load_segments(segments, corpus.tokens),
    )
    train, held = (CaptionPairs(data, part, BATCH, seed=0) for part in ("train", split))
    enders = last_word_rule(_marked(critic, train))
    by_item: dict[str, Array] = {item.id: np.zeros((2, 3)) for item in corpus.items[split]}
    rule = torch.zeros(len(metadata.words), dtype=torch.bool)
    rule[list(enders)] = True
    with torch.inference_mode():
        for index in range(len(held)):
            items, tokens = held.batch(0, index)
            truth = critic.truth(held.boundaries(0, index), tokens)
            words = is_word(tokens)
            found = [boundary_counts(signal, truth, words) for signal in (critic(tokens) > 0, rule[tokens])]
            for item, counts in zip(items, torch.stack(found, 1).numpy(), strict=True):
                by_item[item] += counts
    statistics = np.stack(list(by_item.values()))
    report: dict[str, Any] = {"split": split, "items": len(by_item), "captions": len(held.items)}
    for name, own in (("critic", statistics[:, 0]), ("last word", statistics[:, 1])):
        precision, recall, f1 = precision_recall_f1(torch.from_numpy(own))
        low, high = interval(F1, [own], SAMPLES)
        report[name] = {
            "precision": 100 * precision, "recall": 100 * recall, "F1": 100 * f1, "low": low, "high": high
        }  # fmt: skip
    report["p"] = paired(F1, [statistics[:, 0]], [statistics[:, 1]], SAMPLES)
    return report


def _marked(critic: BoundaryCritic, pairs: CaptionPairs) -> Iterator[tuple[list[int], list[bool]]]:
    """Every caption's words, and which of them end a segment by what the critic is to say."""
    for index in range(len(pairs)):
        _, tokens = pairs.batch(0, index)
        yield from zip(tokens.tolist(), critic.truth(pairs.boundaries(0, index), tokens).tolist(), strict=True)


def last_word_rule(captions: Iterable[tuple[list[int], list[bool]]]) -> set[int]:
    """The words after which to see a boundary, such that no other such set has a higher F1 on these captions.

    The best set holds the words that most often end a segment, down to some share; so it is enough to try each share.
    """
    ends: Counter[int] = Counter()
    seen: Counter[int] = Counter()
    for tokens, marks in captions:
        for word, mark in zip(tokens, marks, strict=True):
            if word > EOS:
                seen[word] += 1
                ends[word] += mark
    ranked = sorted(seen, key=lambda word: (-ends[word] / seen[word], word))
    hits = np.cumsum([ends[word] for word in ranked])
    found = np.cumsum([seen[word] for word in ranked])
    f1 = 2 * hits / (found + hits[-1])
    return set(ranked[: int(f1.argmax()) + 1])


def render(report: dict[str, Any]) -> str:
    """A report as plain text."""
    lines = [
        f"{name:<10} F1 {numbers['F1']:6.2f} [{numbers['low']:.2f}, {numbers['high']:.2f}]  "
        f"precision {numbers['precision']:6.2f}  recall {numbers['recall']:6.2f}"
        for name, numbers in ((name, report[name]) for name in ("critic", "last word"))
    ]
    lines.append(f"p = {report['p']:.4f} (paired bootstrap over {report['items']} {report['split']} items)")
    return "\n".join(lines)
