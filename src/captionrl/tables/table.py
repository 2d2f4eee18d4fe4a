"""A paper's table: cited numbers and ours, with intervals, tests and the provenance of every cell."""

import csv
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from captionrl.config import Comparison, Paper, Row, Table, decoded_as
from captionrl.errors import UserError
from captionrl.evaluation.aggregate import Array
from captionrl.evaluation.bootstrap import difference_interval, interval, paired
from captionrl.evaluation.results import read_scores
from captionrl.files import atomic, write_text
from captionrl.provenance import commit
from captionrl.tables.markup import barred, escaped

SAMPLES = 2000  # bootstrap resamples
DIFFERENCES = "Differences, with their 95 % bootstrap intervals over items"
SHARES = ("Div-1", "Div-2", "mBleu-4", "self-CIDEr")  # printed between 0 and 1; all other metrics times 100


@dataclass(frozen=True)
class Cell:
    """A number of ours: the mean over seeds, its 95 % interval over items, p against baseline and control run."""

    value: float
    low: float
    high: float
    p: float | None  # None: it is that run itself
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
    """A metric of one run minus that of another: the mean over seeds, its 95 % interval over items, p."""

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
    lines: list[Line]
    comparisons: list[tuple[Comparison, dict[str, Difference]]]


def build(
    paper: Paper, name: str, scale: str, origin: str, scores: dict[str, list[Path]]
) -> tuple[Built, list[dict[str, Any]]]:
    """The table and the provenance of its cells, from each system's score files, one a seed."""
    if name not in paper.tables:
        raise UserError(f"papers/{paper.paper}/paper.yaml: tables: no {name!r}; there are {', '.join(paper.tables)}")
    table = paper.tables[name]
    if unscored := set(paper.systems_of(name)) - scores.keys():
        raise UserError(f"{paper.paper}/{name}: no scores of {', '.join(sorted(unscored))}; give them too")
    read = {run: [read_scores(path) for path in paths] for run, paths in scores.items()}
    unavailable: dict[str, str] = {}  # what could not be computed here, for all systems alike
    for system, paths in scores.items():
        for path, (results, facts) in zip(paths, read[system], strict=True):
            unavailable |= facts.get("unavailable", {})
            if missing := [metric for metric in table.metrics if metric not in results.keys() | unavailable.keys()]:
                raise UserError(f"{path}: holds no {', '.join(missing)}; score the predictions again")
    _same_items(scores, read)
    measured = [metric for metric in table.metrics if metric not in unavailable]

    def statistics(system: str, metric: str) -> list[Array]:
        return [results[metric].statistics for results, _ in read[system]]

    lines, provenance = [], []
    for row in table.rows:
        cells: dict[str, Cell] = {}
        seeds = read[row.run] if row.run else []
        its_baseline, its_control = (
            decoded_as(run, row.run or "") for run in (table.baseline, row.control or table.control)
        )
        for metric in measured if row.run else ():
            ours, baseline, control = (statistics(name, metric) for name in (str(row.run), its_baseline, its_control))
            mean = float(np.mean([results[metric].value for results, _ in seeds]))
            value, low, high = (number * _unit(metric) for number in (mean, *interval(metric, ours, SAMPLES)))
            p = None if row.run == its_baseline else paired(metric, ours, baseline, SAMPLES)
            p_control = None if row.run == its_control else paired(metric, ours, control, SAMPLES)
            cells[metric] = Cell(value, low, high, p, p_control)
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
    items = len(next(iter(read.values()))[0][0][measured[0]].items) if read else 0
    return Built(paper, table, scale, origin, items, lines, comparisons), provenance


def write(built: Built, provenance: list[dict[str, Any]], out: Path) -> None:
    """Write `out` (csv) and, beside it, .comparisons.csv, .md, .tex and .cells.jsonl."""
    write_text(out.with_suffix(".comparisons.csv"), comparisons_csv(built))
    write_text(out.with_suffix(".md"), markdown(built))
    write_text(out.with_suffix(".tex"), latex(built))
    write_text(out.with_suffix(".cells.jsonl"), "".join(json.dumps(cell, sort_keys=True) + "\n" for cell in provenance))
    with atomic(out) as temporary:
        temporary.write_text(as_csv(built), encoding="utf-8")


