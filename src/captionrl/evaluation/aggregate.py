"""From sufficient statistics to a score: one formula for one item, for the corpus and for a bootstrap resample.

Every metric here depends on its items only through a sum of per-item statistics. So a resample of the items is a row
of counts, `counts [samples, items] @ statistics [items, k]` are the statistics of all resamples, and `aggregate` scores
them at once: no caption is ever scored twice.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr-D")


def aggregate(metric: str, sums: Array) -> Array:
    """The score (times 100, as papers print it) of summed statistics [..., k]; shape [...].

    k = 10 for BLEU (clipped matches of 1- to 4-grams, n-grams guessed, test length, closest reference length), 23 for
    METEOR (what its jar prints), 2 for ROUGE-L, CIDEr-D, SPICE, Embedding and the metrics of sets of captions (score,
    1: they are means over items), but 10 for each of a set's captions for mBleu-4-corpus, the mean of their BLEU-4, 3
    for boundary-F1 (boundaries rightly found, wrongly found, missed).
    """
    if metric.startswith("BLEU-"):
        return 100 * _bleu(sums, order=int(metric[-1]))
    if metric == "mBleu-4-corpus":
        return 100 * _bleu(sums.reshape(*sums.shape[:-1], -1, 10), order=4).mean(-1)
    if metric == "METEOR":
        return 100 * _meteor(sums)
    if metric == "boundary-F1":
        right, wrong, missed = np.moveaxis(sums, -1, 0)
        return 200 * right / np.maximum(1, 2 * right + wrong + missed)
    return 100 * sums[..., 0] / sums[..., 1]


def _bleu(sums: Array, order: int) -> Array:
    matches, guesses = sums[..., 0:4], sums[..., 4:8]
    test_length, reference_length = sums[..., 8], sums[..., 9]
    small, tiny = 1e-9, 1e-15  # coco-caption's guards against 0/0, kept to the digit
    precision = np.prod(((matches + tiny) / (guesses + small))[..., :order], axis=-1) ** (1 / order)
    ratio = (test_length + tiny) / (reference_length + small)
    return precision * np.exp(np.minimum(0, 1 - 1 / ratio))


# METEOR 1.5's parameters for English (Denkowski and Lavie 2014, table 1); stages: exact, stem, synonym, paraphrase.
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
STAGE_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])


def _meteor(sums: Array) -> Array:
    """The jar's MeteorScorer.computeMetrics.

    Its 23 columns, t for test and r for reference: length t r, function words t r, then for each of the four stages
    the words matched: content t r, function t r; then chunks, and all words matched t r.
    """
    length, function_words = sums[..., 0:2], sums[..., 2:4]
    matches = np.einsum("...sc,s->...c", sums[..., 4:20].reshape(*sums.shape[:-1], 4, 4), STAGE_WEIGHTS)
    chunks, matched = sums[..., 20], sums[..., 21:23].mean(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):  # nothing matched, or empty: NaN, which scores 0
        weighted_length = DELTA * (length - function_words) + (1 - DELTA) * function_words
        weighted_matches = DELTA * matches[..., 0:2] + (1 - DELTA) * matches[..., 2:4]
        precision, recall = np.moveaxis(weighted_matches / weighted_length, -1, 0)
        f_mean = 1 / ((1 - ALPHA) / precision + ALPHA / recall)
        penalty = GAMMA * (chunks / matched) ** BETA
        return np.fmax(0, f_mean * (1 - penalty))


def without_perfect_chunks(statistics: Array) -> Array:
    """METEOR statistics [items, 23] in which an item matched as a whole, in one chunk, counts no chunk.

    A perfect item pays no fragmentation penalty, and the jar leaves its chunk out of the corpus' sum too
    (MeteorStats.addStats). A 0 in the column says both.
    """
    statistics = statistics.copy()
    stages = statistics[:, 4:20].reshape(-1, 4, 4).sum(axis=1)
    matched = stages[:, 0:2] + stages[:, 2:4]
    perfect = (matched == statistics[:, 0:2]).all(axis=1) & (statistics[:, 20] == 1)
    statistics[perfect, 20] = 0
    return statistics
