"""Captions of the mini world say many things, all of them true."""

import json
import re
from statistics import mean

import pytest

from captionrl.datasets.mini.grammar import ACTOR_NOUNS, MANNER_WORDS, OBJECT_NOUNS, PLACE_PHRASES, VERBS
from captionrl.datasets.mini.world import COLOURS, PEOPLE
from captionrl.datasets.read import read_corpus

GLUE = {"a", "an", "the", "in", "is", "wearing", "shirt", "coat"}
DETAILED_GLUE = GLUE | {"standing", "and", "then", "after", "that", "start", "starts", "person", "they", "he", "she"}
PRONOUNS = {"man": {"he"}, "boy": {"he"}, "woman": {"she"}, "girl": {"she"}}
NOUNS = "|".join(sorted({noun for nouns in OBJECT_NOUNS.values() for noun in nouns}))


def words(text):
    """Words and marks, as the PTB tokeniser finds them in these captions."""
    return re.findall(r"\w+|[.,]", text.lower())


def vocabulary(*phrases):
    return {word for phrase in phrases for word in words(phrase.replace("{}", ""))}


def truth(scene, events):
    """Every word that may be said of the scene, but for glue."""
    found = {scene.colour} | vocabulary(*ACTOR_NOUNS[scene.actor], *PLACE_PHRASES[scene.place])
    for event in events:
        found |= {event.object_colour} | vocabulary(*OBJECT_NOUNS[event.object])
        found |= vocabulary(*(form for forms in VERBS[event.action] for form in forms))
        found |= vocabulary(*MANNER_WORDS.get(event.manner, ()))
    return found


def test_short_captions_mention_only_what_is_there(msrvtt):
    corpus = read_corpus("msrvtt-mini", msrvtt.raw)
    for item in corpus.items[::5]:
        scene = msrvtt.scenes[item.id]
        allowed = truth(scene, scene.events) | GLUE
        for caption in corpus.captions[item.id]:
            assert set(words(caption)) <= allowed, (caption, scene)


def test_colours_are_those_of_the_thing_they_stand_before(msrvtt):
    corpus = read_corpus("msrvtt-mini", msrvtt.raw)
    colours = "|".join(COLOURS)
    seen = 0
    for item in corpus.items[::5]:
        scene = msrvtt.scenes[item.id]
        for caption in corpus.captions[item.id]:
            of_object = re.findall(rf"\b({colours}) (?:{NOUNS})\b", caption)
            of_actor = re.findall(rf"\b(?:in|wearing a) ({colours})\b", caption)
            assert set(of_object) <= {scene.events[0].object_colour}
            assert set(of_actor) <= {scene.colour}
            assert len(of_object) + len(of_actor) == len(re.findall(rf"\b(?:{colours})\b", caption))
            seen += len(of_object) + len(of_actor)
    assert seen > 1000


def test_detailed_captions_mention_only_what_is_there(charades):
    corpus = read_corpus("charades-mini", charades.raw)
    for item in corpus.items[::3]:
        scene = charades.scenes[item.id]
        others = {"he", "she"} - PRONOUNS[scene.actor]
        allowed = (truth(scene, scene.events) | DETAILED_GLUE | set(".,")) - others
        for caption in corpus.captions[item.id]:
            assert set(words(caption)) <= allowed, (caption, scene)


def test_detailed_captions_tell_the_events_in_their_order(charades):
    corpus = read_corpus("charades-mini", charades.raw)
    for item in corpus.items[::3]:
        wanted = [event.object for event in charades.scenes[item.id].events]
        things = {noun: thing for thing, nouns in OBJECT_NOUNS.items() for noun in nouns}
        for caption in corpus.captions[item.id]:
            assert [things[noun] for noun in re.findall(rf"\b(?:{NOUNS})\b", caption)] == wanted, caption


@pytest.mark.parametrize("name", ["msrvtt", "charades"])
def test_captions_are_english_enough(request, name):
    corpus = read_corpus(f"{name}-mini", request.getfixturevalue(name).raw)
    for captions in corpus.captions.values():
        for caption in captions:
            assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", caption, re.IGNORECASE), caption
            assert not re.search(r"[{}]|  |\.\.|, *\.| [.,]", caption), caption
            assert name == "msrvtt" or re.fullmatch(r"[A-Z].*[a-z]\.", caption), caption
            assert not re.search(r"\. [a-z]", caption), caption


@pytest.mark.parametrize(("name", "low", "high"), [("msrvtt", 8.5, 10.5), ("charades", 22, 26)])
def test_captions_are_as_long_as_the_real_ones(request, name, low, high):
    captions = read_corpus(f"{name}-mini", request.getfixturevalue(name).raw).captions.values()
    lengths = [len(words(caption)) for item in captions for caption in item]
    assert low < mean(lengths) < high  # HRL section 4.1: 9.28 and 24.13
    assert len(set(lengths)) > 8


def test_annotators_differ(msrvtt):
    captions = read_corpus("msrvtt-mini", msrvtt.raw).captions
    assert {len(item) for item in captions.values()} == {20}
    assert mean(len(set(item)) for item in captions.values()) > 15


def test_a_detailed_clip_has_two_to_five_captions(charades):
    corpus = read_corpus("charades-mini", charades.raw)
    assert {len(item) for item in corpus.captions.values()} == {2, 3, 4, 5}
    assert {charades.scenes[item.id].actor for item in corpus.items} == set(PEOPLE)


def test_test_captions_hold_no_word_that_training_lacks(msrvtt):
    corpus = read_corpus("msrvtt-mini", msrvtt.raw)
    said = {
        split: {word for item in corpus.split(split) for caption in corpus.captions[item.id] for word in words(caption)}
        for split in ("train", "val", "test")
    }
    assert said["val"] | said["test"] <= said["train"]


def test_captions_tell_how_fast_only_where_it_shows(msrvtt):
    sentences = json.loads((msrvtt.raw / "test_videodatainfo.json").read_text())["sentences"]
    manners = {word: manner for manner, said in MANNER_WORDS.items() for word in said}
    stats = [
        (manners[word], msrvtt.scenes[sentence["video_id"]].events[0].manner)
        for sentence in sentences
        for word in words(sentence["caption"])
        if word in manners
    ]
    assert len(stats) > 100
    assert all(said == shown for said, shown in stats)
