"""Captions in chunks (HRL section 4.1), from their constituency trees; without trees see `shallow.py`.

A segmentation is a list[bool], one per PTB token, True at the last token of each segment.
"""

from collections.abc import Container, Iterator, Sequence
from itertools import pairwise

from nltk import Tree

# ---- sentences -----------------------------------------------------------------------------------------------------

STOPS = frozenset(".!?")
CLOSERS = frozenset(["''", "'", "-rrb-", "-rcb-", *STOPS])


def sentences(tokens: Sequence[str]) -> list[slice]:
    """The sentences of a caption, in order, without gaps; a closing quote or bracket belongs to what it closes."""
    ends, stopped = [], False
    for i, token in enumerate(tokens):
        if stopped and token not in CLOSERS:
            ends.append(i)
        stopped = token in STOPS or (stopped and token in CLOSERS)
    return [slice(begin, end) for begin, end in pairwise([0, *ends, len(tokens)]) if begin < end]


# ---- from trees ----------------------------------------------------------------------------------------------------

_CLAUSES = frozenset(["ROOT", "S", "S1", "SINV", "SQ", "SBARQ", "FRAG", "X"])
_PUNCTUATION = frozenset([".", ",", ":", "''", "-RRB-", "-RCB-", "HYPH", "NFP"])  # not what opens: `` and -LRB-
_CONNECTIVES = frozenset(["CC", "CONJP", "ADVP", "RB"])


def boundaries(tree: Tree) -> list[bool]:
    """The segmentation of one sentence by its constituency tree (Penn labels): one entry per leaf.

    A sentence falls into its constituents (subject, VP, an ADVP, PP or clause beside them), and coordinated sentences
    each likewise; a VP into its coordinated VPs, auxiliaries with the first of them. A clause inside a VP (SBAR, a PP
    or ADVP that governs one, a participle after a comma) is one chunk. An NP beside a VP, or that is all there is,
    falls into its base and what modifies it from behind: "a man | in red | wearing a hat | plays"; a phrase with "of"
    belongs to the base. An NP inside a VP is never divided. Conjunctions and opening quotes go with what follows,
    other punctuation with what precedes.

    HRL prints examples but no rule. They leave open where an adverb before the verb goes: in the text "then tidies
    his area" is one chunk, in Figure 4 "then | walks out ." is two. Here the parser decides: an ADVP inside the VP
    stays in it, an ADVP between subject and VP is a chunk of its own. No example has a modified subject. It is
    divided because the critic reads only what is written so far: after "a man" it is not known whether "in red" or "is"
    follows; and because the paper speaks of NP and VP labels, and a participle has its own.
    """
    leaves = tree.leaves()
    tags = [word.label() for word in tree.subtrees(_is_word)]
    starts = set(_clause(Tree("ROOT", [tree]), 0))
    if len(tags) == len(leaves):  # else some leaf has no tag of its own, and none is known to be punctuation
        starts = {next((i for i in range(at, len(tags)) if tags[i] not in _PUNCTUATION), 0) for at in starts}
    return ends_of(starts, len(leaves))


def ends_of(starts: Container[int], total: int) -> list[bool]:
    """Boundaries from the positions where segments begin."""
    return [i + 1 == total or i + 1 in starts for i in range(total)]


def _is_word(node: Tree | str) -> bool:
    return isinstance(node, str) or (len(node) == 1 and isinstance(node[0], str))


def _label(node: Tree | str) -> str:
    """The category without function tags: "NP-TMP" is an NP, but "-LRB-" is itself."""
    label = "" if isinstance(node, str) else str(node.label())
    return label.split("-")[0] or label


def _children(tree: Tree, begin: int) -> Iterator[tuple[Tree, str, int]]:
    """Each child, its category, and the position of its first leaf."""
    for child in tree:
        yield child, _label(child), begin
        begin += 1 if isinstance(child, str) else len(child.leaves())


def _clause(tree: Tree, begin: int) -> Iterator[int]:
    """Where the chunks of a clause begin: with each of its phrases, or with the words that lead to it."""
    lead = None
    for child, label, at in _children(tree, begin):
        if _is_word(child) and label in (*_PUNCTUATION, "CC", "IN", "``", "-LRB-", "-LCB-", "MD", "VBZ", "VBP", "VBD"):
            if label not in _PUNCTUATION and lead is None:
                lead = at
            continue
        yield at if lead is None else lead
        lead = None
        inside = _clause if label in _CLAUSES else {"NP": _noun_phrase, "VP": _verb_phrase}.get(label)
        if inside and not _is_word(child):
            yield from (start for start in inside(child, at) if start > at)


def _noun_phrase(tree: Tree, begin: int) -> Iterator[int]:
    """Where further chunks begin within an NP that no VP holds, or within the "of" phrase that ends its base."""
    divided = False
    lead = None  # where the conjunction before the next conjunct stands
    for child, label, at in _children(tree, begin):
        if label in ("CC", "CONJP"):
            lead = at
        if label in ("CC", "CONJP", *_PUNCTUATION):
            continue
        of = label == "PP" and child.leaves()[0].lower() == "of"
        modifies = at > begin and label in ("PP", "VP", "SBAR", "S") and not of
        starts = [at if lead is None else lead] if modifies or (divided and label == "NP") else []
        if label == "VP":
            starts += _verb_phrase(child, at)
        elif of or (label == "NP" and not _is_word(child)):
            starts += _noun_phrase(child, at)
        yield from starts
        divided, lead = divided or bool(starts), None


def _verb_phrase(tree: Tree, begin: int) -> Iterator[int]:
    """Where further chunks begin within a VP."""
    coordinated = sum(_label(child) == "VP" for child in tree) > 1
    after_verb = after_comma = after_clause = False
    lead = None  # where the words that lead to the next conjunct begin
    for child, label, at in _children(tree, begin):
        if label in _PUNCTUATION:
            after_comma = True
            continue
        joins = label in ("CC", "CONJP") or (after_verb and (after_comma or lead is not None))
        if joins and label in _CONNECTIVES and not _governs_clause(child):
            lead = at if lead is None else lead
            continue
        verb = label == "VP" or (coordinated and label.startswith("VB"))  # "(VP groaned ...) and (VBD dived)"
        conjunct = verb and (after_verb or lead is not None)
        participle = label == "S" and after_comma
        if conjunct or participle or after_clause or _governs_clause(child):
            yield at if lead is None else lead
        if label == "VP":
            yield from _verb_phrase(child, at)
        elif label == "S" and "NP" not in map(_label, child):  # "starts singing": it only prolongs the verb
            for part, part_label, part_at in _children(child, at):
                if part_label == "VP":
                    yield from _verb_phrase(part, part_at)
        after_verb, after_comma, after_clause, lead = after_verb or verb, False, _governs_clause(child), None


def _governs_clause(node: Tree | str) -> bool:
    """Is this a clause with a word that subordinates it: "after he is done", "while eating", "soon after he left"?"""
    if _label(node) in ("PP", "ADVP"):
        return any(_label(child) == "S" or _governs_clause(child) for child in node)
    return _label(node) == "SBAR"
