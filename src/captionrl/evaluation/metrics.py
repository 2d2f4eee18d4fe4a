"""Caption metrics as coco-caption computes them, each with the statistics that a bootstrap needs and a signature."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

import captionrl
from captionrl.datasets.corpus import split_hash
from captionrl.errors import UserError
from captionrl.evaluation.aggregate import METRICS, Array, aggregate
from captionrl.evaluation.captions import check_length, check_text, check_words
from captionrl.evaluation.meteor import meteor_statistics
from captionrl.evaluation.results import Result, reference_count
from captionrl.evaluation.spice import spice_statistics
from captionrl.progress import progress
from captionrl.rewards import CiderD, DocumentFrequencies
from captionrl.text.ptb import tokenize
from captionrl.text.punctuation import strip_punctuation

PATIENCE = 5.0  # seconds before a bar shows how far scoring is


def evaluate(
    references: Mapping[str, Sequence[str]],
    hypotheses: Mapping[str, str],
    metrics: Collection[str] = METRICS,
    spice: Path | None = None,
) -> dict[str, Result]:
    """Score raw captions, one hypothesis and any number of references an item, by pycocoevalcap's metrics.

    Both are PTB-tokenised and stripped of punctuation here. An empty hypothesis scores 0. With the CoreNLP that SPICE
    parses with at `spice`, SPICE is scored too. Raises UserError when the items of both do not match or an item has no
    reference.
    """
    return evaluate_systems(references, [hypotheses], metrics, spice)[0]


def evaluate_systems(
    references: Mapping[str, Sequence[str]],
    systems: Sequence[Mapping[str, str]],
    metrics: Collection[str] = METRICS,
    spice: Path | None = None,
    frequencies: Mapping[str, Sequence[str]] | None = None,
    workers: int = 1,
) -> list[dict[str, Result]]:
    """Likewise of the hypotheses of several systems: one Java process scores METEOR of all of them.

    CIDEr-D's document frequencies are those of the raw captions `frequencies` {id: captions}, if given.
    """
    if unknown := [metric for metric in metrics if metric not in METRICS]:
        raise UserError(f"metrics: unknown {', '.join(map(repr, unknown))}; choose from {', '.join(METRICS)}")
    tokens, captions = tokenize_systems(references, [{id: [text] for id, text in each.items()} for each in systems])
    references_of_items = [[" ".join(caption) for caption in item] for item in tokens]
    hypotheses_of_systems = [[" ".join(caption) for (caption,) in items] for items in captions]

    scorers = dict(_STATISTICS)
    if frequencies is not None:
        frequencies = {id: captions for id, captions in frequencies.items() if captions}  # no document without words
        if not frequencies:
            raise UserError("frequencies: no items; give the captions of at least one, or leave them out")
        _check_captions("frequencies", frequencies)
        words = tokenize_systems(frequencies, [])[0]
        scorers["CIDEr"] = partial(_cider_statistics_by, DocumentFrequencies.from_captions(dict(enumerate(words))))
    if spice:
        scorers["SPICE"] = partial(spice_statistics, corenlp=Path(spice), workers=workers)
        metrics = [*metrics, "SPICE"]
    ids = sorted(references)
    results: list[dict[str, Result]] = [{} for _ in systems]
    family_of = {metric: metric.split("-")[0] for metric in (*METRICS, "SPICE") if metric in metrics}
    statistics: dict[str, list[Array]] = {}  # BLEU-1 to BLEU-4 share theirs
    with progress(list(dict.fromkeys(family_of.values())), title="scoring", unit="metric", delay=PATIENCE) as bar:
        for family in bar:
            bar.set_postfix_str(family, refresh=False)
            statistics[family] = _of_systems(scorers[family], family, references_of_items, hypotheses_of_systems)
    for metric, family in family_of.items():
        for result, rows in zip(results, statistics[family], strict=True):
            result[metric] = Result(
                metric=metric,
                value=float(aggregate(metric, rows.sum(axis=0))),
                items=dict(zip(ids, aggregate(metric, rows).tolist(), strict=True)),
                statistics=rows,
                signature=signature(metric, references, frequencies),
            )
    return results


def tokenize_systems(
    references: Mapping[str, Sequence[str]], systems: Sequence[Mapping[str, Sequence[str]]]
) -> tuple[list[list[list[str]]], list[list[list[list[str]]]]]:
    """The PTB tokens, without punctuation, of raw captions: [item][reference], and [system][item][caption].

    Items come in the order of their ids. Raises UserError as `evaluate` does.
    """
    _check_captions("references", references)
    for system in systems:
        _check_captions("hypotheses", system)
        check_items(references, system)
    ids = sorted(references)
    sources = [references, *systems]
    owners = [id for source in sources for id in ids for _ in source[id]]
    captions = [text for source in sources for id in ids for text in source[id]]
    for id, text in zip(owners, captions, strict=True):
        check_text(id + text, f"item {id!r}")
        check_length(text, f"item {id!r}")
    found = [strip_punctuation(caption) for caption in tokenize(captions)]
    for id, words in zip(owners, found, strict=True):  # a text has more than it has spaces
        check_words(len(words), f"item {id!r}")
    tokens = iter(found)
    first, *others = [[[next(tokens) for _ in source[id]] for id in ids] for source in sources]
    if not any(any(item) for item in first):
        raise UserError("references: no caption holds a word, so there is nothing to compare with; check what was read")
    return first, others


def _of_systems(
    scorer: Callable[[list[list[str]], list[str]], Array],
    family: str,
    references: list[list[str]],
    systems: list[list[str]],
) -> list[Array]:
    """The statistics of each system, from one call for all: but for CIDEr-D, whose df are of the references, once."""
    if family == "CIDEr":
        return [scorer(references, hypotheses) for hypotheses in systems]
    return np.split(scorer(references * len(systems), [text for each in systems for text in each]), len(systems))


def signature(
    metric: str, references: Mapping[str, Sequence[str]], frequencies: Mapping[str, Sequence[str]] | None = None
) -> str:
    """Everything a value depends on besides the hypotheses, on one line, as sacreBLEU prints it."""
    source = (
        f"{len(frequencies)} others, {split_hash(frequencies)[:8]}"
        if frequencies is not None
        else "references of these items"
    )
    fields = [
        metric,
        "tok:ptb-coco",
        reference_count([len(captions) for captions in references.values()]),
        f"items:{len(references)}",
        *([f"df:{source}", "eos:no"] if metric == "CIDEr-D" else []),
        *(["corenlp:3.6.0"] if metric == "SPICE" else []),
        f"split:{split_hash(references)[:8]}",
        f"lib:pycocoevalcap-{version('pycocoevalcap')}",
        f"version:{captionrl.__version__}",
    ]
    return "|".join(fields)


def _check_captions(name: str, captions: Mapping[str, Sequence[str]]) -> None:
    """Raise UserError unless these are strings, in a list for each item, whose id is a string."""
    for id, texts in captions.items():
        if not isinstance(id, str):
            raise UserError(f"{name}: ids are strings, not {id!r} of type {type(id).__name__}; make it {str(id)!r}")
        if isinstance(texts, str | bytes) or not hasattr(texts, "__len__"):
            raise UserError(f"{name}: item {id!r} needs a list of captions, not {repr(texts)[:40]}")
        for text in texts:
            if not isinstance(text, str):
                raise UserError(
                    f"{name}: item {id!r}: a caption is a string, not {text!r} of type {type(text).__name__}"
                )


def check_items(references: Mapping[str, Sequence[str]], hypotheses: Mapping[str, object]) -> None:
    """Raise UserError unless both have the same items and every one a reference."""
    neither = references.keys() ^ hypotheses.keys()
    faults = [
        ("references: no items", set() if references else {"add at least one"}, set()),
        ("hypotheses: missing for items", references.keys() - hypotheses.keys(), hypotheses.keys() & neither),
        ("references: missing for items", hypotheses.keys() - references.keys(), references.keys() & neither),
        ("references: items without a single one", {id for id in references if len(references[id]) == 0}, set()),
    ]
    for fault, ids, others in faults:
        if ids:
            raise UserError(f"{fault}: {_some(ids)}{f'; there are {_some(others)} instead' if others else ''}")


def _some(ids: Collection[str]) -> str:
    more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
    return ", ".join(sorted(ids)[:3]) + more


def bleu_statistics(references: list[list[str]], hypotheses: list[str]) -> Array:
    """BLEU's ten numbers of each item [items, 10] (see `aggregate`), of tokens joined by spaces."""
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer

    scorer = BleuScorer(n=4)
    for pair in zip(hypotheses, references, strict=True):
        scorer += pair
    rows = []
    for counts in scorer.ctest:
        length = counts["testlen"]
        _, closest = min((abs(r - length), r) for r in counts["reflen"])  # of two as close, the shorter
        rows.append([*counts["correct"], *counts["guess"], length, closest])
    return np.array(rows, dtype=np.float64)


