"""The longest match among several expressions, of equally long ones that of the first: what a scanner needs.

Python's `re` takes the first alternative that fits, not the longest. Here all expressions are one automaton, whose
states are made when a text first leads to them.
"""

import re
import threading
from collections.abc import Mapping, Sequence

_PART = re.compile(
    r"(?P<set>\[(?:\\.|[^]\\])+\]|\\.|[^][\\()|?*+{}])|\{(?P<low>\d+)(?P<more>,?)(?P<high>\d*)\}|.", re.S
)
_TIMES: dict[str, tuple[int, int | None]] = {"?": (0, 1), "*": (0, None), "+": (1, None)}


class Automaton:
    """Made of characters, escaped ones, [sets], groups, |, ?, *, +, {n}, {n,} and {n,m}.

    A character outside brackets stands for both of its cases, an escaped letter for a set of `names`: with
    {"d": "[0-9]"} there is \\d.
    """

    def __init__(self, expressions: Sequence[str], names: Mapping[str, str]) -> None:
        self._names = names
        # Places in the expressions: a set and the place behind a character of it; or places that are as good.
        self._edges: list[tuple[int, int] | None] = []
        self._same: list[list[int]] = []
        self._ends: dict[int, int] = {}  # the expression that ends at a place
        self._sets: dict[str, int] = {}
        self._has: list[re.Pattern[str]] = []  # of each set
        # Characters that are in the same sets are of one kind.
        self._kinds: dict[str, int] = {}
        self._kind_of_sets: dict[frozenset[int], int] = {}
        self._sets_of_kind: list[frozenset[int]] = []
        # States: the places where a text can be.
        self._states: dict[frozenset[int], int] = {}
        self._places: list[frozenset[int]] = []
        self._matched: list[int] = []  # the first expression that ends here, or -1
        self._open: list[bool] = []  # whether any character leads on
        self._next: list[dict[int, int]] = []  # where a kind of character leads: to a state, or -1
        self._lock = threading.Lock()

        first = self._place()
        for number, expression in enumerate(expressions):
            parts = list(_PART.finditer(expression))[::-1]
            start, end = self._alternatives(parts)
            if parts:
                raise ValueError(f"unbalanced: {expression}")
            self._same[first].append(start)
            self._ends[end] = number
        self._state({first})

    def longest(self, text: str, start: int) -> tuple[int, int, bool]:
        """Which expression matches most of `text` from `start` on (-1: none), where its match ends, and whether more
        text behind the end could lead to another answer.
        """
        kinds, following, matched = self._kinds, self._next, self._matched
        state, found, end = 0, -1, start
        for place in range(start, len(text)):
            character = text[place]
            reached = following[state].get(kinds.get(character, -1))
            if reached is None:
                reached = self._step(state, character)
            if reached < 0:
                return found, end, False
            state = reached
            if matched[state] >= 0:
                found, end = matched[state], place + 1
        return found, end, self._open[state]

    def matches(self, text: str) -> bool:
        """Whether an expression matches the whole text."""
        found, end, _ = self.longest(text, 0)
        return end == len(text) and (found >= 0 or self._matched[0] >= 0)

    def _step(self, state: int, character: str) -> int:
        with self._lock:
            if character not in self._kinds:
                sets = frozenset(number for number, has in enumerate(self._has) if has.match(character))
                if sets not in self._kind_of_sets:
                    self._sets_of_kind.append(sets)
                    self._kind_of_sets[sets] = len(self._sets_of_kind) - 1
                self._kinds[character] = self._kind_of_sets[sets]
            kind = self._kinds[character]
            if kind not in self._next[state]:
                edges = [edge for place in self._places[state] if (edge := self._edges[place])]
                places = {place for number, place in edges if number in self._sets_of_kind[kind]}
                self._next[state][kind] = self._state(places) if places else -1
            return self._next[state][kind]

    def _state(self, places: set[int]) -> int:
        found = list(places)
        for place in found:  # grows
            new = [other for other in self._same[place] if other not in places]
            places.update(new)
            found.extend(new)
        key = frozenset(place for place in places if self._edges[place] or place in self._ends)
        if key not in self._states:
            self._places.append(key)
            self._matched.append(min((self._ends[place] for place in key if place in self._ends), default=-1))
            self._open.append(any(self._edges[place] for place in key))
            self._next.append({})
            self._states[key] = len(self._places) - 1
        return self._states[key]

    # What follows reads an expression, whose parts are in reverse, and returns the places of its start and its end.

    def _place(self) -> int:
        self._edges.append(None)
        self._same.append([])
        return len(self._edges) - 1

    def _alternatives(self, parts: list[re.Match[str]]) -> tuple[int, int]:
        start, end = self._place(), self._place()
        while True:
            first, last = self._sequence(parts)
            self._same[start].append(first)
            self._same[last].append(end)
            if not parts or parts[-1].group() != "|":
                return start, end
            parts.pop()

    def _sequence(self, parts: list[re.Match[str]]) -> tuple[int, int]:
        start = end = self._place()
        while parts and parts[-1].group() not in ("|", ")"):
            before = parts[:]
            first, last = self._single(parts)
            unit = before[len(parts) :]
            low, high = self._times(parts)
            out = self._place()
            for count in range(1, max(low, high or 1) + 1):
                if count > 1:
                    first, last = self._single(unit[:])
                if count > low:
                    self._same[end].append(out)
                self._same[end].append(first)
                end = last
            if high is None:
                self._same[last].append(first)
            self._same[end].append(out)
            end = out
        return start, end

    def _times(self, parts: list[re.Match[str]]) -> tuple[int, int | None]:
        """How often the part that was read stands there: from, to (None: any number)."""
        if parts and parts[-1]["low"]:
            part = parts.pop()
            low = int(part["low"])
            return low, int(part["high"]) if part["high"] else None if part["more"] else low
        return _TIMES[parts.pop().group()] if parts and parts[-1].group() in _TIMES else (1, 1)

    def _single(self, parts: list[re.Match[str]]) -> tuple[int, int]:
        part = parts.pop()
        if part.group() == "(":
            places = self._alternatives(parts)
            parts.pop()
            return places
        text = part["set"]
        if text is None:
            raise ValueError(f"{part.group()!r} has nothing before it")
        if text not in self._sets:
            self._sets[text] = len(self._has)
            known = self._names.get(text[1:]) if text[0] == "\\" else None
            case = re.IGNORECASE if text[0] != "[" and not known else 0
            self._has.append(re.compile(known or (text if text[0] in "[\\" else re.escape(text)), case | re.S))
        start, end = self._place(), self._place()
        self._edges[start] = (self._sets[text], end)
        return start, end
