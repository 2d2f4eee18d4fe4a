"""The intervals and p-values mean what they say."""

import numpy as np
import pytest

from captionrl.errors import UserError
from captionrl.evaluation import bootstrap
from captionrl.evaluation.aggregate import aggregate
from captionrl.evaluation.bootstrap import difference_interval, interval, paired, seed_deviation

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
    scores = np.random.default_rng(0).permutation(np.tile([0.2, 0.8], 25))  # both seeds score 50
    low, high = interval(MEAN, [statistics(scores), statistics(1 - scores)])
    assert (low, high) == pytest.approx((50, 50))


T_975 = {2: 4.303, 4: 2.776}  # of Student's distribution, by degrees of freedom


@pytest.mark.parametrize("seeds", [3, 5])
def test_where_items_are_alike_it_is_the_t_interval_of_the_seeds_mean(seeds):
    scores = np.linspace(0.4, 0.6, seeds)
    low, high = interval(MEAN, [statistics(np.full(40, score)) for score in scores], samples=5000)
    half = 100 * T_975[seeds - 1] * scores.std(ddof=1) / np.sqrt(seeds)
    assert (low, high) == pytest.approx((50 - half, 50 + half), abs=0.04 * half)


def test_where_seeds_are_equal_it_is_that_of_one_seed():
    rows = statistics(np.random.default_rng(0).random(50))
    assert interval(MEAN, [rows] * 3) == pytest.approx(interval(MEAN, [rows]))


def trainings(rng, seeds, items, truth=0.5):
    """Scores of trainings that differ as a whole (sd 0.02), of items that differ (0.15), and of both (0.1)."""
    own, of_items = rng.normal(0, 0.02, (seeds, 1)), rng.normal(0, 0.15, items)
    return [statistics(scores) for scores in truth + own + of_items + rng.normal(0, 0.1, (seeds, items))]


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_intervals_cover_the_mean_of_other_trainings_on_other_items(seeds):
    """At least nineteen times in twenty, up to the noise of 400 draws; over items alone it would be less than 80 %."""
    rng = np.random.default_rng(seeds)
    draws = [trainings(rng, seeds, 300) for _ in range(400)]
    bounds = np.array([interval(MEAN, draw, samples=200) for draw in draws])
    assert 0.925 < np.mean((bounds[:, 0] < 50) & (bounds[:, 1] > 50)) < 0.995
    alone = np.array([interval(MEAN, [np.mean(draw, axis=0)], samples=200) for draw in draws])
    assert np.mean((alone[:, 0] < 50) & (alone[:, 1] > 50)) < 0.8


def test_equally_good_systems_of_three_trainings_differ_once_in_twenty_at_most():
    rng = np.random.default_rng(1)
    pairs = [(trainings(rng, 3, 100), trainings(rng, 3, 100)) for _ in range(300)]
    assert 0.005 < np.mean([paired(MEAN, *pair, samples=200) <= 0.05 for pair in pairs]) < 0.075


def test_seeds_are_paired():
    """What training both systems of a seed share does not widen their difference."""
    rng = np.random.default_rng(0)
    shared = rng.normal(0.5, 0.1, 3)
    items = rng.normal(0, 0.1, 60)
    better, worse = ([statistics(own + items + gain) for own in shared] for gain in (0.02, 0))
    assert difference_interval(MEAN, better, worse) == pytest.approx((2, 2))
    assert paired(MEAN, better, worse) < 0.01


def test_other_numbers_of_seeds_are_refused():
    rows = statistics(np.random.default_rng(0).random(9))
    for compare in (difference_interval, paired):
        with pytest.raises(UserError, match="2 seeds cannot be compared with 3; give the scores of the same seeds"):
            compare(MEAN, [rows] * 2, [rows] * 3)


def test_the_deviation_of_seeds_is_that_of_a_sample():
    assert seed_deviation([1.0, 2.0, 3.0]) == 1
    assert seed_deviation([1.0]) is None


def jointly(metric, ours, other, samples, seed):
    """The difference on each resample of the items, by a plain loop."""
    items = len(ours)
    found = []
    for counts in np.random.default_rng(seed).multinomial(items, np.full(items, 1 / items), size=samples):
        drawn = np.repeat(np.arange(items), counts)
        found.append(aggregate(metric, ours[drawn].sum(axis=0)) - aggregate(metric, other[drawn].sum(axis=0)))
    return found


def test_a_difference_is_resampled_jointly():
    rng = np.random.default_rng(0)
    ours, other = (bleu_statistics(rng, 40, quality) for quality in (0.7, 0.6))
    low, high = difference_interval("BLEU-4", [ours], [other], samples=50, seed=3)
    assert (low, high) == pytest.approx(tuple(np.percentile(jointly("BLEU-4", ours, other, 50, 3), [2.5, 97.5])))


def test_equal_resamples_are_drawn_once_unless_they_are_too_many_to_keep(monkeypatch):
    rng = np.random.default_rng(0)
    ours, other = ([bleu_statistics(rng, 40, quality)] for quality in (0.7, 0.6))

    def numbers():
        bootstrap._counts.cache_clear()
        found = [call("BLEU-4", ours, other, 50) for call in (difference_interval, paired)]
        return found, bootstrap._counts.cache_info().misses

    kept = numbers()
    monkeypatch.setattr(bootstrap, "KEPT", 40 * 50 - 1)
    assert (kept[1], *numbers()) == (1, kept[0], 0)


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
