"""How often do the 95 % intervals of a few seeds hold the mean of other seeds?

    snakemake --config 'seeds=[1,2,3,4,5,6,7,8,9,10,11,12]' -- \\
        work/msrvtt-mini/scores/hrl/xe-baseline/seed1.json work/msrvtt-mini/scores/hrl/rl-baseline/seed1.json
    OMP_NUM_THREADS=1 python bench/intervals.py --json FILE

(One job scores all seeds of a run, so the first seed's file stands for all.) Of the scores of N seeds of two runs every
subset of K seeds gets the intervals and the p-value that a table would give it, by the same functions: of either run,
and of their difference, paired by seed. "Held" is the share of subsets whose interval holds the mean of the other N - K
seeds. Beside it the same for intervals over items alone, which know nothing of seeds.

What the share means. Both means are over the same test items, so it tests the seeds' part of an interval alone: the
items' part has nothing to allow for here, and only makes the interval wider. On the other hand, the mean of the other
seeds varies too: the difference of the two means has the variance s^2 (1/K + 1/(N - K)), and the interval allows for
s^2/K. So 95 % is not what to expect. The column "expected" is: the mean share in 4,000 simulated studies of N normal
seeds, with our seeds' standard deviation and a normal items' part as wide as ours; in brackets, where 95 % of these
studies lie. They differ that much because the subsets overlap: all are of the same N trainings. Without the items' part
an interval is the t interval of the seeds' mean; what to expect of that stands below the table. Where seeds differ
little against the items' part, every interval holds every mean, and the share says nothing.

The second table: how often p < 0.05, where the subset's difference has the sign of that of all N seeds, and where not.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from unittest.mock import patch

import numpy as np

from captionrl.errors import UserError
from captionrl.evaluation import bootstrap
from captionrl.evaluation.aggregate import Array
from captionrl.evaluation.results import Result, read_scores
from captionrl.tables.table import SAMPLES

METRICS = ("BLEU-4", "METEOR", "ROUGE-L", "CIDEr-D")  # of HRL's Table 1
STUDIES, DRAWS = 4000, 200_000  # simulated: studies, and draws of the error that an interval allows for
NORMAL = 1.96  # standard deviations on either side hold 95 % of a normal distribution

Subset = tuple[int, ...]  # places of seeds


@dataclass(frozen=True)
class Run:
    """The scores of a run's seeds on the same items."""

    name: str
    seeds: list[dict[str, Result]]

    def values(self, metric: str) -> Array:
        """Times 100, [seeds]."""
        return np.array([results[metric].value for results in self.seeds])

    def statistics(self, metric: str, subset: Subset) -> list[Array]:
        return [self.seeds[place][metric].statistics for place in subset]


@dataclass(frozen=True)
class Expectation:
    """A share in simulated studies: its mean, and the limits of 95 % of them."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Held:
    """The share of the subsets' intervals that hold the mean of the other seeds, and how wide they are on average."""

    share: float
    expected: Expectation
    width: float


@dataclass(frozen=True)
class Coverage:
    """Of one run, or of the difference of two, in one metric, by subsets of so many seeds."""

    seeds: int
    subsets: int
    what: str
    metric: str
    mean: float  # of all seeds
    deviation: float  # over all seeds
    two_levels: Held
    items_alone: Held


@dataclass(frozen=True)
class Shares:
    """The shares of subsets with p < 0.05 and a difference of the sign of all seeds' difference, and of the other."""

    same_sign: float
    other_sign: float


@dataclass(frozen=True)
class Significance:
    """Of the difference of two runs in one metric, by subsets of so many seeds."""

    seeds: int
    subsets: int
    what: str
    metric: str
    mean: float
    two_levels: Shares
    items_alone: Shares


def measure(
    run: Run, to: Run, metrics: Sequence[str], sizes: Sequence[int]
) -> tuple[list[Coverage], list[Significance]]:
    """The intervals of each run and of `run` - `to`, and the tests of the latter, by every subset of each size."""
    coverages, tests = [], []
    difference = difference_name(run, to)
    with resampled_once():
        for size in sizes:
            subsets = list(combinations(range(len(run.seeds)), size))
            for metric in metrics:
                for one in (to, run):
                    coverages.append(covered(size, one.name, metric, one.values(metric), subsets, interval_of(one)))
                values = run.values(metric) - to.values(metric)
                coverages.append(covered(size, difference, metric, values, subsets, difference_of(run, to)))
                tests.append(tested(size, difference, metric, run, to, subsets))
    return coverages, tests


def difference_name(run: Run, to: Run) -> str:
    return f"{run.name} - {to.name}"


def interval_of(run: Run) -> Callable[[str, Subset], tuple[float, float]]:
    return lambda metric, subset: bootstrap.interval(metric, run.statistics(metric, subset), SAMPLES)


