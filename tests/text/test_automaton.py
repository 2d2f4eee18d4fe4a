"""The longest match among expressions, against all prefixes tried one by one."""

import random
import re

import pytest

from captionrl.text.automaton import Automaton

NAMES = {"d": "[0-9]", "l": "[a-z]"}


def longest(expressions: list[str], text: str, start: int) -> tuple[int, int]:
    for end in range(len(text), start, -1):
        for number, expression in enumerate(expressions):
            if re.fullmatch(expression, text[start:end]):
                return number, end
    return -1, start


def expression(draw: random.Random, depth: int) -> str:
    kind = draw.random()
    if depth == 0 or kind < 0.3:
        return draw.choice(("a", "b", "\\.", "[ab]", "[^a.]", "[a-b]"))
    if kind < 0.6:
        return expression(draw, depth - 1) + expression(draw, depth - 1)
    if kind < 0.8:
        return f"({expression(draw, depth - 1)}|{expression(draw, depth - 1)})"
    return f"({expression(draw, depth - 1)}){draw.choice(('?', '*', '+', '{2}', '{1,}', '{0,2}', '{1,3}'))}"


def test_it_is_the_longest_prefix_and_of_equal_ones_the_first_expression():
    draw = random.Random(0)
    for _ in range(200):
        expressions = [expression(draw, 4) for _ in range(draw.randrange(1, 4))]
        automaton = Automaton(expressions, NAMES)
        for _ in range(20):
            text = "".join(draw.choice("ab.") for _ in range(draw.randrange(8)))
            start = draw.randrange(len(text) + 1)
            assert automaton.longest(text, start)[:2] == longest(expressions, text, start), (expressions, text)
            assert automaton.matches(text) == any(re.fullmatch(each, text) for each in expressions)


def test_whether_more_text_could_change_the_answer():
    automaton = Automaton(["ab?", "abcd"], {})
    assert automaton.longest("ab", 0) == (0, 2, True)
    assert automaton.longest("abc", 0) == (0, 2, True)
    assert automaton.longest("abx", 0) == (0, 2, False)
    assert automaton.longest("abcd", 0) == (1, 4, False)


def test_case_counts_in_brackets_alone():
    automaton = Automaton(["K", "[M]", "\\d"], NAMES)
    assert [automaton.longest(text, 0)[0] for text in "KkMm5D"] == [0, 0, 1, -1, 2, -1]
    assert automaton.matches("\u212a"), "the sign of kelvins is a K"


@pytest.mark.parametrize("expression", ["a)", "?a", "(a|*)"])
def test_an_expression_that_is_none(expression):
    with pytest.raises(ValueError, match=r"unbalanced|nothing before"):
        Automaton([expression], {})
