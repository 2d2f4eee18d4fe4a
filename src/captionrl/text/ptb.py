"""Penn Treebank tokens, equal to those of the jar that coco-caption uses."""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

from captionrl.text.automaton import Automaton
from captionrl.text.ptb_rules import NAMES, RULES

# Every character that Python or Stanford's lexer takes for the end of a line.
_LINE_END = re.compile("[\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]")
_HALF = re.compile("[\ud800-\udfff]")  # of a character, which UTF-8 lacks
_LARGE = re.compile("[\U00010000-\U0010ffff]")
_KEPT = 1 << 18  # how many pieces of captions are remembered, a few hundred bytes each


def tokenize(captions: Sequence[str]) -> list[list[str]]:
    """Lower-cased Stanford PTB tokens, punctuation included, of each caption; a caption without tokens gives [].

    Equal to what `PTBTokenizer -preserveLines -lowerCase` of Stanford CoreNLP 3.4.1 makes of a text with a caption a
    line, as coco-caption uses it. There the end of a caption may depend on how the next one begins: the full stop of
    "he comes from the U.S." is a token of its own if that is "The" or the like. A line break in a caption is a space.
    """
    lines = [_line(caption) for caption in captions]
    tokens = []
    for number, line in enumerate(lines):
        found = _known(line)
        tokens.append(_scan_line(lines, number) if found is None else found)
    return tokens


def _line(caption: str) -> str:
    """The caption in one line, in characters of Java: large ones are two."""
    if caption.isascii() and caption.isprintable():
        return caption
    line = _HALF.sub("?", _LINE_END.sub(" ", caption))
    return _LARGE.sub(lambda found: "".join(map(chr, _halves(ord(found[0])))), line)


def _halves(character: int) -> tuple[int, int]:
    """In UTF-16."""
    high, low = divmod(character - 0x10000, 0x400)
    return 0xD800 + high, 0xDC00 + low


class _Pieces(dict[str, tuple[str, ...] | None]):
    """The tokens of a piece of a caption that has a space or its start before it and a certain character behind it;
    None where they depend on what follows that.
    """

    def __init__(self, behind: str) -> None:
        self._behind = behind

    def __missing__(self, piece: str) -> tuple[str, ...] | None:
        if len(self) >= _KEPT:
            self.clear()
        # A rule may apply from a wide space on, but not from a space before it.
        found = None if piece[:1].isspace() else _scan(piece + self._behind, len(piece), whole=False)
        tokens = self[piece] = None if found is None else tuple(found)
        return tokens


_PIECES, _LAST_PIECES = _Pieces(" "), _Pieces("\n")


def _known(line: str) -> list[str] | None:
    """The tokens of a line if those of each piece between spaces depend on the piece alone."""
    *pieces, last = line.split(" ")
    tokens: list[str] = []
    for piece in pieces:
        found = _PIECES[piece]
        if found is None:
            return None
        tokens += found
    found = _LAST_PIECES[last]
    return None if found is None else tokens + list(found)


def _scan_line(lines: Sequence[str], number: int) -> list[str]:
    """The tokens of a line of a text, of which as much is read as they depend on."""
    text, following = lines[number] + "\n", number + 1
    while (tokens := _scan(text, len(lines[number]), whole=following == len(lines))) is None:
        text += lines[following] + "\n"
        following += 1
    return tokens


def _scan(text: str, length: int, whole: bool) -> list[str] | None:
    """The tokens of the first characters of a text; None if they depend on what follows a text that is not whole."""
    tokens: list[str] = []
    place = 0
    while place < length:
        number, end, more = _automaton().longest(text, place)
        if more and not whole:
            return None
        rule = RULES[number]
        if rule.ahead:
            end = _boundary(number, text[place:end]) + place
        token = rule.token(text[place:end]) if callable(rule.token) else rule.token
        if token is not None:
            if not token.isascii():
                token = token.encode("utf-16", "surrogatepass").decode("utf-16")
            tokens += [part for part in _lower(token).split(" ") if part]
        place = end - rule.full_stop
    return tokens


def _lower(token: str) -> str:
    """As Java does it, to which a capital sigma before hyphens or digits is not the last letter of a word."""
    parts = token.split("\u03a3")
    if len(parts) == 1:
        return token.lower()
    place = 0
    text = ""
    for part in parts[:-1]:
        text += part.lower()
        place += len(part) + 1
        last = _has_case(token[: place - 1], -1) and not _has_case(token[place:], 1)
        text += "\u03c2" if last else "\u03c3"
    return text + parts[-1].lower()


def _has_case(text: str, step: int) -> bool:
    """Whether a letter that has cases is in the word that the text begins (step 1) or ends with (-1)."""
    before, joint = "L", ""  # a letter or a number; what it has to be behind a mark that joins two of them
    for character in text[::step]:
        category = unicodedata.category(character)
        if not joint and (
            (before == "L" and (category in ("Pc", "Pd") or character in "\u00ad'.\u2027"))
            or (before == "N" and character in "'.,")
        ):
            joint = before
        elif (
            joint not in ("", category[0])
            or (category[0] not in "LMN" and category != "Cf")
            or character == "\u00ad"
            or "\u3005" <= character <= "\u9fff"
        ):
            return False
        elif character.lower() != character.upper():
            return True
        else:
            before, joint = category[0] if category[0] in "LN" else before, ""
    return False


def _boundary(number: int, text: str) -> int:
    """Where in the text the token of a rule ends and what has to follow it begins: as late as possible."""
    token, ahead = _two_automata(number)
    return next(end for end in range(len(text), 0, -1) if ahead.matches(text[end:]) and token.matches(text[:end]))


@cache
def _automaton() -> Automaton:
    return Automaton([f"({rule.text})({rule.ahead})" if rule.ahead else rule.text for rule in RULES], NAMES)


@cache
def _two_automata(number: int) -> tuple[Automaton, Automaton]:
    return Automaton([RULES[number].text], NAMES), Automaton([RULES[number].ahead], NAMES)