def difference_of(run: Run, to: Run) -> Callable[[str, Subset], tuple[float, float]]:
    return lambda metric, subset: bootstrap.difference_interval(
        metric, run.statistics(metric, subset), to.statistics(metric, subset), SAMPLES
    )


def covered(
    size: int,
    what: str,
    metric: str,
    values: Array,
    subsets: list[Subset],
    interval: Callable[[str, Subset], tuple[float, float]],
) -> Coverage:
    """`values` [seeds] of the metric, and what makes the interval of a subset."""
    two_levels = np.array([interval(metric, subset) for subset in subsets])
    with items_alone():
        alone = np.array([interval(metric, subset) for subset in subsets])
    member = membership(len(values), size)
    others = ~member @ values / (len(values) - size)
    deviation = float(values.std(ddof=1))
    of_items = float((alone[:, 1] - alone[:, 0]).mean() / (2 * NORMAL))

    def held(bounds: Array, with_seeds: bool) -> Held:
        share = np.mean((bounds[:, 0] <= others) & (others <= bounds[:, 1]))
        simulated = expected(len(values), size, deviation, of_items, with_seeds)
        return Held(float(share), simulated, float((bounds[:, 1] - bounds[:, 0]).mean()))

    return Coverage(
        size, len(subsets), what, metric, float(values.mean()), deviation, held(two_levels, True), held(alone, False)
    )


def tested(size: int, what: str, metric: str, run: Run, to: Run, subsets: list[Subset]) -> Significance:
    values = run.values(metric) - to.values(metric)
    same = np.array([np.sign(values[list(subset)].mean()) == np.sign(values.mean()) for subset in subsets])

    def significant() -> Shares:
        p = [
            bootstrap.paired(metric, run.statistics(metric, subset), to.statistics(metric, subset), SAMPLES)
            for subset in subsets
        ]
        found = np.array(p) < 0.05
        return Shares(float(np.mean(found & same)), float(np.mean(found & ~same)))

    two_levels = significant()
    with items_alone():
        alone = significant()
    return Significance(size, len(subsets), what, metric, float(values.mean()), two_levels, alone)


def membership(seeds: int, size: int) -> np.ndarray:
    """Which seeds are in each subset, [subsets, seeds], in the order of itertools.combinations."""
    subsets = list(combinations(range(seeds), size))
    member = np.zeros((len(subsets), seeds), dtype=bool)
    np.put_along_axis(member, np.array(subsets), True, axis=1)
    return member


def expected(seeds: int, size: int, deviation: float, of_items: float, with_seeds: bool) -> Expectation:
    """The share where seeds and resampled items are normal, with these standard deviations.

    An interval reaches as far on either side as 95 % of the draws of items + t s / sqrt(K), s being its seeds'
    deviation; one over items alone as 95 % of the draws of items.
    """
    rng = np.random.default_rng(0)
    member = membership(seeds, size)
    values = rng.normal(0, deviation, (STUDIES, seeds))
    own, others = values @ member.T / size, values @ ~member.T / (seeds - size)  # means, [studies, subsets]
    if with_seeds:
        items, t = rng.normal(0, of_items, DRAWS), rng.standard_t(size - 1, DRAWS) / np.sqrt(size)
        squares = np.maximum(0, values**2 @ member.T - size * own**2)
        spread = np.sqrt(squares / (size - 1))
        places = np.linspace(0, spread.max(), 50)
        half = np.interp(spread, places, [np.quantile(np.abs(items + place * t), 0.95) for place in places])
    else:
        half = np.full(others.shape, NORMAL * of_items)
    shares = (np.abs(own - others) <= half).mean(axis=1)
    return Expectation(float(shares.mean()), *(float(limit) for limit in np.percentile(shares, [2.5, 97.5])))


@contextmanager
def resampled_once() -> Iterator[None]:
    """Score each seed's resamples once: all calls draw the same items, and seeds are averaged after that."""
    plain = bootstrap._resampled
    kept: dict[tuple[str, int, int, int], Array] = {}

    def resampled(metric: str, statistics: Sequence[Array], samples: int, seed: int) -> Array:
        found = []
        for rows in statistics:
            key = metric, id(rows), samples, seed
            if key not in kept:
                kept[key] = plain(metric, [rows], samples, seed)
            found.append(kept[key])
        return np.mean(found, axis=0)

    with patch.object(bootstrap, "_resampled", resampled):
        yield


@contextmanager
def items_alone() -> Iterator[None]:
    """Intervals and p-values as of seeds that are all there are."""
    with patch.object(bootstrap, "_shifts", lambda values, samples, seed: np.zeros((1, samples))):
        yield


