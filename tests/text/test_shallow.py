"""Closed-class words and verb endings find the chunks that a tree would give."""

import json
import random
import zipfile
from pathlib import Path

import pytest

from captionrl.text.segmentation import sentences
from captionrl.text.shallow import shallow

MSRVTT = Path(__file__).parents[2].parent / "shared/data/msrvtt/train_val_annotation.zip"


@pytest.mark.parametrize(
    "expected",
    [
        "a person | is standing in the room | and holding a bag of groceries on the door .",
        "the person | then | walks out .",
        "a person | sits on a bed | and puts a laptop into a bag .",
        "the person | stands up , | puts the bag on one shoulder , | and walks out of the room .",
        "a person | is cooking on the stove , | then opens a refrigerator , | and then walks out .",
        "the person | then | tidies his area | after he is done eating",
        "a man | is singing | and playing a guitar on stage",
        "a man | is singing and dancing on stage",
        "a man | in blue shorts | kicks a ball",
        "a woman | is showing | how to make a cake",
        "there | is a man talking to a crowd",
        "a man | who is wearing a hat | is talking about cars",
        "a woman | eats apples and oranges",
        "after that | they | start kicking a ball .",
        "a boy | is running | while a dog follows him",
        "a man | playing a guitar on a stage",
        "a man | in a red shirt | playing a guitar | and singing a song",
        "a running man | dressed in red | wearing a hat | is shown",
        "a group of people | dancing",
        "an advertisement of shoes | for kids",
        "dancers perform their routine in a studio",
        "two men talk",
        "he | throws a ball , | then | she | catches it .",
        "a dog | barks . | the cat | runs away .",
    ],
)
def test_captions_fall_into_the_chunks_of_their_trees(expected):
    words = tuple(expected.replace(" |", "").split())
    ends = shallow(words)
    assert " ".join(word + " |" * end for word, end in zip(words, ends, strict=True)) == expected + " |"


def test_no_words_have_no_segments():
    assert shallow([]) == []


def test_any_words_whatever_are_segmented_to_the_end():
    draw = random.Random(0)
    text = "a the man and , . then is walks running how to while after that of 's he men -lrb- '' who 1\u00a01/2"
    words = text.split(" ")
    for _ in range(3000):
        caption = draw.choices(words, k=draw.randint(1, 12))
        ends = shallow(caption)
        assert len(ends) == len(caption)
        assert ends[-1]
        assert all(ends[part.stop - 1] for part in sentences(caption))


def test_real_captions_have_segments_of_a_few_words():
    if not MSRVTT.exists():
        pytest.skip(f"{MSRVTT} is not here")
    with zipfile.ZipFile(MSRVTT) as archive:
        found = json.loads(archive.read("train_val_videodatainfo.json"))["sentences"]
    captions = [words for sentence in found[::5] if (words := sentence["caption"].lower().split())]
    ends = [shallow(caption) for caption in captions]
    assert all(len(end) == len(caption) and end[-1] for end, caption in zip(ends, captions, strict=True))
    assert 4 < sum(map(len, captions)) / sum(map(sum, ends)) < 6
