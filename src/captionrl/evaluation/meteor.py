"""METEOR's sufficient statistics, by its own jar, at a quarter of its start-up time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from captionrl.errors import UserError
from captionrl.evaluation.aggregate import Array, without_perfect_chunks
from captionrl.text.java import run_java
from captionrl.text.meteor import METEOR_JAR, pruned_paraphrases, score_line, stdio_options


def meteor_statistics(
    references: Sequence[Sequence[str]], hypotheses: Sequence[str], table: Path | None = None
) -> Array:
    """The jar's 23 sufficient statistics of each item against its best reference, [items, 23] for `aggregate`.

    Captions are PTB tokens joined by spaces, without punctuation. `table` replaces the jar's paraphrase table, of
    which by default only the part that these references can use is loaded.
    """
    options = stdio_options(table or pruned_paraphrases(text for item in references for text in item))
    lines = [score_line(texts, hypothesis) for texts, hypothesis in zip(references, hypotheses, strict=True)]
    output = run_java(METEOR_JAR, "Meteor", options, "\n".join(lines) + "\n", timeout=1800).splitlines()
    try:
        statistics = np.array([[float(number) for number in line.split()] for line in output])
    except ValueError:
        statistics = np.empty(0)
    if statistics.shape != (len(lines), 23):
        raise UserError(f"METEOR's jar gave {len(output)} lines for {len(lines)} items: {output[:1]}")
    return without_perfect_chunks(statistics)
