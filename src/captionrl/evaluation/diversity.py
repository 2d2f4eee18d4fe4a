"""Metrics of sets of captions: how diverse a system's captions of one item are, and how good on average.

Chen and Jin 2020 (SLE), section 3.2, after Shetty et al. 2017 ("Speaking the same language"); self-CIDEr is from Wang
and Chan 2019 ("Describing like humans"). Every metric but mBleu-4-corpus is a score of each item's set, and a corpus
has the mean over its items. Published numbers may divide differently: Div-n over the n-grams instead of the words, or
over the words of the whole corpus; mBleu by sentence (mBleu-4) or by corpus (mBleu-4-corpus).
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version

import numpy as np

import captionrl
from captionrl.config.tables import SET_METRICS
from captionrl.datasets.corpus import split_hash
from captionrl.errors import UserError
from captionrl.evaluation.aggregate import Array, aggregate
from captionrl.evaluation.metrics import bleu_statistics, check_items, tokenize_systems
from captionrl.evaluation.results import Result, reference_count
from captionrl.rewards import Bleu, CiderD, DocumentFrequencies
from captionrl.rewards.ngrams import ORDERS

Tokens = Sequence[str]  # of a caption
Sets = Sequence[Sequence[Tokens]]  # S captions of each item
PAIRS = 20_000  # captions beside another of their set, in memory at a time: 3 KB each


def evaluate_sets(
    references: Mapping[str, Sequence[str]],
    systems: Sequence[Mapping[str, Sequence[str]]],
    metrics: Collection[str] = SET_METRICS,
) -> list[dict[str, Result]]:
    """Score the raw captions of each system, a set of S an item, and any number of references; values times 100.

    Captions are PTB-tokenised and stripped of punctuation, as `evaluate` does. Raises UserError when the items of both
    do not match, an item has no reference, or the sets are not all of one size of at least 2.
    """
    if unknown := [metric for metric in metrics if metric not in SET_METRICS]:
        raise UserError(f"metrics: unknown {', '.join(map(repr, unknown))}; choose from {', '.join(SET_METRICS)}")
    for sets in systems:
        check_items(references, sets)
    sizes = [_size(sets) for sets in systems]
    references_of_items, sets_of_systems = tokenize_systems(references, systems)
    ids = sorted(references)

    results: list[dict[str, Result]] = [{} for _ in systems]
    for metric in SET_METRICS:
        if metric not in metrics:
            continue
        for result, sets_of_items, size in zip(results, sets_of_systems, sizes, strict=True):
            if metric == "mBleu-4-corpus":
                rows = mutual_bleu_statistics(sets_of_items)
            else:
                scores = score_sets(metric, sets_of_items, references_of_items)
                rows = np.column_stack([scores, np.ones(len(scores))])  # a mean over items, for `aggregate`
            result[metric] = Result(
                metric=metric,
                value=float(aggregate(metric, rows.sum(axis=0))),
                items=dict(zip(ids, aggregate(metric, rows).tolist(), strict=True)),
                statistics=rows,
                signature=set_signature(metric, references, size),
            )
    return results


def score_sets(metric: str, sets: Sets, references: Sets) -> Array:
    """One of SET_METRICS but mBleu-4-corpus of each item [items], from tokens; 0 to 1, and CIDEr-D 0 to 10."""
    match metric:
        case "CIDEr-D-first":
            return mean_cider([captions[:1] for captions in sets], references)
        case "Div-1":
            return distinct(sets, 1)
        case "Div-2":
            return distinct(sets, 2)
        case "mBleu-4":
            return mutual_bleu(sets)
        case "self-CIDEr":
            return self_cider(sets, references)
        case _:
            return mean_cider(sets, references)


def set_signature(metric: str, references: Mapping[str, Sequence[str]], size: int) -> str:
    """Everything a value depends on besides the captions, on one line."""
    fields = [
        metric,
        "tok:ptb-coco",
        f"set:{size}",
        *([reference_count([len(captions) for captions in references.values()])] if "CIDEr" in metric else []),
        f"items:{len(references)}",
        *(["df:references of these items", "eos:no"] if "CIDEr" in metric else []),
        f"split:{split_hash(references)[:8]}",
        f"lib:pycocoevalcap-{version('pycocoevalcap')}",
        f"version:{captionrl.__version__}",
    ]
    return "|".join(fields)


def distinct(sets: Sets, order: int) -> Array:
    """Div-`order` of each set [items]: its different n-grams over its words; 0 for a set without a word."""
    scores = []
    for captions in sets:
        different = {ngram for caption in captions for ngram in _ngrams(caption, order)}
        scores.append(len(different) / max(1, sum(map(len, captions))))
    return np.array(scores)


def mutual_bleu(sets: Sets) -> Array:
    """mBleu-4 of each set [items]: the mean of the sentence BLEU-4 of each caption against all others of its set.

    BLEU is pycocoevalcap's to 1e-9: an empty caption scores 0, and equal captions below 4 words nearly so, since they
    have no 4-gram in common.
    """
    step = max(1, PAIRS // len(sets[0]) ** 2)
    parts = (_mutual_bleu(sets[first : first + step]) for first in range(0, len(sets), step))
    return np.concatenate(list(parts))


def _mutual_bleu(sets: Sets) -> Array:
    rest = {
        (item, place): [*captions[:place], *captions[place + 1 :]]
        for item, captions in enumerate(sets)
        for place in range(len(captions))
    }
    bleu = Bleu.from_captions(rest)
    captions = [caption for captions in sets for caption in captions]
    return bleu.tokenised(captions, list(rest)).reshape(len(sets), -1).mean(1)


def mutual_bleu_statistics(sets: Sets) -> Array:
    """What `aggregate` makes mBleu-4-corpus of [items, 10 S]: of each of the S captions of a set, BLEU's ten numbers.

    mBleu-4-corpus is the mean over k of the corpus BLEU-4 of all items' k-th captions against the others of their sets
    (Shetty et al. 2017). Unlike mBleu-4, no single caption has a score: a set without a common 4-gram adds to the
    n-grams of the corpus instead of scoring 0.
    """
    size = len(sets[0])
    texts = [[" ".join(caption) for caption in captions] for captions in sets]
    return np.hstack(
        [
            bleu_statistics(
                [[*captions[:place], *captions[place + 1 :]] for captions in texts],
                [captions[place] for captions in texts],
            )
            for place in range(size)
        ]
    )


def mean_cider(sets: Sets, references: Sets) -> Array:
    """The mean CIDEr-D of the captions of each set [items], 0 to 10; df of these references.

    Equal to the mean of what `evaluate` gives for every item's first captions, its second captions, and so on.
    """
    captions = [caption for captions in sets for caption in captions]
    items = np.repeat(np.arange(len(sets)), [len(captions) for captions in sets])
    scores = CiderD.from_captions(dict(enumerate(references))).tokenised(captions, items.tolist())
    return scores.reshape(len(sets), -1).mean(1)


def self_cider(sets: Sets, references: Sets) -> Array:
    """Self-CIDEr diversity of each set [items], from 0 (its captions are equal) to 1 (they share no n-gram).

    With K the CIDEr between the S captions of a set, [S, S], and its eigenvalues l_1 >= ... >= l_S (section 3.2):

        -log_S( sqrt(l_1) / sum_i sqrt(l_i) )

    CIDEr here is plain CIDEr, the mean over n = 1..4 of the cosine of two captions' tf-idf of n-grams, as in the
    authors' code: CIDEr-D's clipping and length penalty would make K no kernel. Their document frequencies are those
    of COCO's training captions; ours are those of the references of the items scored, as for CIDEr-D. A set without
    a word of weight scores 0. Captions below 4 words lack the longer n-grams, hence sets of such stay below 1.
    """
    frequencies = DocumentFrequencies.from_captions(dict(enumerate(references)))
    return np.array([_self_cider(captions, frequencies) for captions in sets])


def _self_cider(captions: Sequence[Tokens], frequencies: DocumentFrequencies) -> float:
    # K = V V' / 4 for the unit vectors V: its eigenvalues' roots are V's singular values, without rounding twice.
    vectors = np.hstack([_unit_vectors(captions, order, frequencies) for order in range(1, ORDERS + 1)])
    roots = np.linalg.svd(vectors, compute_uv=False)
    return math.log(roots.sum() / roots[0]) / math.log(len(captions)) if roots.any() else 0.0


def _unit_vectors(captions: Sequence[Tokens], order: int, frequencies: DocumentFrequencies) -> Array:
    """The captions' tf-idf of n-grams, each of length 1, or 0 where a caption has none: [S, different n-grams]."""
    counts = [Counter(_ngrams(caption, order)) for caption in captions]
    ngrams = sorted(set().union(*counts))
    idf = [math.log(frequencies.documents) - math.log(max(1.0, frequencies.counts.get(g, 0.0))) for g in ngrams]
    vectors = np.array([[count[ngram] for ngram in ngrams] for count in counts], dtype=np.float64) * idf
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms > 0, norms, 1)


def _ngrams(caption: Tokens, order: int) -> list[tuple[str, ...]]:
    return [tuple(caption[start : start + order]) for start in range(len(caption) - order + 1)]


def _size(sets: Mapping[str, Sequence[str]]) -> int:
    """How many captions every item has; UserError unless all have as many, and at least 2."""
    first, size = next((id, len(captions)) for id, captions in sets.items())
    if size < 2:
        raise UserError(f"sets: {first!r} has {size} captions; diversity is that of at least 2")
    for id, captions in sets.items():
        if len(captions) != size:
            raise UserError(f"sets: {id!r} has {len(captions)} captions, but {first!r} has {size}; give all as many")
    return size