def as_csv(built: Built) -> str:
    """One line a method; `source` says whether its numbers are ours or cited, `*_paper` holds the paper's own."""
    header = ["method", "source", "scale", "corpus", "features", "seeds", "items"]
    for metric in built.table.metrics:
        header += [metric, *(f"{metric}_{what}" for what in ("low", "high", "p", "p_control", "paper"))]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*header, "note", "origin"])
    for line in built.lines:
        ours = bool(line.cells)
        # A cited number belongs to the paper's own corpus, whatever the scale of ours.
        place = [built.scale, built.table.corpus] if ours else ["paper", built.table.corpus.removesuffix("-mini")]
        fields = [line.row.method, "ours" if ours else "cited", *place]
        fields += [line.features, str(line.seeds), str(built.items)] if ours else ["", "", ""]
        for metric in built.table.metrics:
            cell, cited = line.cells.get(metric), line.cited.get(metric)
            printed = "" if cited is None else _number(cited, metric)
            if cell:
                fields += [_number(number, metric, more=1) for number in (cell.value, cell.low, cell.high)]
                fields += ["" if p is None else f"{p:.4f}" for p in (cell.p, cell.p_control)]
            elif metric in line.missing:
                fields += [f"n/a ({line.missing[metric]})", "", "", "", ""]
            else:
                fields += [printed, "", "", "", ""]
            fields.append(printed)
        writer.writerow([*fields, line.row.note, built.origin if ours else ""])
    return text.getvalue()


def comparisons_csv(built: Built) -> str:
    """One line a comparison of two runs and a metric."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "to", "what", "scale", "corpus", "metric", "difference", "low", "high", "p"])
    for comparison, differences in built.comparisons:
        names = [comparison.run, comparison.to, comparison.what, built.scale, built.table.corpus]
        for metric, d in differences.items():
            numbers = [_number(number, metric, more=1) for number in (d.value, d.low, d.high)]
            writer.writerow([*names, metric, *numbers, f"{d.p:.4f}"])
    return text.getvalue()


def markdown(built: Built) -> str:
    """The rows, their notes by number, and the differences between runs."""
    metrics, notes = built.table.metrics, _notes(built)
    columns = [*metrics, *(f"paper: {metric}" for metric in _cited(built))]
    rows = [f"| method | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for line in built.lines:
        mark = f"<sup>{notes[line.row.note]}</sup>" if line.row.note else ""
        rows.append(f"| {barred(line.row.method)}{mark} | {' | '.join(_fields(built, line))} |")
    text = f"**{built.table.title}.** {_legend(built)}\n\n" + "\n".join(rows) + "\n"
    if notes:
        text += "\nNotes:\n\n" + "".join(f"{number}. {note}\n" for note, number in notes.items())
    if not built.comparisons:
        return text
    rows = [f"| difference | {' | '.join(metrics)} |", "|---" * (1 + len(metrics)) + "|"]
    for comparison, differences in built.comparisons:
        name = f"{comparison.run} \u2212 {comparison.to}: {barred(comparison.what)}"
        rows.append(f"| {name} | {' | '.join(_differences(built, differences))} |")
    return f"{text}\n{DIFFERENCES}:\n\n" + "\n".join(rows) + "\n"


def latex(built: Built) -> str:
    """As `markdown`; needs the package booktabs."""
    notes = _notes(built)
    names = [*built.table.metrics, *(f"{metric} (paper)" for metric in _cited(built))]
    rows = []
    for line in built.lines:
        mark = f"$^{{{notes[line.row.note]}}}$" if line.row.note else ""
        rows.append([escaped(line.row.method) + mark, *_fields(built, line)])
    parts = [_tabular(["method", *names], rows)]
    parts += [f"{{\\footnotesize\\par $^{{{number}}}$ {escaped(note)}\\par}}" for note, number in notes.items()]
    if built.comparisons:
        rows = [
            [f"{escaped(c.run)} $-$ {escaped(c.to)}: {escaped(c.what)}", *_differences(built, differences)]
            for c, differences in built.comparisons
        ]
        parts += [f"\\par\\medskip {escaped(DIFFERENCES)}:\\par", _tabular(["difference", *built.table.metrics], rows)]
    parts.append(f"\\caption{{{escaped(f'{built.table.title}. {_legend(built)}')}}}")
    text = "\n".join(parts).replace("†", r"$^\dagger$").replace("‡", r"$^\ddagger$")
    return f"\\begin{{table}}\n\\centering\n{text}\n\\end{{table}}\n"


def _tabular(head: list[str], rows: list[list[str]]) -> str:
    body = "\n".join(" & ".join(row) + r" \\" for row in rows)
    columns = "l" + "r" * (len(head) - 1)
    return (
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{' & '.join(head)} \\\\\n\\midrule\n{body}\n"
        f"\\bottomrule\n\\end{{tabular}}"
    )


def _notes(built: Built) -> dict[str, int]:
    """The numbers of the rows' notes, from 1; rows with the same note share its number."""
    notes = dict.fromkeys(line.row.note for line in built.lines if line.row.note)
    return {note: number for number, note in enumerate(notes, 1)}


