"""Metrics of sets are what one computes by hand and, where there is one, what the library computes."""

import math

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu

from captionrl.errors import UserError
from captionrl.evaluation import diversity
from captionrl.evaluation.bootstrap import interval, paired
from captionrl.evaluation.diversity import SET_METRICS, distinct, evaluate_sets, mean_cider, mutual_bleu, self_cider
from captionrl.evaluation.metrics import evaluate

# What is said of four items, for document frequencies: a is in all, dog in two.
REFERENCES = [
    [["a", "dog", "runs", "on", "grass"], ["a", "brown", "dog"]],
    [["a", "dog", "sleeps"]],
    [["a", "cat", "eats", "fish", "now"]],
    [["a", "man", "sings"]],
]
WORDS = [f"w{i}" for i in range(40)]


def tokens(*captions):
    return [caption.split() for caption in captions]


@pytest.fixture(scope="module")
def sets(corpus):
    """Five captions of each of the corpus' items, as odd as its own: some equal, some empty, some of one word."""
    references, hypotheses = corpus
    others = list(hypotheses.values())
    sets = {id: [others[(i + k) % len(others)] for k in range(5)] for i, id in enumerate(references)}
    return sets | {"video0": ["a dog runs on the street"] * 5, "video1": [""] * 5, "video2": ["dog"] * 5}


@pytest.mark.parametrize(
    ("captions", "one", "two"),
    [
        (["a b", "a c", "a b", "d", "a a a"], 4 / 10, 3 / 10),  # a b c d; ab ac aa, over words, not over bigrams
        (["a b c"] * 5, 3 / 15, 2 / 15),
        (["a b", "c d", "e f", "g h", "i j"], 1, 1 / 2),
        (["a", "b"], 1, 0),
        (["a", ""], 1, 0),
        (["", ""], 0, 0),
    ],
)
def test_div_counts_different_ngrams_a_word(captions, one, two):
    assert distinct([tokens(*captions)], 1) == pytest.approx([one])
    assert distinct([tokens(*captions)], 2) == pytest.approx([two])


def test_mbleu_of_a_set_by_hand():
    captions = tokens("a b c d e", "a b c d f", "g h i j k")
    pair = (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4)  # BLEU-4 of the first two, against each other; the third has none
    assert mutual_bleu([captions]) == pytest.approx([2 / 3 * pair], abs=1e-4)
    assert mutual_bleu([tokens("a b c d e", "a b c d e")]) == pytest.approx([1], abs=1e-8)
    assert mutual_bleu([tokens("a b c d", "e f g h"), tokens("", "a b")]) == pytest.approx([0, 0], abs=1e-4)


def test_mbleu_is_pycocoevalcaps_bleu_caption_by_caption(monkeypatch):
    draw = np.random.default_rng(0)
    sets = [[list(draw.choice(WORDS[:6], size=draw.integers(0, 12))) for _ in range(5)] for _ in range(60)]
    sets += [tokens(*["a b c d e"] * 5), tokens(*["a"] * 5), tokens(*[""] * 5), tokens("", "a", "a b", "", "c d e f g")]
    expected = []
    for captions in sets:
        texts = [" ".join(caption) for caption in captions]
        scores = []
        for place, text in enumerate(texts):
            rest = {0: [*texts[:place], *texts[place + 1 :]]}
            scores.append(Bleu(4).compute_score(rest, {0: [text]}, verbose=0)[1][3][0])
        expected.append(np.mean(scores))
    np.testing.assert_allclose(mutual_bleu(sets), expected, rtol=0, atol=1e-9)
    together = mutual_bleu(sets)
    monkeypatch.setattr(diversity, "PAIRS", 1)  # one item at a time
    np.testing.assert_array_equal(mutual_bleu(sets), together)
    assert np.max(expected) > 0.9


def test_self_cider_is_0_for_equal_captions_and_1_for_captions_without_a_common_word():
    equal = [tokens(*["a dog runs on grass"] * 5)] * 4
    np.testing.assert_allclose(self_cider(equal, REFERENCES), 0, atol=1e-12)
    disjoint = [[[f"{word}{caption}" for word in "abcdefg"] for caption in range(5)]] * 4
    np.testing.assert_allclose(self_cider(disjoint, REFERENCES), 1, atol=1e-12)


