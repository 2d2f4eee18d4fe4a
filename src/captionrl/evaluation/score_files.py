"""Score captions of any systems against references: of files for the command line, of mappings as `captionrl.score`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captionrl.config.tables import SET_METRICS
from captionrl.errors import UserError
from captionrl.evaluation.aggregate import METRICS
from captionrl.evaluation.bootstrap import difference_interval, interval, paired
from captionrl.evaluation.captions import read_hypotheses, read_ids, read_references
from captionrl.evaluation.diversity import evaluate_sets
from captionrl.evaluation.markup import escaped
from captionrl.evaluation.metrics import check_items, evaluate_systems
from captionrl.evaluation.results import Result

if TYPE_CHECKING:  # it needs torch
    from captionrl.evaluation.clip_score import Clip

Report = dict[str, dict[str, dict[str, Any]]]  # of each system and metric what `score` gives
FORMATS = ("table", "json", "csv", "latex")
DIFFERENCE = ("difference", "difference_low", "difference_high", "p")  # from the first system


def score(
    references: Mapping[str, Sequence[str]],
    hypotheses: Mapping[str, Any],
    metrics: Collection[str] | None = None,
    *,
    sets: bool = False,
    frequencies: Mapping[str, Sequence[str]] | None = None,
    spice: Path | None = None,
    clip: Clip | None = None,
) -> dict[str, dict[str, Any]]:
    """{metric: {"value", "low", "high", "n", "signature", "items"}} of raw captions {id: caption}, values times 100.

    With `sets` of {id: captions}, as many for each item: how good and how diverse. `low` and `high`: the 95 % interval
    over items; `n`: how many these are; `items`: {id: score}. `frequencies`: captions {id: captions} that CIDEr-D's
    document frequencies are of, instead of the references. `spice`: the directory of the CoreNLP that SPICE needs.
    `clip`, a `captionrl.evaluation.clip_score.Clip`: CLIPScore and RefCLIPScore, too.
    Raises UserError where the items of both do not match, and for an unknown metric.
    """
    systems = {"": hypotheses}
    return score_systems(references, systems, metrics, sets=sets, frequencies=frequencies, spice=spice, clip=clip)[""]


def score_systems(
    references: Mapping[str, Sequence[str]],
    systems: Mapping[str, Mapping[str, Any]],
    metrics: Collection[str] | None = None,
    *,
    sets: bool = False,
    frequencies: Mapping[str, Sequence[str]] | None = None,
    spice: Path | None = None,
    clip: Clip | None = None,
) -> Report:
    """Likewise of several systems by name; of all but the first one also DIFFERENCE: value, 95 % interval, p-value."""
    known = SET_METRICS if sets else METRICS
    chosen = known if metrics is None else tuple(metrics)
    if sets and spice:
        raise UserError("sets of captions have no SPICE; leave --spice out")
    if sets and (frequencies is not None or clip):
        own = "with the document frequencies of their references only; leave --df"
        fix = "without --clip" if frequencies is None else own
        raise UserError(f"sets of captions are scored {fix}")
    more: list[dict[str, Result]] = [{} for _ in systems]
    if clip:
        from captionrl.evaluation.clip_score import evaluate_clip

        for system in systems.values():
            check_items(references, system)
        more = evaluate_clip(references, list(systems.values()), clip)
    if sets:
        results = evaluate_sets(references, list(systems.values()), chosen)
    else:
        results = evaluate_systems(references, list(systems.values()), chosen, spice, frequencies)
    report: Report = {}
    results = [{**found, **added} for found, added in zip(results, more, strict=True)]
    for name, found in zip(systems, results, strict=True):
        report[name] = {metric: _numbers(result) for metric, result in found.items()}
        for metric, result in found.items() if report.keys() != {name} else ():
            report[name][metric] |= _difference(result, results[0][metric])
    return report


def _numbers(result: Result) -> dict[str, Any]:
    low, high = interval(result.metric, [result.statistics])
    numbers = {"value": result.value, "low": low, "high": high, "n": len(result.items)}
    return {**numbers, "signature": result.signature, "items": result.items}


def _difference(result: Result, first: Result) -> dict[str, Any]:
    both = [result.statistics], [first.statistics]
    low, high = difference_interval(result.metric, *both)
    numbers = (result.value - first.value, low, high, paired(result.metric, *both))
    return dict(zip(DIFFERENCE, numbers, strict=True))


def score_files(
    references: Sequence[Path],
    hypotheses: Sequence[Path],
    metrics: Collection[str] | None = None,
    *,
    sets: bool = False,
    frequencies: Path | None = None,
    subset: Path | None = None,
    spice: Path | None = None,
    clip: Clip | None = None,
) -> Report:
    """`score_systems` of files, by their names; the captions of several files of references go together by id.

    `subset`: a file of ids, the only ones that are scored. Every fault of the files is a UserError.
    """
    captions: dict[str, list[str]] = {}
    for path in references:
        for id, found in read_references(path).items():
            captions.setdefault(id, []).extend(found)
    names = [path.name for path in hypotheses]
    names = names if len(set(names)) == len(names) else list(map(str, hypotheses))
    if len(set(names)) < len(names):
        raise UserError(f"{next(name for name in names if names.count(name) > 1)}: is given twice; give it once")
    read: Callable[[Path], dict[str, Any]] = read_references if sets else read_hypotheses
    systems = {name: read(path) for name, path in zip(names, hypotheses, strict=True)}
    if subset:
        ids = read_ids(subset)
        for source, place in [(captions, references[0]), *zip(systems.values(), hypotheses, strict=True)]:
            if missing := [id for id in ids if id not in source]:
                raise UserError(f"{place}: lacks {len(missing)} of the ids of {subset}, such as {missing[0]!r}")
        captions = {id: captions[id] for id in ids}
        systems = {name: {id: system[id] for id in ids} for name, system in systems.items()}
    others = read_references(frequencies) if frequencies else None
    if others is not None and not others:
        raise UserError(f"{frequencies}: holds no captions; --df needs those of at least one item")
    return score_systems(captions, systems, metrics, sets=sets, frequencies=others, spice=spice, clip=clip)


def render(report: Report, form: str, items: bool) -> str:
    """A report in one of FORMATS; `items` adds each item's scores to JSON, and makes CSV a row of each."""
    match form:
        case "json":
            hidden = () if items else ("items",)
            shown = {
                name: {
                    metric: {key: value for key, value in numbers.items() if key not in hidden}
                    for metric, numbers in scores.items()
                }
                for name, scores in report.items()
            }
            return json.dumps(shown, indent=1, ensure_ascii=False)
        case "csv":
            return _csv(report, items)
        case "latex":
            return _latex(report)
        case _:
            return _table(report)


