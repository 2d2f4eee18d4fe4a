"""What a paper's numbers claim beside what ours show: a verdict for every difference that both can give.

A claim is a comparison of a table whose two systems have printed numbers on its corpus, in that table or in another one
of the paper's. It holds where the 95 % interval of our difference lies on the printed difference's side of 0, it does
not where it lies on the other side, and an interval with 0 in it cannot tell.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from captionrl.config import Paper
from captionrl.config.tables import Comparison, Table
from captionrl.errors import UserError
from captionrl.evaluation.markup import barred
from captionrl.files import read_csv, write_text

VERDICTS = ("holds", "does not hold", "cannot tell")


@dataclass(frozen=True)
class Finding:
    """A claim in one metric."""

    printed: float  # the difference of the paper's numbers
    value: float  # of ours, with its interval
    low: float
    high: float

    @property
    def verdict(self) -> str:
        if self.printed == 0 or self.low <= 0 <= self.high:
            return "cannot tell"
        return "holds" if (self.low > 0) == (self.printed > 0) else "does not hold"


@dataclass(frozen=True)
class Claim:
    table: str
    comparison: Comparison
    findings: dict[str, Finding]  # by metric, in the table's order

    @property
    def main(self) -> str:
        """The metric that stands for the claim: CIDEr-D where it is printed, else the first."""
        return next((metric for metric in self.findings if metric == "CIDEr-D"), next(iter(self.findings)))


def has_claims(paper: Paper) -> bool:
    """Whether the tables that are built with the paper's others make a claim."""
    tables = [table for table in paper.tables.values() if not table.on_request]
    return any(printed(paper, table, comparison) for table in tables for comparison in table.comparisons)


def write_claims(paper: Paper, tables: Sequence[Path], out: Path) -> None:
    """Write `out` (.md) and the same as .csv beside it, from the .comparisons.csv beside each of `tables` (.csv)."""
    found = claims(paper, tables)
    write_text(out.with_suffix(".csv"), _csv(found))
    write_text(out, _markdown(paper, found))


def claims(paper: Paper, tables: Sequence[Path]) -> list[Claim]:
    """The claims that these tables of a paper are about, in the paper's order.

    A metric that could not be computed is left out. Raises UserError where a table is none of the paper's, or was made
    before its settings.
    """
    files = {path.stem: path for path in tables}
    if strange := sorted(files.keys() - paper.tables.keys()):
        raise UserError(f"{files[strange[0]]}: {paper.paper} has no table {strange[0]!r}")
    found = []
    for name in [name for name in paper.tables if name in files]:
        table, path = paper.tables[name], files[name].with_suffix(".comparisons.csv")
        ours = _differences(path)
        for comparison in table.comparisons:
            pair, differences = (comparison.run, comparison.to), printed(paper, table, comparison)
            if differences and pair not in ours:
                what = f"no difference of {comparison.run} and {comparison.to}, so made before the paper's settings"
                raise UserError(f"{path}: {what}; make the table again")
            rows = {metric: ours[pair][metric] for metric in differences if metric in ours[pair]}
            if rows:
                findings = {metric: Finding(differences[metric], *numbers) for metric, numbers in rows.items()}
                found.append(Claim(name, comparison, findings))
    return found


def _differences(path: Path) -> dict[tuple[str, str], dict[str, tuple[float, float, float]]]:
    """Of a table's .comparisons.csv: each difference with its interval, by the two systems and the metric."""
    found: dict[tuple[str, str], dict[str, tuple[float, float, float]]] = {}
    try:
        for row in read_csv(path):
            numbers = (float(row["difference"]), float(row["low"]), float(row["high"]))
            found.setdefault((row["run"], row["to"]), {})[row["metric"]] = numbers
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: no differences of a table ({error}); make the table again") from None
    return found


def printed(paper: Paper, table: Table, comparison: Comparison) -> dict[str, float]:
    """The paper's difference in each metric of the table in which both systems have a printed number."""
    run, to = (_cited(paper, table.cited_corpus, system) for system in (comparison.run, comparison.to))
    return {metric: round(run[metric] - to[metric], 6) for metric in table.metrics if metric in run and metric in to}


def _cited(paper: Paper, corpus: str, system: str) -> dict[str, float]:
    """The printed numbers of a system on a corpus, by metric, from all of the paper's tables."""
    return {
        metric: number
        for table in paper.tables.values()
        for row in table.rows
        if table.cited_corpus == corpus and row.run == system and row.cited
        for metric, number in zip(table.metrics, row.cited, strict=True)
        if number is not None
    }


def _csv(found: list[Claim]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", "run", "to", "what", "metric", "paper", "difference", "low", "high", "verdict"])
    for claim in found:
        for metric, finding in claim.findings.items():
            numbers = [f"{number:g}" for number in (finding.printed, finding.value, finding.low, finding.high)]
            compared = (claim.comparison.run, claim.comparison.to, claim.comparison.what)
            writer.writerow([claim.table, *compared, metric, *numbers, finding.verdict])
    return text.getvalue()


def _markdown(paper: Paper, found: list[Claim]) -> str:
    """One line a claim, by its main metric; what its other metrics say stands in the last column."""
    head = (
        f"**What the paper claims, and what ours show.** {barred(paper.title)}. Differences of two systems: of the "
        "paper's printed numbers, and ours with a 95 % interval over seeds and items. A claim holds where the interval "
        "lies on the same side of 0 as the paper's difference, and does not hold where it lies on the other side; an "
        "interval with 0 in it cannot tell."
    )
    rows = ["| table | difference | metric | paper | ours | verdict | other metrics |", "|---" * 7 + "|"]
    for claim in found:
        main = claim.findings[claim.main]
        others: dict[str, list[str]] = {verdict: [] for verdict in VERDICTS}
        for metric, finding in claim.findings.items():
            if metric != claim.main:
                others[finding.verdict].append(metric)
        rest = "; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in others.items() if names)
        what = f"{claim.comparison.run} \u2212 {claim.comparison.to}: {barred(claim.comparison.what)}"
        ours = f"{main.value:+.3g} [{main.low:+.3g}, {main.high:+.3g}]"
        rows.append(
            f"| {claim.table} | {what} | {claim.main} | {main.printed:+g} | {ours} | **{main.verdict}** | {rest} |"
        )
    return head + "\n\n" + "\n".join(rows) + "\n"
