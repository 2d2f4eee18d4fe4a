"""Captions of stills say many things, all of them true: they are read back and held against the picture."""

import re
from itertools import pairwise
from random import Random
from statistics import mean

import pytest

from captionrl.datasets.mini.grammar import ACTOR_NOUNS, OBJECT_NOUNS, PLACE_PHRASES
from captionrl.datasets.mini.stills import Fact, Figure, facts, sample_still
from captionrl.datasets.mini.talk import GROUPS, LENGTHS, PREPOSITIONS, RELATION_VERBS, caption
from captionrl.datasets.mini.world import COLOURS, PEOPLE, PLACES

NOUNS = {noun for nouns in (*ACTOR_NOUNS.values(), *OBJECT_NOUNS.values()) for noun in nouns}
NP = re.compile(
    rf"\b(?:an?|another) (?:({'|'.join(COLOURS)}) )?({'|'.join(sorted(NOUNS))})\b"
    rf"(?: in ({'|'.join(COLOURS)})\b| wearing a ({'|'.join(COLOURS)}) (shirt|coat)\b)?"
)
GLUE = """stands standing waits waiting poses posing is lies lying sits sitting floats floating hovers hovering are
    stand a picture photo of there and , with"""
GROUP_WORDS = [word for _, words in GROUPS for word in words]
MUTUAL = ("next to each other", "side by side")


def phrases():
    """{the words before an object: relation}, longest first."""
    found = {text.removesuffix(" {}"): relation for relation, texts in PREPOSITIONS.items() for text in texts}
    for relation, forms in RELATION_VERBS.items():
        found |= {form.removesuffix(" {}"): relation for pair in forms for form in pair}
    return dict(sorted(found.items(), key=lambda item: -len(item[0])))


PHRASES = phrases()


def captions(count, *, train=True, seed=11, each=5):
    random = Random(seed)
    for _ in range(count):
        still = sample_still(random, train=train)
        yield still, [caption(still, random) for _ in range(each)]


def meant(still, match):
    """The figures and things that a noun phrase may mean."""
    before, noun, *worn = match.groups()
    colour = before or worn[0] or worn[1]
    return [
        one
        for one in (*still.figures, *still.things)
        if noun in (ACTOR_NOUNS[one.actor] if isinstance(one, Figure) else OBJECT_NOUNS[one.object])
        and colour in (None, one.colour)
        and worn[2] in (None, "shirt" if isinstance(one, Figure) and one.actor in PEOPLE else "coat")
    ]


def check(still, text):
    """Read `text` back; return the relations that it tells. Whatever is wrong or not understood fails."""
    assert re.fullmatch(r"[A-Z][a-z ,]*\.", text), text
    text = text[0].lower() + text[1:-1]
    for place in PLACES:  # places first: their prepositions are no relations
        for phrase in (*PLACE_PHRASES[place], f"a {place} with"):
            rest = re.sub(rf"(^| ){phrase}\b", " ", text)
            assert rest == text or place == still.place, text
            text = rest
    found = list(NP.finditer(text))
    candidates = [meant(still, match) for match in found]
    assert all(candidates), (text, still)
    starts = [match.start() for match in found] + [len(text)]
    gaps = [text[: starts[0]]] + [text[match.end() : start] for match, start in zip(found, starts[1:], strict=True)]
    stats, left = [], []
    subject = candidates[0] if candidates else []
    for gap, others in zip(gaps, [*candidates, []], strict=True):
        gap = " ".join(gap.split())
        for group in GROUP_WORDS:
            if gap.startswith(group):
                members = next(members for members, words in GROUPS if group in words)
                assert {figure.actor for figure in still.figures} <= set(members), text
                assert len(still.figures) == 2
                gap = gap.removeprefix(group)
        for mutual in MUTUAL:
            if mutual in gap:
                assert Fact("beside", *still.figures) in facts(still), text
                gap = gap.replace(mutual, "")
        for phrase, relation in PHRASES.items():
            if re.search(r"\b(are|stand)\b", text):
                break  # both of them: no hands are meant
            if re.search(rf"(?:^|\s){phrase}$", gap):
                known = facts(still)
                assert any(Fact(relation, one, other) in known for one in subject for other in others), (text, still)
                stats.append(relation)
                gap = gap.removesuffix(phrase)
                break
        left += gap.split()
    assert set(left) <= set(GLUE.split()), (text, left)
    return stats


@pytest.mark.parametrize("train", [True, False])
def test_every_noun_colour_and_relation_of_a_caption_is_true_of_its_picture(train):
    stats = [
        relation for still, texts in captions(500, train=train) for text in texts for relation in check(still, text)
    ]
    assert set(stats) == {*PREPOSITIONS, *RELATION_VERBS}
    assert len(stats) > 2000


@pytest.mark.parametrize("lie", ["colour", "noun", "relation", "place"])
def test_the_reader_of_these_tests_finds_lies(lie):
    caught = tried = 0
    for still, (text,) in captions(300, each=1):
        false = {
            "colour": re.sub("|".join(COLOURS), lambda m: COLOURS[COLOURS.index(m[0]) - 1], text),
            "noun": re.sub(r"\b(dog|puppy|cat|kitten|cup|mug|ball)\b", "robot", text),
            "relation": re.sub(r"left", "right", re.sub(r"under|below|behind", "holding", text)),
            "place": re.sub(r"(kitchen|bedroom|park)\b", lambda m: {"kitchen": "park"}.get(m[0], "kitchen"), text),
        }[lie]
        if false != text:
            tried += 1
            try:
                check(still, false)
            except AssertionError:
                caught += 1
    assert tried > 30
    assert caught > 0.8 * tried  # what is left may be true by chance


def test_captions_are_as_long_as_cocos_and_english_enough():
    texts = [text for _, each in captions(300) for text in each]
    lengths = [len(text.split()) for text in texts]
    assert (min(lengths), max(lengths)) == LENGTHS
    assert 10 < mean(lengths) < 12
    for text in texts:
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", text, re.IGNORECASE), text
        assert not re.search(r"[{}]|  | [.,]|,\.", text), text
        assert not any(one == other for one, other in pairwise(text.lower().split())), text


def test_annotators_of_a_picture_differ_but_agree_on_what_matters():
    pictures = list(captions(300))
    assert mean(len(set(texts)) for _, texts in pictures) > 4.9
    main = [
        sum(any(noun in text for noun in ACTOR_NOUNS[still.figures[0].actor]) for text in texts)
        for still, texts in pictures
    ]
    assert mean(main) > 4


def test_bigrams_of_five_captions_are_nearly_as_varied_as_cocos():
    def div2(texts):
        words = [text.lower().rstrip(".").replace(",", "").split() for text in texts]
        bigrams = [pair for caption in words for pair in pairwise(caption)]
        return len(set(bigrams)) / sum(map(len, words))

    assert 0.6 < mean(div2(texts) for _, texts in captions(300)) < 0.75  # captions_val2017: 0.74


def test_the_second_of_two_equal_nouns_is_another_one():
    texts = [text for _, each in captions(600) for text in each]
    assert any("another" in text for text in texts)
    for text in texts:
        nouns = re.findall(rf"\ban? (?:(?:{'|'.join(COLOURS)}) )?({'|'.join(NOUNS)})\b", text.lower())
        assert len(nouns) == len(set(nouns)), text


def test_equal_random_numbers_give_equal_captions():
    assert [texts for _, texts in captions(20)] == [texts for _, texts in captions(20)]
