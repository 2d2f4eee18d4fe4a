"""Every value is coco-caption's, every item's score too, and both come from the same statistics."""

import os

import numpy as np
import pytest

import captionrl
from captionrl.errors import UserError
from captionrl.evaluation import metrics
from captionrl.evaluation.aggregate import METRICS, aggregate
from captionrl.evaluation.metrics import evaluate
from captionrl.text.java import JAVA

WITHOUT_METEOR = [metric for metric in METRICS if metric != "METEOR"]  # its paraphrase table takes seconds to load


@pytest.fixture(scope="module")
def coco_tokens(corpus):
    """References and hypotheses as pycocoevalcap's own tokeniser gives them."""
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    references, hypotheses = corpus
    ids = sorted(references)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{JAVA.parent}{os.pathsep}{os.environ['PATH']}")
        return (
            PTBTokenizer().tokenize({id: [{"caption": text} for text in references[id]] for id in ids}),
            PTBTokenizer().tokenize({id: [{"caption": hypotheses[id]}] for id in ids}),
        )


def assert_scores(result, value, items):
    assert result.value == pytest.approx(100 * value, abs=1e-9)
    np.testing.assert_allclose(list(result.items.values()), 100 * np.array(items), rtol=0, atol=1e-9)


def test_bleu_rouge_and_cider_are_pycocoevalcaps(corpus, coco_tokens):
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    results = evaluate(*corpus, metrics=WITHOUT_METEOR)
    for order, (value, items) in enumerate(zip(*Bleu(4).compute_score(*coco_tokens, verbose=0), strict=True), 1):
        assert_scores(results[f"BLEU-{order}"], value, items)
    assert_scores(results["ROUGE-L"], *Rouge().compute_score(*coco_tokens))
    assert_scores(results["CIDEr-D"], *Cider().compute_score(*coco_tokens))


@pytest.mark.slow
def test_meteor_is_pycocoevalcaps(corpus, coco_tokens, monkeypatch):
    from pycocoevalcap.meteor.meteor import Meteor

    monkeypatch.setenv("PATH", f"{JAVA.parent}{os.pathsep}{os.environ['PATH']}")
    references, hypotheses = coco_tokens
    # The library leaves METEOR's separator in references, where it splits one in two.
    references = {id: [text.replace("|||", "") for text in texts] for id, texts in references.items()}
    result = evaluate(*corpus, metrics=["METEOR"])["METEOR"]
    assert_scores(result, *Meteor().compute_score(references, hypotheses))


def test_cider_is_cider_d(corpus):
    """Plain CIDEr knows no length: the Gaussian penalty and the clipping make a repeated caption worse."""
    references = {"1": ["a red car"], "2": ["the blue bird"], "3": ["one green tree"]}
    once = evaluate(references, {"1": "a red car", "2": "", "3": ""}, ["CIDEr-D"])["CIDEr-D"]
    thrice = evaluate(references, {"1": "a red car " * 3, "2": "", "3": ""}, ["CIDEr-D"])["CIDEr-D"]
    assert thrice.items["1"] < 0.5 * once.items["1"]


def test_a_perfect_system_scores_100_or_cider_1000_and_an_empty_one_0():
    references = {"1": ["a red car stops here"], "2": ["the blue bird sings there"]}
    perfect = evaluate(references, {id: texts[0] for id, texts in references.items()}, WITHOUT_METEOR)
    empty = evaluate(references, {"1": "", "2": ""}, WITHOUT_METEOR)
    assert [result.value for result in perfect.values()] == pytest.approx([100, 100, 100, 100, 100, 1000])
    assert [result.value for result in empty.values()] == [0, 0, 0, 0, 0, 0]


def test_the_order_of_items_does_not_matter(corpus):
    references, hypotheses = corpus
    shuffled = evaluate(dict(reversed(references.items())), dict(reversed(hypotheses.items())), WITHOUT_METEOR)
    for metric, result in evaluate(references, hypotheses, WITHOUT_METEOR).items():
        assert list(result.items) == sorted(references)
        assert result.items == shuffled[metric].items
        np.testing.assert_array_equal(result.statistics, shuffled[metric].statistics)
        assert result.signature == shuffled[metric].signature


def test_aggregate_scores_a_resample_as_it_scores_the_captions_drawn(corpus):
    references, hypotheses = corpus
    ids = sorted(references)
    drawn = np.random.default_rng(0).integers(len(ids), size=len(ids))
    counts = np.bincount(drawn, minlength=len(ids)).astype(float)
    repeated = {f"{place:02}": ids[item] for place, item in enumerate(drawn)}
    bleu = [metric for metric in METRICS if metric.startswith("BLEU")]
    of_captions = evaluate(
        {place: references[id] for place, id in repeated.items()},
        {place: hypotheses[id] for place, id in repeated.items()},
        bleu,
    )
    for metric, result in evaluate(references, hypotheses, bleu).items():
        assert aggregate(metric, counts @ result.statistics) == pytest.approx(of_captions[metric].value, abs=1e-9)


def test_signatures_say_what_a_value_depends_on(corpus):
    results = evaluate(*corpus, metrics=["BLEU-4", "CIDEr-D"])
    assert results["BLEU-4"].signature.startswith("BLEU-4|tok:ptb-coco|refs:1-6|items:40|split:")
    assert "|df:references of these items|eos:no|split:" in results["CIDEr-D"].signature
    references, hypotheses = ({f"other{id}": value for id, value in part.items()} for part in corpus)
    assert evaluate(references, hypotheses, ["BLEU-4"])["BLEU-4"].signature != results["BLEU-4"].signature


