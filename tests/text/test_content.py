"""Nouns, verbs and adjectives as lemmas: of a parser's tags, or of a dictionary and the words around."""

import pytest

from captionrl.text.content import STOP, by_dictionary, by_tags


def stats(caption: str) -> list[str]:
    return ["/".join(word) for word in by_dictionary(caption.split()) if word]


@pytest.mark.parametrize(
    ("caption", "content"),
    [
        ("a man kicks a red ball", "man/noun kick/verb red/adjective ball/noun"),
        ("the men are playing soccer in the park .", "man/noun play/verb soccer/noun park/noun"),
        ("a woman is frying meat", "woman/noun fry/verb meat/noun"),
        ("a person plays the guitar and sings", "person/noun play/verb guitar/noun sing/verb"),
        ("dogs run on the beach", "dog/noun run/verb beach/noun"),
        ("the kick", "kick/noun"),
        ("a man is running", "man/noun run/verb"),
        ("two planes are slowly flying", "plane/noun fly/verb"),
        ("a boy was running , swimming and cutting", "boy/noun run/verb swim/verb cut/verb"),
        ("a man is in the running", "man/noun running/noun"),
        ("meat in a pan", "meat/noun pan/noun"),
        ("he wants to pan", "want/verb pan/verb"),
        ("she is washing pans", "wash/verb pan/noun"),
        ("a cat that is sleeping", "cat/noun sleep/verb"),
        ("he wants to kick it", "want/verb kick/verb"),
        ("someone is doing something in a video", ""),
    ],
)
def test_the_words_around_tell_what_a_word_is(caption, content):
    assert " ".join(stats(caption)) == content


def test_a_result_stands_at_each_token():
    assert by_dictionary(["a", "dog", ",", "2", "xyzzyq"]) == [None, ("dog", "noun"), None, None, None]
    assert by_dictionary([]) == []


def test_tags_decide_where_there_are_tags():
    tagged = [("The", "DT"), ("kicks", "NNS"), ("Kicks", "VBZ"), ("redder", "JJR"), ("xyzzyqs", "NNS"), ("is", "VBZ")]
    assert by_tags(tagged) == [
        None, ("kick", "noun"), ("kick", "verb"), ("red", "adjective"), ("xyzzyqs", "noun"), None,
    ]  # fmt: skip


def test_no_lemma_is_a_stop_word():
    assert by_dictionary(["was", "videos", "has", "doing"]) == [None] * 4
    assert "man" not in STOP
