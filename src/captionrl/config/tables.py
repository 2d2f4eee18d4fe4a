"""A paper's tables, and its leaderboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from captionrl.config.base import Strict, known
from captionrl.config.systems import SETS, decoded_as, is_set

if TYPE_CHECKING:
    from captionrl.config.paper import Paper

# fmt: off
Metric = Literal[
    "BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr-D", "SPICE", "Embedding",
    "CIDEr-D-first", "Div-1", "Div-2", "mBleu-4", "mBleu-4-corpus", "self-CIDEr",
]
# fmt: on
CAPTION_METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr-D", "SPICE", "Embedding")
# Of several captions an item.
SET_METRICS = ("CIDEr-D", "CIDEr-D-first", "Div-1", "Div-2", "mBleu-4", "mBleu-4-corpus", "self-CIDEr")


class Row(Strict):
    """A row of a table: a system of ours, one whose numbers are cited, or both side by side."""

    method: str
    run: str | None = None  # a system: see systems.py
    cited: list[float | None] | None = None
    # The run that is its own compute-matched control, where the table's is another model; decoded as the row is, unless
    # it names a decoding or a stage.
    control: str | None = None
    note: str = ""

    def check(self, paper: Paper, table: Table, place: str) -> None:
        """Raises a ValueError that names the key below `place`."""
        if self.run is None and self.cited is None:
            raise ValueError(f"{place}: {self.method} has neither run nor cited; give one of them")
        if self.run is not None:
            table.check_system(paper, self.run, f"{place}.run")
        if self.control is not None:
            table.check_system(paper, decoded_as(self.control, self.run or ""), f"{place}.control")
        if self.cited is not None and len(self.cited) != len(table.metrics):
            raise ValueError(f"{place}.cited: {len(self.cited)} numbers for {len(table.metrics)} metrics")


class Comparison(Strict):
    """A difference between two systems worth an interval of its own."""

    run: str
    to: str
    what: str  # what the difference shows


class Table(Strict):
    title: str
    corpus: str
    metrics: list[Metric]
    baseline: str  # the run that the others are tested against, decoded_as they are
    control: str | None = None  # the compute-matched XE, against which they are tested too; only scale own may lack it
    rows: list[Row]
    comparisons: list[Comparison] = Field(default=[])
    cited_on: str | None = None  # the corpus of the paper's own numbers, where it is another
    on_request: bool = False  # not built with the paper's other tables, only when asked for by name

    @property
    def cited_corpus(self) -> str:
        """The corpus that cited numbers are on: the real one, also where ours is rendered."""
        return self.cited_on or self.corpus.removesuffix("-mini")

    def check(self, paper: Paper, place: str) -> None:
        """Raises a ValueError that names the key below `place`."""
        known(self.corpus, paper.corpora, f"{place}.corpus", "corpus")
        for key, run in (("baseline", self.baseline), ("control", self.control)):
            if run is not None:
                known(run, paper.runs, f"{place}.{key}", "run")
                paper.check_system(run, self.corpus, f"{place}.{key}")
        ours: set[str] = set()
        for index, row in enumerate(self.rows):
            row.check(paper, self, f"{place}.rows[{index}]")
            if row.run and row.method in ours:
                raise ValueError(f"{place}.rows[{index}].method: {row.method} is another row's; give each its own name")
            ours |= {row.method} if row.run else set()
        for index, comparison in enumerate(self.comparisons):
            for key, system in (("run", comparison.run), ("to", comparison.to)):
                self.check_system(paper, system, f"{place}.comparisons[{index}].{key}")
        if "Embedding" in self.metrics and paper.reward_model is None:
            what = "Embedding needs a reward_model, the run whose embedding it is about; add that key"
            raise ValueError(f"{place}.metrics: {what}")

    def check_system(self, paper: Paper, system: str, place: str) -> None:
        """Whether the paper has this system, and the system the table's metrics."""
        paper.check_system(system, self.corpus, place)
        measured = SET_METRICS if is_set(system) else CAPTION_METRICS
        if missing := [metric for metric in self.metrics if metric not in measured]:
            sets = " and ".join(f"RUN.{name}" for name in SETS)
            what = "a set of captions" if is_set(system) else f"single captions ({sets} are sets)"
            raise ValueError(f"{place}: {system} is {what}, and has no {', '.join(missing)}")


class CitedMethod(Strict):
    """A method on a leaderboard: its numbers by column, each list in the order of the metrics."""

    method: str
    cited: dict[str, list[float | None]]

    def check(self, board: Leaderboard, place: str) -> None:
        """Raises a ValueError that names the key below `place`."""
        if self.cited.keys() != set(board.columns):
            raise ValueError(f"{place}.cited: must be of {', '.join(board.columns)}, and no other")
        for column in board.columns:
            count = len(self.cited[column])
            if count != len(board.metrics):
                raise ValueError(f"{place}.cited.{column}: {count} numbers for {len(board.metrics)} metrics")


class Leaderboard(Strict):
    """A table that only a server can fill: what it said of others, and the run whose captions are written for it."""

    title: str
    corpus: str
    run: str
    server: str  # where to upload
    metrics: list[Metric]
    columns: list[str] = Field(min_length=1)  # of every metric
    rows: list[CitedMethod]

    def check(self, paper: Paper, place: str) -> None:
        """Raises a ValueError that names the key below `place`."""
        if not paper.paper.isalnum():
            what = f"the server's files are named after {paper.paper}; use letters and digits only"
            raise ValueError(f"{place}: {what}")
        known(self.corpus, paper.corpora, f"{place}.corpus", "corpus")
        known(self.run, paper.runs, f"{place}.run", "run")
        paper.check_system(self.run, self.corpus, f"{place}.run")
        for index, row in enumerate(self.rows):
            row.check(self, f"{place}.rows[{index}]")