@pytest.mark.parametrize(
    ("references", "hypotheses", "complaint"),
    [
        ({"1": ["a"], "2": ["b"]}, {"1": "a"}, "hypotheses: missing for items: 2"),
        ({"1": ["a"]}, {"01": "a"}, "hypotheses: missing for items: 1; there are 01 instead"),
        ({"1": ["a"]}, {"1": "a", "2": "b"}, "references: missing for items: 2"),
        ({"1": ["a"], "2": []}, {"1": "a", "2": "b"}, "references: items without a single one: 2"),
        ({}, {}, "references: no items: add at least one"),
        ({str(i): ["a"] for i in range(9)}, {}, "hypotheses: missing for items: 0, 1, 2 and 6 more"),
    ],
)
def test_items_that_do_not_match_are_named(references, hypotheses, complaint):
    with pytest.raises(UserError) as error:
        evaluate(references, hypotheses)
    assert str(error.value) == complaint


@pytest.mark.parametrize(
    ("references", "hypotheses", "complaint"),
    [
        ({"1": "a man"}, {"1": "a"}, "references: item '1' needs a list of captions, not 'a man'"),
        ({"1": None}, {"1": "a"}, "references: item '1' needs a list of captions, not None"),
        ({"1": ["a"]}, {"1": ["a"]}, "hypotheses: item '1': a caption is a string, not ['a'] of type list"),
        ({"1": ["a"]}, {"1": None}, "hypotheses: item '1': a caption is a string, not None of type NoneType"),
        ({"1": [b"a"]}, {"1": "a"}, "references: item '1': a caption is a string, not b'a' of type bytes"),
        ({1: ["a"]}, {1: "a"}, "references: ids are strings, not 1 of type int; make it '1'"),
    ],
)
def test_what_are_no_captions_is_one_line(references, hypotheses, complaint):
    with pytest.raises(UserError) as error:
        evaluate(references, hypotheses, ["BLEU-1"])
    assert str(error.value) == complaint


def test_sets_and_frequencies_are_lists_of_captions_too():
    references = {"1": ["a man runs"], "2": ["a dog"]}
    with pytest.raises(UserError, match="hypotheses: item '1' needs a list of captions, not 'ab'"):
        captionrl.score(references, {"1": "ab", "2": "cd"}, ["Div-1"], sets=True)
    for frequencies, fault in (
        ({"1": "a"}, "frequencies: item '1' needs a list"),
        ({}, "frequencies: no items; give"),
    ):
        with pytest.raises(UserError, match=fault):
            captionrl.score(references, {"1": "a", "2": "b"}, ["CIDEr-D"], frequencies=frequencies)


def test_items_without_a_caption_are_no_documents():
    references, hypotheses = {"1": ["a man runs"], "2": ["a dog sits"]}, {"1": "a man", "2": "a dog"}
    own, more = (
        captionrl.score(references, hypotheses, ["CIDEr-D"], frequencies=frequencies)
        for frequencies in (references, references | {str(number): [] for number in range(3, 99)})
    )
    assert own == more
    with pytest.raises(UserError, match="frequencies: no items; give"):
        captionrl.score(references, hypotheses, ["CIDEr-D"], frequencies={"1": []})


def test_sets_have_no_spice(tmp_path):
    with pytest.raises(UserError, match="sets of captions have no SPICE; leave --spice out"):
        captionrl.score({"1": ["a"]}, {"1": ["a", "b"]}, sets=True, spice=tmp_path)


def test_references_may_be_arrays():
    references = {"1": ["a man runs", "a man"], "2": ["a dog"]}
    arrays = {id: np.array(captions) for id, captions in references.items()}
    hypotheses = {"1": "a man", "2": "a cat"}
    found, expected = (evaluate(each, hypotheses, ["CIDEr-D"])["CIDEr-D"].value for each in (arrays, references))
    assert found == expected > 0


def test_an_unknown_metric_is_refused():
    with pytest.raises(UserError, match="unknown 'SPICE'"):
        evaluate({"1": ["a"]}, {"1": "a"}, ["SPICE"])


def test_long_scoring_says_how_far_it_is_and_short_scoring_nothing(monkeypatch, capsys):
    references, hypotheses = {"a": ["a man runs"], "b": ["a dog"]}, {"a": "a man", "b": "a dog"}
    evaluate(references, hypotheses, ["BLEU-1", "BLEU-2", "ROUGE-L"])
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(metrics, "PATIENCE", 0)
    evaluate(references, hypotheses, ["BLEU-1", "BLEU-2", "ROUGE-L"])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("scoring:   0%")
    assert lines[-1].startswith("scoring: 100%")
    assert "ROUGE" in lines[-1]


def test_captions_beyond_reason_are_refused_before_they_are_scored():
    long = "a " * 1001
    for reference, hypothesis in ((long, "a"), ("a", long), ("a", "$1" * 1001)):
        with pytest.raises(UserError, match=r"^item 'x': a caption of [\d,]+ words, of at most 1,000; shorten it"):
            evaluate({"x": [reference]}, {"x": hypothesis})
    with pytest.raises(UserError, match=r"^item '\\ud800': half a character"):
        evaluate({"\ud800": ["a"]}, {"\ud800": "a"})
