"""METEOR's aggregation is the jar's, and the pruned paraphrase table changes no statistic."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from captionrl.errors import UserError
from captionrl.evaluation.aggregate import aggregate, without_perfect_chunks
from captionrl.evaluation.meteor import meteor_statistics
from captionrl.text import meteor
from captionrl.text.java import run_java
from captionrl.text.meteor import METEOR_JAR, PARAPHRASES, pruned_paraphrases, stdio_options
from captionrl.text.ptb import tokenize
from captionrl.text.punctuation import strip_punctuation


@pytest.fixture(scope="module")
def texts(corpus):
    references, hypotheses = corpus
    captions = [text for id in references for text in [*references[id], hypotheses[id]]]
    stripped = iter(" ".join(strip_punctuation(tokens)) for tokens in tokenize(captions))
    pairs = [([next(stripped) for _ in references[id]], next(stripped)) for id in references]
    return [of_item for of_item, _ in pairs], [hypothesis for _, hypothesis in pairs]


@pytest.fixture(scope="module")
def no_paraphrases(tmp_path_factory):
    """The whole table takes seconds to load."""
    table = tmp_path_factory.mktemp("meteor") / "none.gz"
    table.write_bytes(gzip.compress(b""))
    return table


def test_aggregate_is_the_jars_own_for_items_and_corpus(texts, no_paraphrases):
    statistics = meteor_statistics(*texts, table=no_paraphrases)
    # All four stages weigh, whatever this corpus happens to match: random counts for half of the rows.
    drawn = np.random.default_rng(0).integers(0, 4, size=(20, 4, 4)).astype(float)
    totals = drawn.sum(axis=1)
    length = totals[:, 0:2] + totals[:, 2:4] + 2
    rows = np.column_stack([length, totals[:, 2:4] + 1, drawn.reshape(20, 16), np.full(20, 5), length - 2])
    perfect = np.array([[2, 2, 1, 1, 1, 1, 1, 1, *[0] * 12, 1, 2, 2]], dtype=float)
    shuffled = perfect + 1.0 * (np.arange(23) == 20)  # the same words in two chunks
    raw = np.concatenate([statistics, rows, perfect, perfect, shuffled])

    line = " ||| ".join(["EVAL", *(" ".join(map(str, row)) for row in raw.tolist())])
    options = stdio_options(no_paraphrases)
    *items, corpus = map(float, run_java(METEOR_JAR, "Meteor", options, line + "\n", timeout=60).split())
    ours = without_perfect_chunks(raw)
    np.testing.assert_allclose(aggregate("METEOR", ours) / 100, items, rtol=0, atol=1e-12)
    assert aggregate("METEOR", ours.sum(axis=0)) / 100 == pytest.approx(corpus, abs=1e-12)
    # ... and leaving the perfect items' chunks in would be another score.
    assert aggregate("METEOR", raw.sum(axis=0)) / 100 != pytest.approx(corpus, abs=1e-6)


def test_empty_and_odd_texts_do_not_shift_the_items(no_paraphrases):
    statistics = meteor_statistics(
        [["a man"], ["a man", "a dog"], [""], [""], ["a ||| man"], ["a dog"]],
        ["a man", "", "a man", "", "a man |||", "a dog"],
        table=no_paraphrases,
    )
    np.testing.assert_allclose(aggregate("METEOR", statistics), [100, 0, 0, 0, 100, 100])


@pytest.mark.slow
def test_the_pruned_table_changes_no_statistic(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    # Paraphrases across contractions, possessives and figures, in either direction, and words unknown to references.
    references = [
        ["the police officer 's car", "he is able to swim"],
        ["it ca n't be done", "100 000 people are here"],
        ["a well-known singer"],
        ["due to the fact that it rains", "… and so on"],
        ["café owners talk about u.s. affairs"],
        ["2 & 3 % of it , roughly - speaking", "rock-n-roll at 5 p.m."],
    ]
    hypotheses = [
        "a policeman 's automobile can swim",
        "it is impossible , a hundred thousand people",
        "a famous singer who is well known",
        "because it rains etc",
        "coffee shop owners speak of american affairs",
        "two and three per cent of it approximately tonight at 5 pm",
    ]
    pruned = meteor_statistics(references, hypotheses)
    np.testing.assert_array_equal(pruned, meteor_statistics(references, hypotheses, table=PARAPHRASES))
    assert pruned[:, 16:20].sum() > 0  # paraphrases did match
    # A truncated table does not pass for a whole one: in the cache it is made anew.
    table = pruned_paraphrases(text for item in references for text in item)
    assert table.parent == tmp_path / "captionrl"
    cut = tmp_path / "cut.gz"
    cut.write_bytes(table.read_bytes()[:1000])
    with pytest.raises(UserError, match="Meteor"):
        meteor_statistics(references, hypotheses, table=cut)
    for rest in (b"", cut.read_bytes()):
        table.write_bytes(rest)
        np.testing.assert_array_equal(meteor_statistics(references, hypotheses), pruned)


def test_of_the_tables_in_the_cache_those_used_last_are_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(meteor, "KEPT", 2)
    monkeypatch.setattr(meteor, "PARAPHRASES", tmp_path / "table.gz")
    monkeypatch.setattr(meteor, "run_java", lambda *_, **__: "a man")
    with gzip.open(tmp_path / "table.gz", "wb") as table:
        table.write(b"0.5\na man\na boy\n")
    first, second = pruned_paraphrases(["a man"]), pruned_paraphrases(["the man"])
    for age, path in enumerate((first, second)):
        os.utime(path, (age, age))
    assert pruned_paraphrases(["a man"]) == first  # used again
    third = pruned_paraphrases(["one man"])
    assert set(tmp_path.glob("captionrl/*")) == {first, third}


def test_a_user_without_a_home_has_the_whole_table(monkeypatch):
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", home)
    assert pruned_paraphrases(["a man"]) == PARAPHRASES


def test_without_a_writable_cache_the_whole_table_serves(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert pruned_paraphrases(["a man"]) == PARAPHRASES
