"""The intervals and p-values mean what they say."""

import numpy as np
import pytest

from captionrl.evaluation.aggregate import aggregate
from captionrl.evaluation.bootstrap import interval, paired

MEAN = "ROUGE-L"  # a mean over items: the cheapest metric there is


def statistics(scores):
    return np.column_stack([scores, np.ones(len(scores))])


def bleu_statistics(rng, items, quality):
    """BLEU's 10 columns of captions of 8 words of which about `quality` match."""
    guesses = np.array([8, 7, 6, 5])
    matches = rng.binomial(guesses, quality ** np.arange(1, 5), size=(items, 4))
    return np.column_stack([matches, np.tile(guesses, (items, 1)), np.full(items, 8), np.full(items, 8)]).astype(float)


def test_a_system_does_not_differ_from_itself():
    rng = np.random.default_rng(0)
    assert paired(MEAN, [statistics(rng.random(50))] * 2, [statistics(np.ones(50))] * 2) < 0.01
    ours = [bleu_statistics(rng, 50, 0.6)]
    assert paired("BLEU-4", ours, ours) == 1


def test_a_better_system_differs_however_the_pair_is_ordered():
    rng = np.random.default_rng(0)
    good, bad = [bleu_statistics(rng, 100, 0.7)], [bleu_statistics(rng, 100, 0.5)]
    assert paired("BLEU-4", good, bad) == paired("BLEU-4", bad, good) == pytest.approx(1 / 1001)


def test_pairing_sees_a_small_shift_of_every_item():
    scores = np.random.default_rng(0).random(50)
    shift = np.random.default_rng(1).normal(0.02, 0.02, size=50)
    assert paired(MEAN, [statistics(scores + shift)], [statistics(scores)]) < 0.01


def test_under_the_null_one_in_twenty_is_rejected():
    rng = np.random.default_rng(0)
    draws = rng.random((600, 2, 80))
    rejected = [paired(MEAN, [statistics(a)], [statistics(b)], samples=400) <= 0.05 for a, b in draws]
    assert 0.03 < np.mean(rejected) < 0.08


def test_intervals_cover_the_truth_nineteen_times_in_twenty():
    rng = np.random.default_rng(0)
    bounds = np.array([interval(MEAN, [statistics(rng.random(80))], samples=400) for _ in range(600)])
    assert 0.92 < np.mean((bounds[:, 0] < 50) & (bounds[:, 1] > 50)) < 0.97


def test_resamples_of_bleu_are_scored_as_a_corpus_not_as_a_mean():
    rows = bleu_statistics(np.random.default_rng(0), 200, 0.6)
    low, high = interval("BLEU-4", [rows])
    assert low < aggregate("BLEU-4", rows.sum(axis=0)) < high
    assert not low < aggregate("BLEU-4", rows).mean() < high


def test_seeds_are_averaged_on_the_same_items():
    """Two seeds whose errors cancel item by item leave nothing for the choice of items to vary."""
    scores = np.random.default_rng(0).random(50)
    low, high = interval(MEAN, [statistics(scores), statistics(1 - scores)])
    assert (low, high) == pytest.approx((50, 50))


def test_equal_seeds_give_equal_numbers():
    rng = np.random.default_rng(0)
    ours, baseline = [statistics(rng.random(30))], [statistics(rng.random(30))]
    assert interval(MEAN, ours, seed=3) == interval(MEAN, ours, seed=3) != interval(MEAN, ours, seed=4)
    assert paired(MEAN, ours, baseline, seed=3) == paired(MEAN, ours, baseline, seed=3)
