"""The content words of a caption: its nouns, verbs and adjectives, as lemmas.

Lemmas come from lemminflect's dictionary, which that package brings along. What part of speech a word is, a parser's
tags say (`by_tags`); or, without any download, that dictionary and the words around (`by_dictionary`).
"""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

from captionrl.text.shallow import DETERMINERS, PREPOSITIONS, word_set

PARTS = {"NOUN": "noun", "VERB": "verb", "ADJ": "adjective"}  # by lemminflect's name
# What says little of a clip: auxiliaries, pronouns, function words that a dictionary knows as nouns too, and "video".
STOP = (
    DETERMINERS
    | PREPOSITIONS
    | word_set(
        "be have do can could will would may might must shall should get go come let seem someone somebody something "
        "anyone anybody anything everyone everybody everything nobody nothing he she it they we you i him them me us "
        "himself herself itself themselves that who which what whose where when while then there here not and or but "
        "as if so very much more most other same such only just still also again own first second next last video clip "
        "scene part kind lot way time being doing having s t d ll re ve m"
    )
)
BE = word_set("am is are was were be been being 's 're 'm")

Content = tuple[str, str]  # lemma, part of speech: noun, verb or adjective


def by_tags(tagged: Sequence[tuple[str, str]]) -> list[Content | None]:
    """Of each (token, Penn Treebank tag), its lemma and part of speech; None for all that is no content word."""
    parts = {"N": "NOUN", "V": "VERB", "J": "ADJ"}
    return [_lemma(token.lower(), parts.get(tag[:1], "")) for token, tag in tagged]


def by_dictionary(tokens: Sequence[str]) -> list[Content | None]:
    """Likewise, of lower-cased PTB tokens alone. A word that may be several things is what fits its neighbours."""
    parts: list[str] = []
    progressive = False  # whether a verb in -ing goes on with a form of "be", over adverbs, commas and "and"
    for index, (token, after) in enumerate(pairwise([*tokens, "."])):
        known = list(_entry(token))
        before, word_before = parts[-1] if parts else "", tokens[index - 1] if index else ""
        if progressive and token.endswith("ing") and "VERB" in known:
            parts.append("VERB")
            continue
        parts.append(_choose(token, known, word_before, before, after) if known else "")
        joins = token in (",", "and", "or") or parts[-1] == "ADV" or token == "not"
        progressive = token in BE or (progressive and joins)
    return [_lemma(token, part) for token, part in zip(tokens, parts, strict=True)]


def _choose(token: str, known: Sequence[str], word_before: str, part_before: str, after: str) -> str:
    """The part of speech of a word that may be any of `known`, by the word before it, its part, and the word after."""
    named = word_before in DETERMINERS or word_before in PREPOSITIONS or part_before == "ADJ"
    if known == ["VERB"] and not token.endswith(("ing", "ed")) and word_before != "to":
        object_of = part_before == "VERB" and word_before.endswith("ing")
        return "NOUN" if named or object_of else "VERB"  # "in a pan", "a frying pan": no noun in the dictionary
    if len(known) == 1:
        return known[0]
    if "ADV" in known and not named:
        return "ADV"  # "kicks it fast", not "a fast car"
    if "ADJ" in known and any(part in ("NOUN", "ADJ") for part in _entry(after)) and (named or "VERB" not in known):
        return "ADJ"  # "a red ball"
    if "VERB" in known and "NOUN" in known:
        if named and word_before != "to":
            return "NOUN"  # "the kick"
        acts = after in DETERMINERS or after in PREPOSITIONS or part_before == "NOUN" or word_before == "to"
        return "VERB" if acts else "NOUN"
    return next(part for part in ("NOUN", "VERB", "ADJ", "ADV") if part in known)


@cache
def _entry(token: str) -> dict[str, tuple[str, ...]]:
    """What the dictionary has of a word: its lemmas by part of speech."""
    from lemminflect import getAllLemmas  # half a second to import, and few commands need it

    found: dict[str, tuple[str, ...]] = getAllLemmas(token) if token.isalpha() and token not in STOP else {}
    return {part: lemmas for part, lemmas in found.items() if part in (*PARTS, "ADV")}


def _lemma(token: str, part: str) -> Content | None:
    """The word itself is the lemma of what the dictionary does not have; or the verb's, of a noun."""
    if part not in PARTS or not token.isalpha() or token in STOP:
        return None
    entry = _entry(token)
    lemma = entry.get(part, entry.get("VERB", (token,)) if part == "NOUN" else (token,))[0]
    return None if lemma in STOP else (lemma, PARTS[part])