def _rouge_statistics(references: list[list[str]], hypotheses: list[str]) -> Array:
    from pycocoevalcap.rouge.rouge import Rouge

    pairs = zip(hypotheses, references, strict=True)
    return _score_and_one([Rouge().calc_score([hypothesis], texts) for hypothesis, texts in pairs])


def _cider_statistics(references: list[list[str]], hypotheses: list[str]) -> Array:
    # The library calls it CIDEr; with its clipping and its Gaussian length penalty it is CIDEr-D. Document frequencies
    # stay those of all items in a bootstrap resample: they are part of the metric, not of the system.
    from pycocoevalcap.cider.cider_scorer import CiderScorer

    scorer = CiderScorer(n=4, sigma=6.0)
    for pair in zip(hypotheses, references, strict=True):
        scorer += pair
    return _score_and_one(scorer.compute_score()[1])


def _cider_statistics_by(frequencies: DocumentFrequencies, references: list[list[str]], hypotheses: list[str]) -> Array:
    """With document frequencies of other captions, which pycocoevalcap's scorer does not take."""
    cider = CiderD.from_captions(dict(enumerate(references)), document_frequency=frequencies)
    return _score_and_one(cider.tokenised(hypotheses, range(len(hypotheses))))


def _score_and_one(scores: Sequence[float] | Array) -> Array:
    return np.column_stack([scores, np.ones(len(scores))])


_STATISTICS = {
    "BLEU": bleu_statistics,
    "METEOR": meteor_statistics,
    "ROUGE": _rouge_statistics,
    "CIDEr": _cider_statistics,
}
