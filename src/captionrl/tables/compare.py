"""Does a table agree with a published one? Each of its numbers against the interval of the other."""

from itertools import product
from pathlib import Path

from captionrl.errors import UserError
from captionrl.files import read_csv

PLACE = ("corpus", "scale")  # what tables must have in common


def compare(table: Path, published: Path) -> str:
    """A Markdown table of our numbers in `table` (csv): within or outside the 95 % intervals of `published`.

    Raises UserError where the two have no number of ours in common, or are of different data.
    """
    ours, theirs = _ours(table), _ours(published)
    methods = [method for method in ours if method in theirs]
    if not methods:
        raise UserError(f"{table}: has no method in common with {published}; give a table of the same name")
    first, other = ours[methods[0]], theirs[methods[0]]
    places = [" ".join(row[key] for key in PLACE) for row in (first, other)]
    if places[0] != places[1]:
        raise UserError(f"{table}: is of {places[0]}, {published} of {places[1]}; give a table of the same data")
    metrics = [name for name in first if {f"{name}_low", f"{name}_high"} <= other.keys()]
    for path, rows, columns in ((table, ours, ("{}",)), (published, theirs, ("{}_low", "{}_high"))):
        for method, metric, column in product(methods, metrics, columns):
            _check_number(rows[method][column.format(metric)], f"{path}: {method}: {column.format(metric)}")
    cells = {method: [_cell(ours[method], theirs[method], metric) for metric in metrics] for method in methods}
    inside = [is_within for row in cells.values() for is_within, _ in row if is_within is not None]
    lines = [f"| method | {' | '.join(metrics)} |", "|---" * (1 + len(metrics)) + "|"]
    lines += [f"| {method} | {' | '.join(text for _, text in row)} |" for method, row in cells.items()]
    lines += ["", f"{sum(inside)} of {len(inside)} numbers lie within the 95 % intervals of {published}."]
    if first["seeds"] != other["seeds"]:
        lines.append(f"Its intervals are of means of {other['seeds']} seeds, these numbers of {first['seeds']}.")
    if absent := [method for method in (*ours, *theirs) if method not in methods]:
        lines.append(f"In one of the two only: {', '.join(absent)}.")
    return "\n".join(lines)


def _is_none(text: str) -> bool:
    """Whether it stands where there is no number, such as "n/a (no Java)"."""
    return not text or text.startswith("n/a")


def _check_number(text: str, place: str) -> None:
    if not _is_none(text):
        try:
            float(text)
        except ValueError:
            raise UserError(f"{place}: {text!r} is no number; correct it") from None


def _cell(ours: dict[str, str], theirs: dict[str, str], metric: str) -> tuple[bool | None, str]:
    """Whether a number lies within the published interval, and both in words; None where there is no number."""
    texts = (ours[metric], theirs[f"{metric}_low"], theirs[f"{metric}_high"])
    if any(map(_is_none, texts)):
        return None, "n/a"
    value, low, high = map(float, texts)
    inside = low <= value <= high
    return inside, f"{ours[metric]} {'within' if inside else 'outside'} [{low:g}, {high:g}]"


def _ours(path: Path) -> dict[str, dict[str, str]]:
    """The rows of a table that hold numbers of ours, by method."""
    rows = read_csv(path)
    if not rows or not {"method", "source", "seeds", *PLACE} <= rows[0].keys():
        raise UserError(f"{path}: is no table of captionrl; give a .csv of results/")
    return {row["method"]: row for row in rows if row["source"] == "ours"}
