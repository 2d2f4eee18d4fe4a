"""Rewards of raw text: tokenised as coco-caption does it, equal to pycocoevalcap caption by caption."""

import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider_scorer import CiderScorer
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from captionrl.errors import UserError
from captionrl.rewards import Bleu, Cider, CiderD, DocumentFrequencies, PairwiseBleu, raw_words
from captionrl.rewards.rouge import RougeL
from captionrl.text.java import JAVA
from captionrl.text.punctuation import PUNCTUATION

KARPATHY = Path(__file__).parents[2].parent / "shared/data/coco/karpathy_test_captions.json"
BALL = {"video0": ["a man kicks a ball", "a man in red kicks a ball"], "video1": ["a dog sleeps"]}
METRICS = [CiderD, Cider, Bleu, RougeL]


def assert_equal(got, wanted):
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, np.asarray(wanted), rtol=0, atol=1e-9)


@pytest.fixture(scope="module")
def coco():
    """3,000 raw captions, and coco-caption's tokens of each and of the others of its picture, by Java."""
    if not KARPATHY.exists():
        pytest.skip(f"{KARPATHY} is not here")
    captions = dict(list(json.loads(KARPATHY.read_text()).items())[:3000])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{JAVA.parent}{os.pathsep}{os.environ['PATH']}")
        tokens = PTBTokenizer().tokenize({id: [{"caption": text} for text in texts] for id, texts in captions.items()})
    texts = {id: texts[0] for id, texts in captions.items()}
    return texts, {id: words[0] for id, words in tokens.items()}, {id: words[1:] for id, words in tokens.items()}


def test_cider_d_is_pycocoevalcaps(coco):
    texts, tokens, references = coco
    scorer = CiderScorer()
    for id, caption in tokens.items():
        scorer += (caption, references[id])
    cider = CiderD.from_captions(references)
    assert_equal(cider.texts(list(texts.values()), list(texts)), scorer.compute_score()[1])
    told = CiderD.from_captions(references, vocabulary=("<pad>", "<s>", "</s>", "<unk>", "a", "man"))
    assert_equal(told.texts(list(texts.values()), list(texts)), cider.texts(list(texts.values()), list(texts)))


def test_bleu_is_pycocoevalcaps(coco):
    texts, tokens, references = coco
    scorer = BleuScorer(n=4)
    for id, caption in tokens.items():
        scorer += (caption, references[id])
    for order, scores in enumerate(scorer.compute_score(option="closest", verbose=0)[1], 1):
        assert_equal(Bleu.from_captions(references, order=order).texts(list(texts.values()), list(texts)), scores)


def test_rouge_l_is_pycocoevalcaps(coco):
    texts, tokens, references = coco
    scores = [Rouge().calc_score([caption], references[id]) for id, caption in tokens.items()]
    assert_equal(RougeL.from_captions(references).texts(list(texts.values()), list(texts)), scores)


def test_bleu_between_captions_is_pycocoevalcaps(coco):
    texts, tokens, _ = coco
    raw, plain = list(texts.values())[:2000], list(tokens.values())[:2000]
    scores = PairwiseBleu().texts([raw[start : start + 4] for start in range(0, 2000, 4)])
    assert scores.shape == (500, 4, 4, 2)
    scorer = BleuScorer(n=4)
    for caption in range(2000):
        for reference in range(caption - caption % 4, caption - caption % 4 + 4):
            scorer += (plain[caption], [plain[reference]])
    _, (_, _, three, four) = scorer.compute_score(option="closest", verbose=0)
    assert_equal(scores[..., 0].flatten(), three)
    assert_equal(scores[..., 1].flatten(), four)


@pytest.mark.parametrize("metric", METRICS)
def test_how_a_caption_is_written_does_not_matter(metric):
    written = ["a man kicks a ball", "A man kicks a ball.", "A man kicks a ball", "a man kicks a ball ."]
    made = metric.from_captions(BALL)
    scores = made.texts(written, ["video0"] * 4)
    assert (scores == scores[0]).all()
    assert_equal(scores[:1], made.score(*made.encode(written[:1]), ["video0"]))
    assert scores[0] > made.texts(["a man kicks a dog"], ["video0"])[0]


def test_the_case_of_1_12():
    cider = CiderD.from_captions(BALL)
    written = ["a man kicks a ball", "A man kicks a ball."]
    with pytest.warns(UserWarning, match="'A' is 'a'"):
        as_encoded = cider.score(*cider.encode(written), ["video0"] * 2)
    assert as_encoded[1] < 0.6 * as_encoded[0]
    assert_equal(cider.texts(written, ["video0"] * 2), as_encoded[[0, 0]])


