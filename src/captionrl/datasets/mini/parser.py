"""Constituency trees of whatever `grammar.py` can say, in Penn Treebank's manner, for caption segmentation.

The grammar's terminals are word classes, so captions that differ in words alone are parsed once.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain

from nltk import CFG, Tree
from nltk.parse.chart import BottomUpLeftCornerChartParser

from captionrl.datasets.mini.grammar import ACTOR_NOUNS, MANNER_WORDS, OBJECT_NOUNS, PLACE_PHRASES, PRONOUNS, VERBS
from captionrl.datasets.mini.world import COLOURS
from captionrl.errors import UserError

# A symbol that begins with _ leaves no node: its children become its parent's. What follows a hyphen tells apart
# constituents of one label and is dropped from the tree. Every sentence of the mini world has exactly one parse
# (tested); were there several, the first in the order of their bracketings would be taken.
_RULES = """
    ROOT -> S-PLAIN | S-TOP
    S-TOP -> _clause PERIOD | S-LIST PERIOD
    S-PLAIN -> _clause

    S-LIST -> _first COMMA S-THEN | _first CC S-THEN
    _first -> S-CLAUSE | S-LIST
    S-CLAUSE -> _clause
    S-THEN -> ADVP-THEN NP-SUBJECT VP-FINITE
    _clause -> NP-SUBJECT VP-FINITE | NP-SUBJECT ADVP-THEN VP-FINITE | PP-THAT NP-SUBJECT VP-FINITE
    ADVP-THEN -> THEN
    PP-THAT -> AFTER NP-THAT
    NP-THAT -> THAT

    NP-SUBJECT -> _noun | PRP | NP PP-COLOUR | NP VP-WEARING | NP PP
    _noun -> DT NN
    NP -> NN | DT NN | DT JJ NN
    PP -> IN NP
    PP-COLOUR -> IN NP-COLOUR
    NP-COLOUR -> JJ
    VP-WEARING -> WEARING NP

    VP-FINITE -> VP-COORDINATED | _finite
    VP-COORDINATED -> VP-LIST COMMA CC ADVP-THEN VP-ONE | VP-ONE COMMA CC ADVP-THEN VP-ONE
    VP-LIST -> VP-ONE COMMA VP-ONE | VP-LIST COMMA VP-ONE
    VP-ONE -> VBZ _predicate
    _finite -> VBZ _predicate | BE VP-ING | BE VP-BOTH | START S-ING | BE VP-STANDING
    S-ING -> VP-ING
    VP-ING -> VBG _predicate
    VP-STANDING -> STANDING PP
    VP-BOTH -> VP-STANDING CC VP-ING

    _predicate -> _object | _object _modifiers
    _object -> NP | PRT NP | NP PRT | PP-WITH
    PP-WITH -> WITH NP
    PRT -> RP
    _modifiers -> _modifier | _modifier _modifiers
    _modifier -> ADVP | PP
    ADVP -> RB
"""
_TERMINALS = """
    DT NN JJ PRP IN WITH AFTER THAT THEN WEARING STANDING VBZ VBG BE START RP RB CC COMMA PERIOD
"""
GRAMMAR = CFG.fromstring(_RULES + "\n".join(f"    {tag} -> '{tag}'" for tag in _TERMINALS.split()))

# Word classes that are narrower than Penn's tags.
TAGS = {
    "WITH": "IN",
    "AFTER": "IN",
    "THAT": "DT",
    "THEN": "RB",
    "WEARING": "VBG",
    "STANDING": "VBG",
    "BE": "VBZ",
    "START": "VBZ",
    "COMMA": ",",
    "PERIOD": ".",
}


def parse(tokens: Sequence[str]) -> Tree:
    """The tree of one sentence of the mini world (lower-cased PTB tokens); UserError if the grammar cannot say it."""
    lexicon = word_classes()
    classes = tuple(lexicon.get(token, "") for token in tokens)
    skeleton = _skeleton(classes) if all(classes) else None
    if skeleton is None:
        raise UserError(
            f"{' '.join(tokens)!r}: not a sentence of the mini world; segment it with the corenlp or shallow backend"
        )
    tree = skeleton.copy(deep=True)
    for position, token in zip(tree.treepositions("leaves"), tokens, strict=True):
        tree[position] = token
    return tree


@cache
def word_classes() -> dict[str, str]:
    """The class of every word of the mini world, from the tables that its captions are made of."""
    classes: dict[str, str] = {}

    def add(name: str, words: Iterator[str] | Sequence[str]) -> None:
        for word in words:
            if classes.setdefault(word, name) != name:
                raise AssertionError(f"{word} is both {classes[word]} and {name}")

    add("DT", ["a", "an", "the"])
    add("NN", [*chain(*ACTOR_NOUNS.values(), *OBJECT_NOUNS.values()), "person", "shirt", "coat"])
    add("JJ", COLOURS)
    add("PRP", [*PRONOUNS.values(), "they"])
    add("RB", chain(*MANNER_WORDS.values()))
    for phrase in chain(*PLACE_PHRASES.values()):
        preposition, *determiner, noun = phrase.split()
        add("IN", [preposition])
        add("DT", determiner)
        add("NN", [noun])
    for third, ing in chain(*VERBS.values()):
        verb, *before = third.partition(" {}")[0].split()
        after = third.partition("{}")[2].split()
        add("VBZ", [verb])
        add("VBG", [ing.split()[0]])
        for word in [*before, *after[:1]]:
            if word not in classes:
                add("RP" if word in ("up", "down") else "WITH" if before else "RB", [word])
        add("NN", after[2:])  # "in the air"
    for name, words in {
        "AFTER": ["after"],
        "THAT": ["that"],
        "THEN": ["then"],
        "WEARING": ["wearing"],
        "STANDING": ["standing"],
        "BE": ["is"],
        "START": ["starts", "start"],
        "CC": ["and"],
        "COMMA": [","],
        "PERIOD": ["."],
    }.items():
        add(name, words)
    return classes


@cache
def parses(classes: tuple[str, ...]) -> tuple[Tree, ...]:
    """Every parse of a sequence of word classes, as the grammar's own symbols, in the order of their bracketings."""
    parser = BottomUpLeftCornerChartParser(GRAMMAR, max_time=None)  # by default 5 s: too few on a busy machine
    found = parser.parse(list(classes))
    return tuple(sorted(found, key=lambda tree: tree.pformat(margin=10**6)))


@cache
def _skeleton(classes: tuple[str, ...]) -> Tree | None:
    found = parses(classes)
    return _penn(found[0])[0] if found else None


def _penn(tree: Tree) -> list[Tree]:
    """The tree with Penn's labels; a list, since a symbol that leaves no node gives its children."""
    if isinstance(tree[0], str):
        return [Tree(TAGS.get(tree.label(), tree.label()), list(tree))]
    children = [node for child in tree for node in _penn(child)]
    symbol = tree.label()
    return children if symbol.startswith("_") else [Tree(symbol.split("-")[0], children)]