def _differences(built: Built, differences: dict[str, Difference]) -> list[str]:
    """A comparison's cells as text, metric by metric."""
    return [
        "{} [{}, {}]".format(*(_number(number, metric, sign="+") for number in (d.value, d.low, d.high)))
        if (d := differences.get(metric))
        else "n/a"
        for metric in built.table.metrics
    ]


def _cited(built: Built) -> list[str]:
    """The metrics that have columns for the paper's numbers: all, or none where it has no such table."""
    return [str(metric) for metric in built.table.metrics] if any(line.cited for line in built.lines) else []


def _fields(built: Built, line: Line) -> list[str]:
    """A row's cells as text: ours, then the paper's."""
    cited = [_number(line.cited[metric], metric) if metric in line.cited else "" for metric in _cited(built)]
    return [*(_with_interval(line, metric) for metric in built.table.metrics), *cited]


def _unit(metric: str) -> float:
    """Scores are times 100; shares are printed as they are."""
    return 0.01 if metric in SHARES else 1.0


def _number(value: float, metric: str, more: int = 0, sign: str = "") -> str:
    """As papers print it; with `more` decimals and a `sign` where asked for."""
    return f"{value:{sign}.{(2 if metric in SHARES else 1) + more}f}"


def _with_interval(line: Line, metric: str) -> str:
    cell = line.cells.get(metric)
    if cell is None:
        return "n/a" if metric in line.missing else ""
    mark = ("†" if cell.p is not None and cell.p < 0.05 else "") + (
        "‡" if cell.p_control is not None and cell.p_control < 0.05 else ""
    )
    value, low, high = (_number(number, metric) for number in (cell.value, cell.low, cell.high))
    return f"{value}{mark} [{low}, {high}]"


def _legend(built: Built) -> str:
    count = max((line.seeds for line in built.lines), default=0)
    seeds = "one seed" if count == 1 else f"mean of {count} seeds"
    corpus = built.table.corpus
    missing = {metric: reason for line in built.lines for metric, reason in line.missing.items()}
    absent = "".join(f" {metric} is n/a: {reason}." for metric, reason in missing.items())
    printed = f"Paper: as printed, on {corpus.removesuffix('-mini')}. " if _cited(built) else ""
    seen = ", ".join(dict.fromkeys(line.features for line in built.lines if line.features not in ("", "none")))
    return (
        f"Ours: {corpus} ({built.scale} scale), {seen} features, {built.items} test items, {seeds}, "
        f"95 % bootstrap interval over items; † differs from {built.table.baseline}, "
        f"‡ from its compute-matched XE (paired bootstrap, p < 0.05). "
        f"{printed}Corpus: {built.origin}.{absent}"
    )


def _same_items(scores: dict[str, list[Path]], read: dict[str, Any]) -> None:
    first: tuple[Path, list[str]] | None = None
    for run, paths in scores.items():
        for path, (results, _) in zip(paths, read[run], strict=True):
            items = list(next(iter(results.values())).items)
            first = first or (path, items)
            if items != first[1]:
                raise UserError(f"{path}: scored on other items than {first[0]}; delete both and run again")