@pytest.mark.parametrize("metric", METRICS)
def test_different_unknown_words_are_different_and_equal_ones_equal(metric):
    """With a vocabulary of all words, encode and score say the same."""
    captions = ["a zebra and an emu kick an emu", "emu zebra", "a zebra a zebra", "", "?!", "a <unk> <unk> ball"]
    words = ["<pad>", "<s>", "</s>", "<unk>", "zebra", "and", "an", "emu", "kick"]
    words += sorted({word for item in BALL.values() for caption in item for word in caption.split()})
    known = metric.from_captions(BALL, vocabulary=words)
    made = metric.from_captions(BALL)
    for item in BALL:
        tokens = [*captions[:3], "", "", "a <unk> <unk> ball"]
        expected = known.score(*known.encode(tokens), [item] * 6)
        assert_equal(made.texts(captions, [item] * 6), expected)
        assert_equal(made.tokenised(tokens, [item] * 6), expected)


def test_punctuation_counts_where_references_have_some():
    cider = CiderD.from_captions({0: ["a man kicks a ball ."], 1: ["a dog sleeps ."]})
    whole, cut = cider.texts(["A man kicks a ball.", "A man kicks a ball"], [0, 0])
    assert whole > cut
    skipping = CiderD.from_captions({0: ["a man kicks a ball ."], 1: ["a dog sleeps ."]}, skip=PUNCTUATION)
    whole, cut = skipping.texts(["A man kicks a ball.", "A man kicks a ball"], [0, 0])
    assert whole == cut


@pytest.mark.parametrize("metric", METRICS)
def test_the_end_counts_where_it_is_a_word(metric):
    made = metric.from_captions(BALL, eos=True)
    expected = made.score(*made.encode(["a man kicks a ball"]), ["video0"])
    assert_equal(made.texts(["A man kicks a ball!"], ["video0"]), expected)


def test_a_caption_does_not_depend_on_the_next():
    cider = CiderD.from_captions({0: [" ".join(raw_words(["he lives in the U.S."])[0])], 1: ["a dog sleeps"]})
    alone = cider.texts(["He lives in the U.S."], [0])
    assert cider.texts(["He lives in the U.S.", "The dog"], [0, 1])[0] == alone[0]


@pytest.mark.parametrize("metric", METRICS)
def test_threads_change_nothing(metric):
    made = metric.from_captions(BALL)
    captions, items = ["A man.", "An emu kicks!", "", "a dog sleeps", "red ball"], ["video0", "video1"] * 2 + ["video0"]
    assert (made.texts(captions, items, threads=3) == made.texts(captions, items)).all()
    assert made.texts([], []).shape == (0,)


def test_encode_says_once_that_captions_are_raw():
    cider = CiderD.from_captions(BALL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cider.encode(["an emu 's ball ''", ["mr.", "etc.", "n't", "-lrb-", "1\xa01/2"], "a man <unk>"])
    message = r"^encode takes tokens, but 'ball\.' is 'ball \.'; `texts` scores raw captions$"
    with pytest.warns(UserWarning, match=message) as said:
        cider.encode(["a man kicks a ball.", "A man"])
    assert [each.filename for each in said] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cider.encode(["A man"])


def test_texts_says_once_that_references_are_raw():
    cider = CiderD.from_captions({0: ["a man kicks a ball."], 1: ["mr. a sleeps ?", "<unk> etc."]})
    message = r"^references are compared as tokens, but 'ball\.' is 'ball \.'; make them tokens by `raw_words`$"
    with pytest.warns(UserWarning, match=message):
        cider.texts(["a man"], [0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cider.texts(["a man"], [0])
        CiderD.from_captions({0: raw_words(["A man kicks a ball."]), 1: ["mr. ?"]}).texts(["A man"], [0])


def test_mistakes_are_named():
    cider = CiderD.from_captions(BALL)
    with pytest.raises(UserError, match=r"each of 2 captions, not 1"):
        cider.texts(["a", "b"], ["video0"])
    with pytest.raises(UserError, match=r"caption 1 must be a string, not \['a'\]"):
        cider.texts(["a", ["a"]], ["video0", "video0"])
    with pytest.raises(UserError, match="no references were given for item 'video9'"):
        cider.texts(["a"], ["video9"])
    with pytest.raises(UserError, match=r"groups of one size, not of \[2, 1\]"):
        PairwiseBleu().texts([["a", "b"], ["c"]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: raw_words("a man"), "captions must be a list of strings, not one string: 'a man'"),
        (
            lambda: CiderD.from_captions({"1": ["a"], "2": ["b"]}).texts("a", ["1"]),
            "captions must be a list of strings",
        ),
        (lambda: CiderD.from_captions({"1": None}), "item '1' needs a list of at least one reference caption"),
        (lambda: CiderD.from_captions({"1": "a man"}), "item '1' needs a list of at least one reference caption"),
        (lambda: DocumentFrequencies.from_captions({"1": "a man"}), "item '1' needs a list of reference captions"),
        (lambda: PairwiseBleu().texts(["ab", "c"]), "captions in pairs come in groups, lists of strings"),
    ],
)
def test_a_string_is_no_list_of_captions(call, message):
    """Its letters would be taken for captions."""
    with pytest.raises(UserError, match=message):
        call()


def test_references_may_be_arrays():
    captions = {"1": ["a man runs", "a man"], "2": ["a dog"]}
    arrays = {item: np.array(references) for item, references in captions.items()}
    found, expected = (CiderD.from_captions(each).texts(["a man"], ["1"]) for each in (arrays, captions))
    assert found == expected
