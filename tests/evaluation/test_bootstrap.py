"""The intervals and p-values mean what they say."""

import numpy as np
import pytest

from captionrl.evaluation.aggregate import aggregate
from captionrl.evaluation.bootstrap import difference_interval, interval, paired

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


def jointly(metric, ours, other, samples, seed):
    """The difference on each resample of the items, by a plain loop."""
    items = len(ours[0])
    found = []
    for counts in np.random.default_rng(seed).multinomial(items, np.full(items, 1 / items), size=samples):
        drawn = np.repeat(np.arange(items), counts)
        means = [np.mean([aggregate(metric, rows[drawn].sum(axis=0)) for rows in system]) for system in (ours, other)]
        found.append(means[0] - means[1])
    return found


def test_a_difference_is_resampled_jointly():
    rng = np.random.default_rng(0)
    ours, other = ([bleu_statistics(rng, 40, quality) for _ in range(2)] for quality in (0.7, 0.6))
    low, high = difference_interval("BLEU-4", ours, other, samples=50, seed=3)
    assert (low, high) == pytest.approx(tuple(np.percentile(jointly("BLEU-4", ours, other, 50, 3), [2.5, 97.5])))


def test_a_difference_changes_its_sign_with_the_order_of_the_pair():
    rng = np.random.default_rng(0)
    ours, other = [bleu_statistics(rng, 60, 0.7)], [bleu_statistics(rng, 60, 0.5)]
    low, high = difference_interval("BLEU-4", ours, other)
    assert difference_interval("BLEU-4", other, ours) == pytest.approx((-high, -low))
    assert 0 < low < high


def test_equal_systems_differ_by_nothing_on_any_resample():
    ours = [bleu_statistics(np.random.default_rng(0), 50, 0.6)]
    assert difference_interval("BLEU-4", ours, ours) == (0, 0)


def test_pairing_narrows_the_interval_of_a_difference():
    """On the same items hard ones are hard for both, so that a small steady difference is seen."""
    scores = np.random.default_rng(0).random(50)
    better, worse = [statistics(scores + 0.02)], [statistics(scores)]
    low, high = difference_interval(MEAN, better, worse)
    assert (low, high) == pytest.approx((2, 2))
    assert interval(MEAN, better)[0] < interval(MEAN, worse)[1]  # which the two intervals alone do not tell


def test_equal_seeds_give_equal_numbers():
    rng = np.random.default_rng(0)
    ours, baseline = [statistics(rng.random(30))], [statistics(rng.random(30))]
    assert interval(MEAN, ours, seed=3) == interval(MEAN, ours, seed=3) != interval(MEAN, ours, seed=4)
    assert paired(MEAN, ours, baseline, seed=3) == paired(MEAN, ours, baseline, seed=3)
