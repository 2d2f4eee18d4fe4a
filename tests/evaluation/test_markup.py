"""Text in cells of tables."""

import pytest

from captionrl.evaluation.markup import barred, escaped


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("run#2 50%", r"run\#2 50\%"),
        ("a_b & {c} $d", r"a\_b \& \{c\} \$d"),
        (r"a\b^c~d", r"a\textbackslash{}b\textasciicircum{}c\textasciitilde{}d"),
    ],
)
def test_latex_prints_what_was_written(text, latex):
    assert escaped(text) == latex


def test_a_bar_stays_in_its_cell():
    assert barred("a | b") == r"a \| b"
