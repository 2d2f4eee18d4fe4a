"""Two-level 95 % intervals and p-values: what other test items, and other trainings, would have given.

Items are resampled with replacement, the same ones for all seeds and systems (paired bootstrap, Koehn 2004). Seeds are
too few to be resampled: three values drawn from three vary by a third too little, and never beyond the three. So each
resample of the items is shifted by s / sqrt(K) * t instead, where s is the standard deviation of the K seeds' scores
and t is drawn from Student's distribution with K - 1 degrees of freedom. With equal items this is the t interval of the
seeds' mean, with equal seeds the percentile bootstrap over items. A single seed tells nothing of other trainings: the
interval is then over items alone.

Seed k of one system is paired with seed k of another, from whose weights it may have started.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from captionrl.errors import UserError
from captionrl.evaluation.aggregate import Array, aggregate

SHIFTS = 20  # of each resample of the items
KEPT = 2**26  # numbers: half a gigabyte


def interval(metric: str, statistics: Sequence[Array], samples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The 2.5 and 97.5 percentiles of the seed-averaged metric.

    `statistics` holds one array [items, k] a training seed, rows in the same order of items.
    """
    resampled = _resampled(metric, statistics, samples, seed)
    return _percentiles(resampled + _shifts(_values(metric, statistics), samples, seed))


def difference_interval(
    metric: str, ours: Sequence[Array], other: Sequence[Array], samples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Likewise, of the difference between two systems on the same items, drawn jointly for both."""
    return _percentiles(np.add(*_differences(metric, ours, other, samples, seed)))


def paired(metric: str, ours: Sequence[Array], baseline: Sequence[Array], samples: int = 1000, seed: int = 0) -> float:
    """Two-sided p-value of the difference of the seed-averaged metric between two systems on the same items.

    With d the difference on all items, d_b that on resample b, and u_b the seeds' shift, the d_b minus their mean, plus
    u_b, stand for the difference where there is none, so

        p = (1 + #{b: |d_b - mean(d) + u_b| >= |d|}) / (1 + samples)

    with the count averaged over the shifts of a resample; it is never 0. For single seeds this is sacreBLEU's paired
    bootstrap but for two points: it compares |d_b| minus its mean, which is one-sided, and it counts > where we count
    >=, so that there a system differs from itself and here p = 1.
    """
    resampled, shifts = _differences(metric, ours, baseline, samples, seed)
    difference = np.mean(_values(metric, ours) - _values(metric, baseline))
    extreme = np.abs(resampled - resampled.mean() + shifts) >= abs(difference)
    return float((1 + extreme.sum(axis=1).mean()) / (1 + samples))


def seed_deviation(values: Sequence[float]) -> float | None:
    """The standard deviation of the seeds' scores; None of a single one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _differences(
    metric: str, ours: Sequence[Array], other: Sequence[Array], samples: int, seed: int
) -> tuple[Array, Array]:
    """The difference on each resample of the items, [samples], and the seeds' shifts, [SHIFTS, samples]."""
    if len(ours) != len(other):
        raise UserError(f"{len(ours)} seeds cannot be compared with {len(other)}; give the scores of the same seeds")
    resampled = _resampled(metric, ours, samples, seed) - _resampled(metric, other, samples, seed)
    return resampled, _shifts(_values(metric, ours) - _values(metric, other), samples, seed)


def _values(metric: str, statistics: Sequence[Array]) -> Array:
    """The metric of each seed, [seeds]."""
    return np.array([aggregate(metric, rows.sum(axis=0)) for rows in statistics])


def _resampled(metric: str, statistics: Sequence[Array], samples: int, seed: int) -> Array:
    """The seed-averaged metric on each resample of the items, [samples]. Equal `seed`s draw equal items."""
    items = len(statistics[0])
    counts = (_counts if items * samples <= KEPT else _counts.__wrapped__)(items, samples, seed)
    return np.mean([aggregate(metric, counts @ rows) for rows in statistics], axis=0)


@lru_cache(maxsize=1)
def _counts(items: int, samples: int, seed: int) -> Array:
    """How often each resample has each item, [samples, items]: the same for all metrics and systems of a table."""
    return np.random.default_rng(seed).multinomial(items, np.full(items, 1 / items), size=samples).astype(np.float64)


def _shifts(values: Array, samples: int, seed: int) -> Array:
    """What other trainings would change, [SHIFTS, samples], by the scores of the seeds; zero of a single one."""
    if len(values) == 1:
        return np.zeros((1, samples))
    t = np.random.default_rng([seed, len(values)]).standard_t(len(values) - 1, size=(SHIFTS, samples))
    return t * values.std(ddof=1) / np.sqrt(len(values))


def _percentiles(resampled: Array) -> tuple[float, float]:
    low, high = np.percentile(resampled, [2.5, 97.5])
    return float(low), float(high)