def test_self_cider_of_two_captions_by_hand():
    # dog weighs log 4/2, cat and zebra log 4/1, a nothing at all: K = (1/4) [[1, c], [c, 1]] from 1-grams alone, and
    # c/4 + the 2-grams' "dog cat" against "dog zebra", which differ.
    dog, rare = math.log(2), math.log(4)
    c = dog**2 / (dog**2 + rare**2) / 4
    roots = math.sqrt(2 / 4 + c), math.sqrt(2 / 4 - c)
    expected = math.log(sum(roots) / roots[0]) / math.log(2)
    assert self_cider([tokens("dog cat", "dog zebra")] * 4, REFERENCES)[0] == pytest.approx(expected, abs=1e-12)


def test_self_cider_is_the_eigenvalues_of_the_kernel():
    """As the paper defines it, with the kernel written out from dictionaries."""
    draw = np.random.default_rng(1)
    words = ["a", "dog", "cat", "runs", "on", "grass", "zebra"]
    sets = [[list(draw.choice(words, size=draw.integers(1, 9))) for _ in range(5)] for _ in REFERENCES]

    def vector(caption, n):
        weights = {}
        for start in range(len(caption) - n + 1):
            ngram = caption[start : start + n]
            having = sum(
                any(ngram == text[i : i + n] for text in item for i in range(len(text) - n + 1)) for item in REFERENCES
            )
            weights[tuple(ngram)] = weights.get(tuple(ngram), 0) + math.log(len(REFERENCES) / max(1, having))
        return weights

    def cosine(one, other):
        norms = math.sqrt(sum(w * w for w in one.values()) * sum(w * w for w in other.values()))
        return sum(w * other.get(ngram, 0) for ngram, w in one.items()) / norms if norms else 0

    expected = []
    for captions in sets:
        kernel = [
            [np.mean([cosine(vector(one, n), vector(other, n)) for n in range(1, 5)]) for other in captions]
            for one in captions
        ]
        roots = np.sqrt(np.clip(np.linalg.eigvalsh(kernel), 0, None))
        expected.append(-math.log(roots[-1] / roots.sum()) / math.log(5))
    np.testing.assert_allclose(self_cider(sets, REFERENCES), expected, atol=1e-7)
    assert np.std(expected) > 0.01


@pytest.mark.parametrize("captions", [["", ""], ["a", "a"], ["a", ""], ["dog", "dog"], ["dog", ""]])
def test_self_cider_of_next_to_nothing_is_0(captions):
    assert self_cider([tokens(*captions)] * 4, REFERENCES) == pytest.approx([0] * 4, abs=1e-12)  # a weighs nothing


def test_the_order_of_a_sets_captions_does_not_matter():
    draw = np.random.default_rng(2)
    sets = [[list(draw.choice(WORDS[:9], size=draw.integers(0, 12))) for _ in range(5)] for _ in REFERENCES]
    turned = [captions[2:] + captions[:2] for captions in sets]
    for metric in (
        mutual_bleu,
        lambda s: distinct(s, 2),
        *(lambda s, f=f: f(s, REFERENCES) for f in (self_cider, mean_cider)),
    ):
        np.testing.assert_allclose(metric(turned), metric(sets), atol=1e-12)


def test_cider_is_the_mean_of_that_of_tables(corpus, sets):
    references, _ = corpus
    (results,) = evaluate_sets(references, [sets], ["CIDEr-D"])
    columns = [evaluate(references, {id: texts[k] for id, texts in sets.items()}, ["CIDEr-D"]) for k in range(5)]
    assert results["CIDEr-D"].value == pytest.approx(np.mean([c["CIDEr-D"].value for c in columns]), abs=1e-9)
    for id, score in results["CIDEr-D"].items.items():
        assert score == pytest.approx(np.mean([c["CIDEr-D"].items[id] for c in columns]), abs=1e-9)


def test_the_first_captions_cider_is_that_of_single_captions(corpus, sets):
    references, _ = corpus
    (results,) = evaluate_sets(references, [sets], ["CIDEr-D", "CIDEr-D-first"])
    single = evaluate(references, {id: texts[0] for id, texts in sets.items()}, ["CIDEr-D"])["CIDEr-D"]
    assert results["CIDEr-D-first"].value == pytest.approx(single.value, abs=1e-9)
    assert abs(results["CIDEr-D-first"].value - results["CIDEr-D"].value) > 0.1
    assert results["CIDEr-D-first"].items == pytest.approx(single.items, abs=1e-9)


