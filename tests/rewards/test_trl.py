"""captionrl.rewards.trl: the same numbers as the metrics, called as TRL calls it; docs/own-loop.md trains by it."""

from functools import partial

import pytest

from captionrl.errors import UserError
from captionrl.rewards import Bleu, Cider, CiderD, DocumentFrequencies, raw_words
from captionrl.rewards.rouge import RougeL
from captionrl.rewards.trl import reward

CAPTIONS = {
    "a": ["A dog runs across the grass.", "A brown dog is running."],
    "b": ["Two boys kick a ball!", "Boys are playing football in a park."],
    "c": ["A man plays the guitar.", "Someone plays guitar, and sings."],
}
TOKENS = {item: raw_words(captions) for item, captions in CAPTIONS.items()}
COMPLETIONS = ["A dog runs.", "two boys play the guitar", "Zebras plays guitar", "", "Someone plays guitar; and sings"]
ITEMS = ["a", "b", "c", "a", "c"]
CIDER = CiderD.from_captions(TOKENS)


def test_items_score_as_the_metric_does() -> None:
    expected = CIDER.texts(COMPLETIONS, ITEMS).tolist()
    assert len({round(score, 6) for score in expected}) > 3
    function = reward(CIDER, items="item")
    assert function(COMPLETIONS, item=ITEMS) == expected
    assert (
        function(prompts=[""] * 5, completions=COMPLETIONS, item=ITEMS, completion_ids=None, trainer_state=None)
        == expected
    )
    assert reward(CIDER, items="item", threads=2)(COMPLETIONS, item=ITEMS) == expected


def test_conversations_are_the_text_of_their_messages() -> None:
    conversations = [[{"role": "assistant", "content": text}] for text in COMPLETIONS]
    function = reward(CIDER, items="item")
    assert function(conversations, item=ITEMS) == function(COMPLETIONS, item=ITEMS)


def test_a_message_may_have_parts_or_call_a_tool() -> None:
    function = reward(CIDER, items="item")
    parts = [[{"content": [{"type": "text", "text": text}, {"type": "image"}]}] for text in COMPLETIONS]
    assert function(parts, item=ITEMS) == function(COMPLETIONS, item=ITEMS)
    calls = [[{"role": "assistant", "content": None, "tool_calls": []}, {"role": "assistant"}] for _ in COMPLETIONS]
    assert function(calls, item=ITEMS) == [0.0] * len(COMPLETIONS)


@pytest.mark.parametrize("metric", [Bleu, RougeL])
def test_references_of_the_data_set_score_as_a_metric_of_all(metric: type) -> None:
    expected = metric.from_captions(TOKENS).texts(COMPLETIONS, ITEMS).tolist()
    function = reward(metric.from_captions, references="captions")
    assert function(COMPLETIONS, captions=[CAPTIONS[item] for item in ITEMS]) == pytest.approx(expected, abs=1e-12)


def test_cider_d_takes_its_document_frequencies_from_elsewhere() -> None:
    rarity = DocumentFrequencies.from_captions(TOKENS)
    function = reward(partial(CiderD.from_captions, document_frequency=rarity), references="captions")
    rows = [CAPTIONS[item] for item in ITEMS]
    assert function(COMPLETIONS, captions=rows) == pytest.approx(CIDER.texts(COMPLETIONS, ITEMS).tolist(), abs=1e-12)


@pytest.mark.parametrize("metric", [CiderD, Cider])
def test_cider_d_of_one_prompt_by_its_own_document_frequencies_is_refused(metric: type) -> None:
    rows = [CAPTIONS[ITEMS[0]]] * len(COMPLETIONS)
    with pytest.raises(UserError, match="one prompt alone, by which CIDEr-D scores 0 whatever is written"):
        reward(metric.from_captions, references="captions")(COMPLETIONS, captions=rows)
    rarity = DocumentFrequencies.from_captions(TOKENS)
    given = partial(metric.from_captions, document_frequency=rarity)
    assert max(reward(given, references="captions")(COMPLETIONS, captions=rows)) > 0


def test_rows_of_one_group_share_their_references() -> None:
    made = []

    def counted(captions: dict) -> RougeL:
        made.append(len(captions))
        return RougeL.from_captions(captions)

    reward(counted, references="captions")(COMPLETIONS, captions=[CAPTIONS[item] for item in ITEMS])
    assert made == [3]


def test_the_log_names_the_metric() -> None:
    assert reward(CIDER, items="item").__name__ == "CIDEr-D"
    assert reward(Bleu.from_captions, references="captions").__name__ == "Bleu"
    assert reward(partial(CiderD.from_captions), references="captions").__name__ == "CiderD"
    assert reward(CIDER, items="item", name="consensus").__name__ == "consensus"


def test_mistakes_have_one_line_each() -> None:
    for arguments in ({}, {"items": "item", "references": "captions"}):
        with pytest.raises(UserError, match="name of one column"):
            reward(CIDER, **arguments)
    with pytest.raises(UserError, match="does not fit its column"):
        reward(CIDER, references="captions")
    with pytest.raises(UserError, match="does not fit its column"):
        reward(CiderD.from_captions, items="item")
    with pytest.raises(UserError, match="no column 'video' that the reward reads; it has item, prompts"):
        reward(CIDER, items="video")(COMPLETIONS, item=ITEMS, prompts=COMPLETIONS)
    with pytest.raises(UserError, match=r"not one string: 'A dog\.'"):
        reward(Bleu.from_captions, references="captions")(["A dog."], captions=["A dog."])
    with pytest.raises(UserError, match="no references were given for item 'z'"):
        reward(CIDER, items="item")(["A dog."], item=["z"])
