import pytest

from captionrl.errors import UserError
from captionrl.text.vocabulary import BOS, EOS, PAD, SPECIALS, UNK, Vocabulary

CAPTIONS = [["a", "man", "runs", "."], ["a", "dog", "runs"], ["a", "dog", "</s>", "<unk>"]]


def test_order_is_by_count_then_alphabet():
    assert Vocabulary.build(CAPTIONS, 1).words == (*SPECIALS, "a", "dog", "runs", ".", "man")
    assert Vocabulary.build(reversed(CAPTIONS), 2).words == (*SPECIALS, "a", "dog", "runs")


def test_a_text_that_spells_a_special_is_unknown():
    vocabulary = Vocabulary.build(CAPTIONS, 1)
    assert vocabulary.encode(["a", "</s>", "<pad>", "<unk>", "zebra"]) == [4, UNK, UNK, UNK, UNK]
    assert "</s>" not in vocabulary


def test_decode_inverts_encode_up_to_the_end():
    vocabulary = Vocabulary.build(CAPTIONS, 1)
    ids = vocabulary.encode(["a", "dog", "zebra"])
    assert vocabulary.decode([BOS, *ids, EOS, 5, PAD]) == ["a", "dog", "<unk>"]


def test_saved_and_loaded_is_the_same(tmp_path):
    vocabulary = Vocabulary.build([["café", "1\u00a01/2"]], 1)
    vocabulary.save(tmp_path / "vocabulary.json")
    assert Vocabulary.load(tmp_path / "vocabulary.json") == vocabulary


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[1]",
        '["a", "b"]',
        '["<pad>", "<s>", "</s>", "<unk>", "a", "a"]',
        r'["<pad>", "<s>", "</s>", "<unk>", "\ud800"]',
        "[",
    ],
)
def test_a_file_that_is_no_vocabulary_is_refused(tmp_path, text):
    (tmp_path / "vocabulary.json").write_text(text)
    with pytest.raises(UserError, match=r"vocabulary\.json: "):
        Vocabulary.load(tmp_path / "vocabulary.json")