def read(folder: Path, name: str, seeds: Sequence[int], metrics: Sequence[str]) -> Run:
    paths = [folder / name / f"seed{seed}.json" for seed in seeds]
    run = Run(name, [read_scores(path)[0] for path in paths])
    for path, results in zip(paths, run.seeds, strict=True):
        if missing := [metric for metric in metrics if metric not in results]:
            raise UserError(f"{path}: holds no {', '.join(missing)}; give other --metrics")
    return run


def items_of(runs: Sequence[Run], metrics: Sequence[str]) -> int:
    """How many items all seeds of all runs were scored on."""
    lists = [list(results[metrics[0]].items) for run in runs for results in run.seeds]
    if any(items != lists[0] for items in lists):
        raise UserError(f"{' and '.join(run.name for run in runs)}: scored on different items; score them again")
    return len(lists[0])


def percent(number: float) -> str:
    return f"{100 * number:.1f} %"


def simulated(expected: Expectation) -> str:
    return f"{100 * expected.mean:.1f} [{100 * expected.low:.0f}, {100 * expected.high:.0f}] %"


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines))


def coverage_table(rows: Sequence[Coverage]) -> str:
    kinds = [f"{kind}: {column}" for kind in ("two levels", "items alone") for column in ("held", "expected", "width")]
    head = ["seeds", "of", "metric", "mean ± sd of all seeds", *kinds]
    lines = []
    for row in rows:
        line = [str(row.seeds), row.what, row.metric, f"{row.mean:.2f} ± {row.deviation:.2f}"]
        for held in (row.two_levels, row.items_alone):
            line += [percent(held.share), simulated(held.expected), f"{held.width:.2f}"]
        lines.append(line)
    return table(head, lines)


def significance_table(rows: Sequence[Significance]) -> str:
    kinds = [f"{kind}: {sign} sign" for kind in ("two levels", "items alone") for sign in ("same", "other")]
    lines = []
    for row in rows:
        line = [str(row.seeds), row.metric, f"{row.mean:+.2f}"]
        for found in (row.two_levels, row.items_alone):
            line += [percent(found.same_sign), percent(found.other_sign)]
        lines.append(line)
    return table(["seeds", "metric", "difference of all seeds", *kinds], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = Path("work/msrvtt-mini/scores/hrl")
    parser.add_argument("--scores", type=Path, default=folder, help="holds RUN/seedK.json (default: %(default)s)")
    parser.add_argument("--run", default="rl-baseline", help="(default: %(default)s)")
    parser.add_argument("--to", default="xe-baseline", help="what --run is compared with (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(1, 13)), help="(default: 1 to 12)")
    sizes = "how many seeds the subsets have (default: 3 2 5)"
    parser.add_argument("--subsets", type=int, nargs="+", default=[3, 2, 5], help=sizes)
    parser.add_argument("--metrics", nargs="+", default=METRICS, help=f"(default: {' '.join(METRICS)})")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    args = parser.parse_args()
    seeds = list(dict.fromkeys(args.seeds))
    if not all(2 <= size < len(seeds) for size in args.subsets):
        parser.error(f"--subsets: of {len(seeds)} seeds, have at least 2 and leave at least 1")
    try:
        run, to = (read(args.scores, name, seeds, args.metrics) for name in (args.run, args.to))
        items = items_of((run, to), args.metrics)
    except UserError as error:
        sys.exit(f"error: {error}")
    coverages, tests = measure(run, to, args.metrics, args.subsets)
    of_seeds = {size: expected(len(seeds), size, 1.0, 0.0, True) for size in args.subsets}
    subsets = ", ".join(f"{row.subsets} of {row.seeds}" for row in tests if row.metric == args.metrics[0])
    of_seeds_text = "; ".join(f"{size} seeds {simulated(found)}" for size, found in of_seeds.items())
    print(
        f"{len(seeds)} seeds of {run.name} and {to.name}, {items} items, {SAMPLES} resamples; subsets: {subsets}. "
        f"Scores and widths are times 100.\n\n{coverage_table(coverages)}\n\n"
        f"Expected of the t interval of the seeds' mean, without items: {of_seeds_text}.\n\n"
        f"Subsets with p < 0.05 for {difference_name(run, to)}:\n\n{significance_table(tests)}"
    )
    if args.json:
        facts = {"scores": str(args.scores), "run": run.name, "to": to.name, "seeds": seeds, "items": items}
        figures = {
            "resamples": SAMPLES,
            "rows": [asdict(row) for row in coverages],
            "significant": [asdict(row) for row in tests],
            "expected_of_seeds_alone": {str(size): asdict(found) for size, found in of_seeds.items()},
        }
        args.json.write_text(json.dumps(facts | figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
