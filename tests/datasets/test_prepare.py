import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from captionrl.datasets.corpus import Corpus, Item
from captionrl.datasets.parquet import read_table
from captionrl.datasets.prepare import describe, prepare
from captionrl.datasets.prepared import SCHEMA, load_captions
from captionrl.errors import UserError
from captionrl.text import ptb
from captionrl.text.punctuation import strip_punctuation
from captionrl.text.vocabulary import Vocabulary

CORPUS = Corpus(
    "toy",
    [Item("b", "train", "b.mp4"), Item("t", "test", "t.mp4"), Item("a", "train", None), Item("v", "val", "v.mp4")],
    {"a": ["A dog runs.", "A dog!"], "b": ["a man runs"], "v": ["a zebra runs"], "t": ["a man's dog"]},
    "by hand",
)


@pytest.fixture
def fast_tokens(monkeypatch):
    """Spaces for tokens: what is tested below does not depend on the tokeniser."""
    monkeypatch.setattr(ptb, "tokenize", lambda captions: [caption.lower().split() for caption in captions])


def test_prepared_and_loaded_is_the_corpus(tmp_path, fast_tokens):
    prepare(CORPUS, tmp_path, 1)
    captions = load_captions(tmp_path)
    assert captions.items == {split: CORPUS.split(split) for split in ("train", "val", "test")}
    assert list(captions.raw.items()) == [(item.id, CORPUS.captions[item.id]) for item in CORPUS.items]
    assert captions.tokens["a"] == [["a", "dog", "runs."], ["a", "dog!"]]


def test_the_files(tmp_path, fast_tokens):
    metadata = prepare(CORPUS, tmp_path, 2)
    table = pq.read_table(tmp_path / "captions.parquet")
    assert {field.name: str(field.type) for field in table.schema} == {
        "item": "string",
        "split": "string",
        "index": "int32",
        "raw": "string",
        "tokens": "list<element: string>",
    }
    assert table["item"].to_pylist() == ["b", "t", "a", "a", "v"]
    assert table["index"].to_pylist() == [0, 0, 0, 1, 0]
    assert (tmp_path / "splits/train.txt").read_text() == "b\tb.mp4\na\t\n"
    assert json.loads((tmp_path / "metadata.json").read_text()) == metadata
    assert Vocabulary.load(tmp_path / "vocabulary.json").words[4:] == ("a",)
    assert not list(tmp_path.rglob(".*"))  # no temporary file is left


def test_equal_corpora_give_equal_bytes(tmp_path, fast_tokens):
    for directory in ("one", "two"):
        prepare(CORPUS, tmp_path / directory, 1)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*")]
    assert len(files) == 6
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_the_card_of_real_tokens():
    metadata = describe(CORPUS, 2)
    assert metadata["name"] == "toy"
    assert metadata["origin"] == "by hand"
    assert metadata["min_count"] == 2
    assert metadata["vocabulary"] == 4 + 3  # a, dog, runs
    assert (metadata["items"], metadata["captions"], metadata["mean_length"]) == (4, 5, 17 / 5)
    train, val, test = (metadata["splits"][split] for split in ("train", "val", "test"))
    assert (train["items"], train["captions"], train["mean_length"]) == (2, 3, pytest.approx(10 / 3, abs=1e-4))
    assert train["coverage"] == 0.7  # not: . ! man
    assert val["coverage"] == pytest.approx(2 / 3, abs=1e-6)
    assert test["mean_length"] == 4  # a man 's dog
    assert train["split_hash"] == hashlib.sha256(b"a\nb").hexdigest()


def test_the_vocabulary_never_sees_validation_or_test(tmp_path, fast_tokens):
    prepare(CORPUS, tmp_path, 1)
    vocabulary = Vocabulary.load(tmp_path / "vocabulary.json")
    assert "man" in vocabulary
    assert "zebra" not in vocabulary


def test_words_of_all_items_count_where_asked(fast_tokens, tmp_path):
    """The vocabulary of Stack-Cap's released code: words of all splits, in its case those seen more than five times."""
    metadata = prepare(CORPUS, tmp_path, 2, "all")
    assert metadata["counted"] == "all"
    assert Vocabulary.load(tmp_path / "vocabulary.json").words[4:] == ("a", "dog", "runs")  # of training items: a


def test_without_punctuation_no_two_captions_of_words_are_the_same_to_scores(tmp_path):
    metadata = prepare(CORPUS, tmp_path, 1, punctuation=False)
    words = Vocabulary.load(tmp_path / "vocabulary.json").words
    assert strip_punctuation(words) == list(words)
    captions = load_captions(tmp_path)
    assert captions.tokens["a"] == [["a", "dog", "runs"], ["a", "dog"]]
    assert captions.raw["a"] == CORPUS.captions["a"]
    assert (metadata["punctuation"], metadata["mean_length"]) == (False, 15 / 5)
    assert describe(CORPUS, 1)["vocabulary"] == len(words) + 2  # . !


def test_damaged_files_are_named(tmp_path, fast_tokens):
    with pytest.raises(UserError, match=r"train.txt: no such file"):
        load_captions(tmp_path)
    prepare(CORPUS, tmp_path, 1)
    whole = (tmp_path / "captions.parquet").read_bytes()
    (tmp_path / "captions.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"captions.parquet: not readable"):
        load_captions(tmp_path)
    (tmp_path / "captions.parquet").write_bytes(whole)
    (tmp_path / "splits/val.txt").write_text("")
    with pytest.raises(UserError, match=r"captions.parquet: its items are not those"):
        load_captions(tmp_path)
    (tmp_path / "splits/val.txt").write_text("v")
    with pytest.raises(UserError, match=r"val.txt: must hold lines"):
        load_captions(tmp_path)


def test_a_caption_without_tokens_is_refused(monkeypatch):
    monkeypatch.setattr(ptb, "tokenize", lambda captions: [[] for _ in captions])
    with pytest.raises(UserError, match="toy: item b: a caption without a single token"):
        describe(CORPUS, 1)


def test_a_value_repeated_for_ever_is_refused(tmp_path):
    """Thirty million rows of nothing take a few kilobytes of Parquet."""
    rows = pa.table({"item": pa.nulls(30_000_000, pa.string())})
    pq.write_table(rows, tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet: not readable \(claims to be [\d,]+ bytes, in [\d,]+\); prepare"):
        read_table(tmp_path / "a.parquet", SCHEMA, "prepare the corpus again")


def test_what_a_repeated_value_becomes_in_memory_is_bounded(tmp_path):
    """A text of a kilobyte, a million times; a text of 20 MB that is one letter."""
    path, schema = tmp_path / "a.parquet", pa.schema([("raw", pa.string())])
    often = pa.DictionaryArray.from_arrays(pa.array([0]).take(pa.array([0] * 1_000_000)), ["x" * 1000])
    for column in (often, pa.array(["x" * 20_000_000])):
        pq.write_table(pa.table({"raw": column}), path, compression="zstd")
        with pytest.raises(UserError, match=r"a.parquet: not readable \(claims to be [\d,]+ bytes, in [\d,]+\); again"):
            read_table(path, schema, "again")