def test_mbleu_of_a_corpus_is_the_mean_of_pycocoevalcaps_corpus_bleus(sets):
    draw = np.random.default_rng(3)
    texts = {i: [" ".join(draw.choice(WORDS[:3], size=draw.integers(1, 7))) for _ in range(5)] for i in range(40)}
    (results,) = evaluate_sets({str(id): ["a dog"] for id in texts}, [{str(id): t for id, t in texts.items()}])
    corpora = [
        Bleu(4).compute_score(
            {id: [*t[:k], *t[k + 1 :]] for id, t in texts.items()}, {id: [t[k]] for id, t in texts.items()}, verbose=0
        )[0][3]
        for k in range(5)
    ]
    assert results["mBleu-4-corpus"].value == pytest.approx(100 * np.mean(corpora), abs=1e-9)
    assert results["mBleu-4-corpus"].value > results["mBleu-4"].value + 1  # of a diverse set, by sentence, 0 mostly


def test_words_that_no_reference_has_are_different_words():
    said = tokens("zyx wvu", "a dog"), *[tokens("a", "a")] * 3
    merged = tokens("zyx zyx", "a dog"), *[tokens("a", "a")] * 3
    references = [[["zyx", "dog"]], *REFERENCES[1:]]
    assert mean_cider(said, references)[0] != pytest.approx(mean_cider(merged, references)[0])


def test_a_result_fits_the_bootstrap_and_has_the_mean_of_its_items(corpus, sets):
    references, _ = corpus
    (results,) = evaluate_sets(references, [sets])
    assert list(results) == list(SET_METRICS)
    for metric, result in results.items():
        assert list(result.items) == sorted(references)
        if metric != "mBleu-4-corpus":
            assert result.value == pytest.approx(np.mean(list(result.items.values())))
        low, high = interval(metric, [result.statistics])
        assert low < result.value < high
        assert paired(metric, [result.statistics], [result.statistics]) == 1
    assert results["Div-1"].items["video0"] == pytest.approx(100 * 6 / 30)
    assert results["mBleu-4"].items["video0"] == pytest.approx(100)
    assert results["self-CIDEr"].items["video0"] == pytest.approx(0, abs=1e-9)
    assert results["Div-2"].items["video1"] == results["mBleu-4"].items["video1"] == 0  # no word at all


def test_punctuation_does_not_count():
    references = {"1": ["a dog"], "2": ["a cat"]}
    (dotted,) = evaluate_sets(references, [{"1": ["A dog.", "a dog, running"], "2": ["a cat", "a cat!"]}])
    (plain,) = evaluate_sets(references, [{"1": ["a dog", "a dog running"], "2": ["a cat", "a cat"]}])
    assert {metric: r.items for metric, r in dotted.items()} == {metric: r.items for metric, r in plain.items()}


def test_signatures_say_what_a_value_depends_on():
    (results,) = evaluate_sets({"1": ["a dog"], "2": ["a cat", "a cat"]}, [{"1": ["a", "b"], "2": ["a", "b"]}])
    assert results["Div-1"].signature.startswith("Div-1|tok:ptb-coco|set:2|items:2|split:")
    for metric in ("CIDEr-D", "self-CIDEr"):
        start = f"{metric}|tok:ptb-coco|set:2|refs:1-2|items:2|df:references of these items|eos:no|split:"
        assert results[metric].signature.startswith(start)


@pytest.mark.parametrize(
    ("sets", "complaint"),
    [
        ({"1": ["a", "b"], "2": ["a"]}, "sets: '2' has 1 captions, but '1' has 2; give all as many"),
        ({"1": ["a"], "2": ["a"]}, "sets: '1' has 1 captions; diversity is that of at least 2"),
        ({"1": ["a", "b"]}, "hypotheses: missing for items: 2"),
    ],
)
def test_sets_that_cannot_be_scored_are_named(sets, complaint):
    with pytest.raises(UserError) as error:
        evaluate_sets({"1": ["a"], "2": ["b"]}, [sets])
    assert str(error.value) == complaint


def test_an_unknown_metric_is_refused():
    with pytest.raises(UserError, match="unknown 'Div-3'; choose from CIDEr-D"):
        evaluate_sets({"1": ["a"]}, [{"1": ["a", "b"]}], ["Div-3"])
