"""Bootstrap over items: a 95 % interval of one system, a p-value for two (Koehn 2004).

Items are drawn with replacement. Of a run with several seeds every resample takes the same items for each seed, and
the metric is averaged over seeds: the interval speaks of other test items, not of other seeds.
"""

from collections.abc import Sequence

import numpy as np

from captionrl.evaluation.aggregate import Array, aggregate


def interval(metric: str, statistics: Sequence[Array], samples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The 2.5 and 97.5 percentiles of the seed-averaged metric over resamples of the items.

    `statistics` holds one array [items, k] a training seed, rows in the same order of items.
    """
    low, high = np.percentile(_resampled(metric, statistics, samples, seed), [2.5, 97.5])
    return float(low), float(high)


def difference_interval(
    metric: str, ours: Sequence[Array], other: Sequence[Array], samples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Likewise, of the difference between two systems on the same items, drawn jointly for both."""
    resampled = _resampled(metric, ours, samples, seed) - _resampled(metric, other, samples, seed)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return float(low), float(high)


def paired(metric: str, ours: Sequence[Array], baseline: Sequence[Array], samples: int = 1000, seed: int = 0) -> float:
    """Two-sided p-value of the difference of the seed-averaged metric between two systems on the same items.

    With d the difference on all items and d_b that on resample b, drawn jointly for both systems, the d_b minus their
    mean stand for the difference where there is none, so

        p = (1 + #{b: |d_b - mean(d)| >= |d|}) / (1 + samples)

    which is never 0. This is sacreBLEU's paired bootstrap but for two points: it compares |d_b| minus its mean, which
    is one-sided, and it counts > where we count >=, so that there a system differs from itself and here p = 1.
    """
    difference = _value(metric, ours) - _value(metric, baseline)
    resampled = _resampled(metric, ours, samples, seed) - _resampled(metric, baseline, samples, seed)
    extreme = np.abs(resampled - resampled.mean()) >= abs(difference)
    return float((1 + extreme.sum()) / (1 + samples))


def _value(metric: str, statistics: Sequence[Array]) -> float:
    return float(np.mean([aggregate(metric, rows.sum(axis=0)) for rows in statistics]))


def _resampled(metric: str, statistics: Sequence[Array], samples: int, seed: int) -> Array:
    """The seed-averaged metric on each resample, [samples]. Equal `seed`s draw equal items."""
    items = len(statistics[0])
    counts = np.random.default_rng(seed).multinomial(items, np.full(items, 1 / items), size=samples)
    return np.mean([aggregate(metric, counts.astype(np.float64) @ rows) for rows in statistics], axis=0)
