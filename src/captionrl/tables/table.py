"""A paper's table: cited numbers and ours, with intervals, tests and the provenance of every cell."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from captionrl.config import Comparison, Paper, Row, Table, decoded_as
from captionrl.errors import UserError
from captionrl.evaluation.aggregate import Array
from captionrl.evaluation.bootstrap import difference_interval, interval, paired, seed_deviation
from captionrl.evaluation.results import read_scores
from captionrl.provenance import commit

SAMPLES = 2000  # bootstrap resamples
# Printed between 0 and 1; all other metrics times 100.
SHARES = ("Div-1", "Div-2", "mBleu-4", "mBleu-4-corpus", "self-CIDEr")


@dataclass(frozen=True)
class Cell:
    """A number of ours: the mean over seeds, its 95 % interval over seeds and items, p against baseline and control."""

    value: float
    sd: float | None  # standard deviation over seeds; None: one seed
    low: float
    high: float
    p: float | None  # None: it is that run itself, or there is no control
    p_control: float | None


@dataclass(frozen=True)
class Line:
    """One method's row: our cells, where there is a run of ours, and the cited numbers, where there are some."""

    row: Row
    cells: dict[str, Cell]
    missing: dict[str, str]  # why we have no number of a metric
    cited: dict[str, float]
    seeds: int
    features: str  # the backbone whose features our system sees


@dataclass(frozen=True)
class Difference:
    """A metric of one run minus that of another: the mean over seeds, its 95 % interval over seeds and items, p."""

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Built:
    """A whole table, ready to be written in any format."""

    paper: Paper
    table: Table
    scale: str
    origin: str  # what the corpus was read from
    items: int
    split_items: int  # how many the split has: those without features have no captions to score
    lines: list[Line]
    comparisons: list[tuple[Comparison, dict[str, Difference]]]


def build(
    paper: Paper, name: str, scale: str, origin: str, scores: dict[str, list[Path]], split_items: int | None = None
) -> tuple[Built, list[dict[str, Any]]]:
    """The table and the provenance of its cells, from each system's score files, one a seed.

    `split_items`: how many test items the corpus has, if more than are scored.
    """
    if name not in paper.tables:
        raise UserError(f"papers/{paper.paper}: tables: no {name!r}; there are {', '.join(paper.tables)}")
    table = paper.tables[name]
    if unscored := set(paper.systems_of(name)) - scores.keys():
        raise UserError(f"{paper.paper}/{name}: no scores of {', '.join(sorted(unscored))}; give them too")
    scores = {run: sorted(paths) for run, paths in scores.items()}  # seed k beside seed k
    read = {run: [read_scores(path) for path in paths] for run, paths in scores.items()}
    unavailable: dict[str, str] = {}  # what could not be computed here, for all systems alike
    for system, paths in scores.items():
        for path, (results, facts) in zip(paths, read[system], strict=True):
            unavailable |= facts.get("unavailable", {})
            if missing := [metric for metric in table.metrics if metric not in results.keys() | unavailable.keys()]:
                raise UserError(f"{path}: holds no {', '.join(missing)}; score the predictions again")
    _same_items(scores, read)
    _same_seeds(scores, read)
    measured = [metric for metric in table.metrics if metric not in unavailable]

    def statistics(system: str, metric: str) -> list[Array]:
        return [results[metric].statistics for results, _ in read[system]]

    lines, provenance = [], []
    for row in table.rows:
        cells: dict[str, Cell] = {}
        seeds = read[row.run] if row.run else []
        its_baseline, its_control = (
            decoded_as(run, row.run or "") if run else None for run in (table.baseline, row.control or table.control)
        )
        for metric in measured if row.run else ():
            ours = statistics(str(row.run), metric)
            values = [results[metric].value * _unit(metric) for results, _ in seeds]
            low, high = (number * _unit(metric) for number in interval(metric, ours, SAMPLES))
            p, p_control = (
                paired(metric, ours, statistics(run, metric), SAMPLES) if run and run != row.run else None
                for run in (its_baseline, its_control)
            )
            cells[metric] = Cell(float(np.mean(values)), seed_deviation(values), low, high, p, p_control)
            provenance.append(
                {
                    "table": f"{paper.paper}/{name}",
                    "scale": scale,
                    "corpus": table.corpus,
                    "method": row.method,
                    "run": row.run,
                    "metric": metric,
                    **asdict(cells[metric]),
                    "p_against": its_baseline,
                    "p_control_against": its_control,
                    "bootstrap_samples": SAMPLES,
                    "signature": seeds[0][0][metric].signature,
                    "seeds": [{**facts, "value": results[metric].value * _unit(metric)} for results, facts in seeds],
                    "commit": commit(),
                    "recompute": f"snakemake --config scale={scale} -- results/{scale}/{paper.paper}/{name}.csv",
                }
            )
        absent = {str(metric): unavailable[metric] for metric in table.metrics if row.run and metric in unavailable}
        printed = zip(map(str, table.metrics), row.cited or [None] * len(table.metrics), strict=True)
        cited = {metric: number for metric, number in printed if number is not None}
        features = ", ".join(dict.fromkeys(facts["features"] for _, facts in seeds))
        lines.append(Line(row, cells, absent, cited, len(seeds), features))
    comparisons = []
    for comparison in table.comparisons:
        differences: dict[str, Difference] = {}
        for metric in measured:
            pair = statistics(comparison.run, metric), statistics(comparison.to, metric)
            means = [
                np.mean([results[metric].value for results, _ in read[run]]) for run in (comparison.run, comparison.to)
            ]
            numbers = [float(means[0] - means[1]), *difference_interval(metric, *pair, SAMPLES)]
            value, low, high = (number * _unit(metric) for number in numbers)
            differences[metric] = Difference(value, low, high, paired(metric, *pair, SAMPLES))
        comparisons.append((comparison, differences))
    items = len(next(iter(next(iter(read.values()))[0][0].values())).items) if read else 0
    return Built(paper, table, scale, origin, items, split_items or items, lines, comparisons), provenance


def _same_items(scores: dict[str, list[Path]], read: dict[str, Any]) -> None:
    first: tuple[Path, list[str]] | None = None
    for run, paths in scores.items():
        for path, (results, _) in zip(paths, read[run], strict=True):
            items = list(next(iter(results.values())).items)
            first = first or (path, items)
            if items != first[1]:
                raise UserError(f"{path}: scored on other items than {first[0]}; delete both and run again")


def _same_seeds(scores: dict[str, list[Path]], read: dict[str, Any]) -> None:
    """Raises UserError where a system has a seed twice, or its k-th score file is of another seed than the first's."""
    first = next(iter(read), "")
    for run, found in read.items():
        seeds = [facts.get("seed") for _, facts in found]
        for index, (seed, path) in enumerate(zip(seeds, scores[run], strict=True)):
            if seed is not None and seed in seeds[:index]:
                twin = scores[run][seeds.index(seed)]
                raise UserError(f"{path}: seed {seed}, which {twin} is of, too; give one of them")
        for path, (_, facts), other, (_, its) in zip(scores[run], found, scores[first], read[first], strict=False):
            if facts.get("seed") != its.get("seed"):
                what = f"seed {facts.get('seed')} beside seed {its.get('seed')} of {other}"
                raise UserError(f"{path}: {what}; give every system the same seeds")


def _unit(metric: str) -> float:
    """Scores are times 100; shares are printed as they are."""
    return 0.01 if metric in SHARES else 1.0
