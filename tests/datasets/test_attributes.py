"""Attributes are the most frequent content words of training captions, in a list that people and programs read."""

import zipfile

import pytest

from captionrl.datasets.attributes import Attribute, Attributes
from captionrl.datasets.corpus import Item
from captionrl.datasets.mine import mine
from captionrl.datasets.prepared import Captions
from captionrl.errors import UserError

TOKENS = {
    "clip0": ["a man kicks a ball", "the men kick it , a man does", "a person is kicking a ball"],
    "clip1": ["a man has a red kite"],
    "clip2": ["a zebra eats a zebra"],  # not a training clip
}


@pytest.fixture
def captions():
    tokens = {item: [text.split() for text in texts] for item, texts in TOKENS.items()}
    items = {"train": [Item("clip0", "train", None), Item("clip1", "train", None)], "val": []}
    return Captions({**items, "test": [Item("clip2", "test", None)]}, {}, tokens)


def test_a_caption_counts_once_and_forms_are_one_attribute(captions):
    kick, man, ball, *others = mine(captions, "dictionary", 10).listed
    assert man == Attribute("man", "noun", captions=3, clips=2, forms=("man", "men"))
    assert kick == Attribute("kick", "verb", captions=3, clips=1, forms=("kick", "kicking", "kicks"))
    assert (ball.name, ball.captions, ball.clips) == ("ball", 2, 1)
    assert [attribute.name for attribute in others] == ["kite", "person", "red"]
    assert "zebra" not in mine(captions, "dictionary", 10).names


def test_the_most_frequent_are_kept(captions):
    assert len(mine(captions, "dictionary", 2).listed) == 2


def test_a_form_is_of_one_attribute_alone():
    """Though the tagger sees "running" once as a noun."""
    texts = [["a man", "is running"], ["the running of a man"], ["a woman is running"]]
    tokens = {f"clip{i}": [" ".join(text).split()] for i, text in enumerate(texts)}
    items = {"train": [Item(item, "train", None) for item in tokens], "val": [], "test": []}
    listed = mine(Captions(items, {}, tokens), "dictionary", 10)
    assert [(one.name, one.part, one.captions, one.forms) for one in listed.listed] == [
        ("run", "verb", 3, ("running",)), ("man", "noun", 2, ("man",)), ("woman", "noun", 1, ("woman",))
    ]  # fmt: skip


def test_an_item_has_an_attribute_if_a_caption_has_one_of_its_forms(captions):
    listed = mine(captions, "dictionary", 10)
    has = dict(zip(listed.names, listed.of([["two", "men"], ["a", "red", "thing"]]), strict=True))
    assert has["man"] is True
    assert has["red"] is True
    assert has["kick"] is False


def test_the_list_is_read_back_as_it_was_written(captions, tmp_path):
    listed = mine(captions, "dictionary", 10)
    listed.save(tmp_path / "a.tsv")
    assert Attributes.load(tmp_path / "a.tsv") == listed
    assert (tmp_path / "a.tsv").read_text().splitlines()[2] == "man\tnoun\t3\t2\tman men"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "not a list of attributes"),
        ("attribute\n", "not a list of attributes"),
        ("attribute\tpart of speech\tcaptions\tclips\tforms\nman\tnoun\tmany\t1\tman\n", "line 2: must be"),
        ("attribute\tpart of speech\tcaptions\tclips\tforms\nman\tnoun\n", "line 2: must be"),
    ],
)
def test_a_list_that_is_none_is_refused_with_its_line(tmp_path, text, fault):
    (tmp_path / "a.tsv").write_text(text)
    with pytest.raises(UserError, match=fault):
        Attributes.load(tmp_path / "a.tsv")


def test_captions_without_content_words_are_refused():
    items = {"train": [Item("clip", "train", None)], "val": [], "test": []}
    with pytest.raises(UserError, match="are they English"):
        mine(Captions(items, {}, {"clip": [["il", "est", "là"]]}), "dictionary", 10)


def test_a_zip_without_corenlp_is_refused_and_not_left_unpacked(captions, tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("a.txt", "a")
    with pytest.raises(UserError, match=r"other\.zip: holds no CoreNLP; fetch its distribution again"):
        mine(captions, "corenlp", 10, corenlp=tmp_path / "other.zip", states=tmp_path)
    assert not (tmp_path / "other.zip.unpacked").exists()


def test_a_tagger_that_nobody_knows_and_corenlp_that_is_not_there_are_refused(captions, tmp_path):
    with pytest.raises(UserError, match="there are corenlp, dictionary"):
        mine(captions, "brill", 10)
    with pytest.raises(UserError, match="no such file or folder"):
        mine(captions, "corenlp", 10, corenlp=tmp_path / "none.zip", states=tmp_path)


def test_corenlps_tags_decide_and_what_it_cannot_parse_the_dictionary_does(distribution, tmp_path):
    items = {"train": [Item("clip", "train", None)], "val": [], "test": []}
    captions = Captions(items, {}, {"clip": [["a", "man", "sings"], ["two", "dogs", "sing"]]})
    for _ in range(2):  # the second time from the journal
        listed = mine(captions, "corenlp", 10, corenlp=distribution, states=tmp_path / "state").listed
        assert [(one.name, one.part) for one in listed] == [("sing", "verb"), ("dog", "noun"), ("man", "noun")]
    assert (tmp_path / "asked").read_text().splitlines() == ["a man sings", "two dogs sing"]
