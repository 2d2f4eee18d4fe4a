"""Does a table agree with a published one? Each of its numbers against the interval of the other."""

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
    cells = {
        method: [
            _cell(
                _number(ours[method], metric, table),
                *(_number(theirs[method], f"{metric}_{end}", published) for end in ("low", "high")),
            )
            for metric in metrics
        ]
        for method in methods
    }
    inside = [is_within for row in cells.values() for is_within, _ in row if is_within is not None]
    lines = [f"| method | {' | '.join(metrics)} |", "|---" * (1 + len(metrics)) + "|"]
    lines += [f"| {method} | {' | '.join(text for _, text in row)} |" for method, row in cells.items()]
    lines += ["", f"{sum(inside)} of {len(inside)} numbers lie within the 95 % intervals of {published}."]
    if first["seeds"] != other["seeds"]:
        lines.append(f"Its intervals are of means of {other['seeds']} seeds, these numbers of {first['seeds']}.")
    facts = ("items", "features")
    if others := [name for name in methods if any(ours[name].get(fact) != theirs[name].get(fact) for fact in facts)]:
        lines.append(f"Of other test items, or other features: {', '.join(others)}.")
    if absent := [method for method in (*ours, *theirs) if method not in methods]:
        lines.append(f"In one of the two only: {', '.join(absent)}.")
    return "\n".join(lines)


def _number(row: dict[str, str], column: str, path: Path) -> float | None:
    """A cell's number; None where there is none, such as "n/a (no Java)"."""
    text = row[column]
    if not text or text.startswith("n/a"):
        return None
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{path}: {row['method']}: {column}: {text!r} is no number; correct it") from None


def _cell(value: float | None, low: float | None, high: float | None) -> tuple[bool | None, str]:
    """Whether a number lies within the published interval, and both in words; None where there is no number."""
    if value is None or low is None or high is None:
        return None, "n/a"
    inside = low <= value <= high
    return inside, f"{value:.2f} {'within' if inside else 'outside'} [{low:g}, {high:g}]"


def _ours(path: Path) -> dict[str, dict[str, str]]:
    """The rows of a table that hold numbers of ours, by method."""
    rows = read_csv(path)
    if not rows or not {"method", "source", "seeds", *PLACE} <= rows[0].keys():
        raise UserError(f"{path}: is no table of captionrl; give a .csv of results/")
    return {row["method"]: row for row in rows if row["source"] == "ours"}
