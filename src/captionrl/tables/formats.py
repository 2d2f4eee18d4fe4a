"""A built table as CSV, Markdown and LaTeX, and the provenance of its cells as JSON lines."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from captionrl.config import split_system
from captionrl.evaluation.markup import barred, escaped
from captionrl.files import write_text
from captionrl.tables.table import SHARES, Built, Difference, Line

SYMBOLS = str.maketrans({"†": r"$^\dagger$", "‡": r"$^\ddagger$", "±": r"$\pm$"})
DIFFERENCES = "Differences, with their 95 % intervals over seeds and items"


def write(built: Built, provenance: list[dict[str, Any]], out: Path) -> None:
    """Write `out` (csv) and, beside it, .comparisons.csv, .md, .tex and .cells.jsonl."""
    write_text(out, as_csv(built))
    write_text(out.with_suffix(".comparisons.csv"), comparisons_csv(built))
    write_text(out.with_suffix(".md"), markdown(built))
    write_text(out.with_suffix(".tex"), latex(built))
    write_text(out.with_suffix(".cells.jsonl"), "".join(json.dumps(cell, sort_keys=True) + "\n" for cell in provenance))


def as_csv(built: Built) -> str:
    """One line a method; `source` says whether its numbers are ours or cited, `*_paper` holds the paper's own."""
    header = ["method", "source", "scale", "corpus", "features", "seeds", "items"]
    for metric in built.table.metrics:
        header += [metric, *(f"{metric}_{what}" for what in ("sd", "low", "high", "p", "p_control", "paper"))]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*header, "note", "origin"])
    for line in built.lines:
        ours = bool(line.cells)
        # A cited number belongs to the paper's own corpus, whatever the scale of ours.
        place = [built.scale, built.table.corpus] if ours else ["paper", built.table.cited_corpus]
        fields = [line.row.method, "ours" if ours else "cited", *place]
        fields += [line.features, str(line.seeds), str(built.items)] if ours else ["", "", ""]
        for metric in built.table.metrics:
            cell, cited = line.cells.get(metric), line.cited.get(metric)
            printed = "" if cited is None else _number(cited, metric)
            if cell:
                numbers = (cell.value, cell.sd, cell.low, cell.high)
                fields += ["" if number is None else _number(number, metric, more=1) for number in numbers]
                fields += ["" if p is None else f"{p:.4f}" for p in (cell.p, cell.p_control)]
            elif metric in line.missing:
                fields += [f"n/a ({line.missing[metric]})", "", "", "", "", ""]
            else:
                fields += [printed, "", "", "", "", ""]
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
            numbers = [_number(number, metric, more=3) for number in (d.value, d.low, d.high)]  # a verdict's sign
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
    text = "\n".join(parts).translate(SYMBOLS)
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
    """The metrics that have columns for the paper's numbers: those of which it has some."""
    return [str(metric) for metric in built.table.metrics if any(metric in line.cited for line in built.lines)]


def _fields(built: Built, line: Line) -> list[str]:
    """A row's cells as text: ours, then the paper's."""
    cited = [_number(line.cited[metric], metric) if metric in line.cited else "" for metric in _cited(built)]
    return [*(_with_interval(line, metric) for metric in built.table.metrics), *cited]


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
    sd = "" if cell.sd is None else f" ± {_number(cell.sd, metric)}"
    return f"{value}{mark}{sd} [{low}, {high}]"


def _legend(built: Built) -> str:
    count = max((line.seeds for line in built.lines), default=0)
    seeds = "one seed" if count == 1 else f"mean ± standard deviation of {count} seeds"
    spread = f"95 % interval over {'items alone' if count == 1 else 'seeds and items'}"
    corpus = built.table.corpus
    missing = {metric: reason for line in built.lines for metric, reason in line.missing.items()}
    absent = "".join(f" {metric} is n/a: {reason}." for metric, reason in missing.items())
    printed = f"Paper: as printed, on {built.table.cited_corpus}. " if _cited(built) else ""
    seen = ", ".join(dict.fromkeys(line.features for line in built.lines if line.features not in ("", "none")))
    items = f"{built.items} test items"
    if 0 < built.items < built.split_items:
        items = f"{built.items} of the {built.split_items} test items (the others have no features)"
    return (
        f"Ours: {corpus} ({built.scale} scale), {seen} features, {items}, {seeds}, "
        f"{spread}; † differs from {built.table.baseline}{_controls(built)} (paired bootstrap, p < 0.05)."
        f"{_decodings(built)} {printed}Corpus: {built.origin}.{absent}"
    )


def _controls(built: Built) -> str:
    """What ‡ means: the run that a row is tested against, and which rows have another one than the table's."""
    rows: dict[str, list[str]] = {}  # methods, by control
    for line in built.lines:
        if line.cells and line.row.control not in (None, built.table.control):
            rows.setdefault(str(line.row.control), []).append(f'"{line.row.method}"')
    known = [f"from {built.table.control}"] if built.table.control else []
    known += [f"of {' and '.join(methods)} from {control}" for control, methods in rows.items()]
    return f", ‡ {', '.join(known)}" if known else ""


def _decodings(built: Built) -> str:
    """How the captions of baseline and control are made, where rows differ in it."""
    if not any(split_system(line.row.run or "")[1] for line in built.lines):
        return ""
    return " Greedy captions and sets are tested against such, all others against beam search."