def _table(report: Report) -> str:
    """Values and 95 % intervals, differences from the first system, then the signatures."""
    width = max(map(len, report)) + 2 if len(report) > 1 else 0
    first = next(iter(report.values()))
    lines = []
    for metric in first:
        for name, scores in report.items():
            numbers = scores[metric]
            line = f"{metric if scores is first else '':<15}{name if width else '':<{width}}{_interval(numbers)}"
            if "p" in numbers:
                value, low, high, p = (numbers[key] for key in DIFFERENCE)
                line += f"  {value:+.2f} [{low:+.2f}, {high:+.2f}]  p {p:.3f}"
            lines.append(line)
    return "\n".join([*lines, "", *(numbers["signature"] for numbers in first.values())])


def _interval(numbers: Mapping[str, Any]) -> str:
    return f"{numbers['value']:7.2f}  [{numbers['low']:.2f}, {numbers['high']:.2f}]"


def _csv(report: Report, items: bool) -> str:
    text = io.StringIO()
    columns = ["system", "metric", *(["item", "score"] if items else ["value", "low", "high", *DIFFERENCE, "n"])]
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for name, scores in report.items():
        for metric, numbers in scores.items():
            place = {"system": name, "metric": metric}
            if items:
                writer.writerows({**place, "item": item, "score": value} for item, value in numbers["items"].items())
            else:
                writer.writerow({**numbers, **place})
    return text.getvalue().removesuffix("\n")


def _latex(report: Report) -> str:
    """A row a system; a dagger where p < 0.05 for the difference from the first one."""
    metrics = list(next(iter(report.values())))
    lines = [
        f"\\begin{{tabular}}{{l{'r' * len(metrics)}}}",
        "\\toprule",
        " & ".join(["", *metrics]) + " \\\\",
        "\\midrule",
    ]
    for name, scores in report.items():
        cells = [f"{n['value']:.1f}" + ("$^\\dagger$" if n.get("p", 1) < 0.05 else "") for n in scores.values()]
        lines.append(" & ".join([escaped(name), *cells]) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])
