import re

import pytest

from captionrl.datasets.corpus import Corpus, Item
from captionrl.errors import UserError

ITEMS = [Item("a", "train", None), Item("b", "val", "b.mp4"), Item("c", "test", None)]
CAPTIONS = {"a": ["one"], "b": ["two"], "c": ["three", "three"]}


def test_a_sound_corpus():
    corpus = Corpus("toy", ITEMS, CAPTIONS, "by hand")
    assert corpus.split("val") == [Item("b", "val", "b.mp4")]


@pytest.mark.parametrize(
    ("items", "captions", "message"),
    [
        ([*ITEMS, Item("a", "test", None)], CAPTIONS, "item a: listed 2 times"),
        ([*ITEMS, Item("d", "dev", None)], CAPTIONS | {"d": ["x"]}, "item d: split 'dev'"),
        ([*ITEMS, Item("d", "val", None)], CAPTIONS, "item d: no caption"),
        (ITEMS, CAPTIONS | {"c": ["three", "\t"]}, "item c: no caption, or an empty one"),
        (ITEMS, CAPTIONS | {"c": ["\ud83d"]}, "item c: a caption holds half a character"),
        (ITEMS, CAPTIONS | {"c": ["<!a" * 4000]}, "item c: a caption of 12,000 characters, of at most 10,000"),
        (ITEMS, CAPTIONS | {"d": ["x"]}, "item d: has captions but is not listed"),
        ([], {}, "has no item; add some"),
        ([*ITEMS, Item("../d", "val", None)], CAPTIONS, "item '../d': an id may hold only"),
        ([*ITEMS, Item("d\te", "val", None)], CAPTIONS, r"item 'd\te': an id may hold only"),
    ],
)
def test_an_unsound_corpus_cannot_be_made(items, captions, message):
    with pytest.raises(UserError, match=f"^toy: {re.escape(message)}"):
        Corpus("toy", items, captions, "by hand")


def test_a_split_may_be_empty():
    assert Corpus("toy", ITEMS[:1], {"a": ["one"]}, "by hand").split("val") == []


def test_files_that_it_was_read_from_are_named():
    with pytest.raises(UserError, match=r"^toy \(a\.json, b\.zip\): has no item; add some"):
        Corpus("toy", [], {}, "by hand", ("a.json", "b.zip"))
