"""The mini world's grammar parses whatever the mini world says, in one way only."""

import pytest

from captionrl.datasets.mini.parser import parse, parses, word_classes
from captionrl.datasets.prepare import tokenize
from captionrl.datasets.read import read_corpus
from captionrl.errors import UserError
from captionrl.text.segmentation import boundaries, sentences
from captionrl.text.shallow import shallow


@pytest.fixture(scope="module", params=["msrvtt", "charades"])
def captions(request):
    """The PTB tokens of different captions from all over a mini corpus."""
    name = request.param
    corpus = read_corpus(f"{name}-mini", request.getfixturevalue(name).raw)
    tokens = (tuple(caption) for item in tokenize(corpus).values() for caption in item)
    return sorted(set(tokens))[:: 12 if name == "msrvtt" else 8]


def segmentation(caption):
    return [end for part in sentences(caption) for end in boundaries(parse(caption[part]))]


def test_every_caption_parses_and_its_segments_are_short(captions):
    assert len(captions) > 200
    ends = [segmentation(caption) for caption in captions]
    assert all(len(end) == len(caption) and end[-1] for end, caption in zip(ends, captions, strict=True))
    assert 2 < sum(map(len, captions)) / sum(map(sum, ends)) < 6


def test_no_caption_has_two_parses(captions):
    lexicon = word_classes()
    for classes in {
        tuple(lexicon[word] for word in caption[part]) for caption in captions for part in sentences(caption)
    }:
        assert len(parses(classes)) == 1, classes


def test_closed_class_rules_find_nearly_the_same_boundaries(captions):
    pairs = [pair for c in captions for pair in zip(segmentation(c)[:-1], shallow(c)[:-1], strict=True)]
    both = sum(ours and theirs for ours, theirs in pairs)
    f1 = 2 * both / sum(ours + theirs for ours, theirs in pairs)
    assert f1 > 0.97


@pytest.mark.parametrize(
    "expected",
    [
        "a man | in red | is picking up a ball slowly in the park",
        "a person | is standing in the city | and throwing a kite , | then | the person | brings the bag .",
        "a person | on stage | kicks a ball away , | drops the hat , | and then catches a cup in the air .",
        "after that | they | start walking with a box .",
    ],
)
def test_chunks_are_those_of_the_paper(expected):
    words = expected.replace(" |", "").split()
    ends = boundaries(parse(words))
    assert " ".join(word + " |" * end for word, end in zip(words, ends, strict=True)) == expected + " |"


def test_trees_have_the_labels_of_the_penn_treebank():
    caption = "a man in red is walking with the box ."
    assert parse(caption.split()).pformat(margin=1000) == (
        "(ROOT (S (NP (NP (DT a) (NN man)) (PP (IN in) (NP (JJ red)))) "
        "(VP (VBZ is) (VP (VBG walking) (PP (IN with) (NP (DT the) (NN box))))) (. .)))"
    )


@pytest.mark.parametrize("caption", ["a man is singing", "man a kicks the ball", ""])
def test_what_the_mini_world_cannot_say_is_refused_by_name(caption):
    with pytest.raises(UserError, match=f"^'{caption}': not a sentence of the mini world"):
        parse(caption.split())
