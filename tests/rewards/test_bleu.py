import json
import random
import zipfile
from pathlib import Path

import pytest
import torch
from pycocoevalcap.bleu.bleu_scorer import BleuScorer

from captionrl.errors import UserError
from captionrl.rewards import Bleu, CiderD

MSRVTT = Path(__file__).parents[2].parent / "shared/data/msrvtt/train_val_annotation.zip"

TOY = {
    "dog": ["a dog runs on the grass", "the dog is running", "a dog , a brown dog , runs .", "dog"],
    "cat": ["a cat sleeps on a chair .", "the cat sleeps", ""],
    "man": ["a man plays the guitar .", "a man is playing a guitar", "a man sings and plays the guitar on the stage ."],
    "one": ["guitar"],
    "far": ["a dog", "a dog runs on the grass on the grass"],  # a caption of five words is equally close to both
}
HYPOTHESES = [  # real words, repeats, unseen words, one word, nothing
    "a dog runs on the grass", "a man plays the guitar .", "dog", "guitar", "", "the", "<unk>", "a dog runs on the",
    "a dog a dog a dog a dog", "dog dog dog dog dog dog", "the zebra runs", "<unk> <unk> <unk> runs on <unk> <unk>",
    "a man plays the guitar on the stage and the dog is running on the grass , a brown dog , a dog ,",
]  # fmt: skip


def expected(references, captions, items, order=4):
    """pycocoevalcap's sentence scores."""
    scorer = BleuScorer(n=order)
    for caption, item in zip(captions, items, strict=True):
        scorer += (caption, references[item])
    return torch.tensor(scorer.compute_score(option="closest")[1][order - 1], dtype=torch.float64)


def unseen(captions, vocabulary):
    """Captions as the ids spell them."""
    return [" ".join(word if word in vocabulary else "<unk>" for word in caption.split()) for caption in captions]


def assert_equal(got, wanted):
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-9)


def every(references=TOY, hypotheses=HYPOTHESES):
    """Every hypothesis against every item."""
    captions = [caption for caption in hypotheses for _ in references]
    return captions, [item for _ in hypotheses for item in references]


def assert_parity(bleu, references, captions, items, order=4):
    """Whole captions and every prefix."""
    tokens, lengths = bleu.encode(captions)
    captions = unseen(captions, bleu.vocabulary)
    assert_equal(bleu.score(tokens, lengths, items), expected(references, captions, items, order))
    parts = [(row, t) for row, caption in enumerate(captions) for t in range(len(caption.split()))]
    prefixes = [" ".join(captions[row].split()[: t + 1]) for row, t in parts]
    wanted = expected(references, prefixes, [items[row] for row, _ in parts], order)
    assert_equal(bleu.prefix_scores(tokens, lengths, items)[tuple(torch.tensor(parts).T)], wanted)


@pytest.fixture(scope="module")
def toy():
    return Bleu.from_captions(TOY)


@pytest.fixture(scope="module")
def msrvtt():
    """References of 100 real videos and the captions of 100 others."""
    if not MSRVTT.exists():
        pytest.skip(f"{MSRVTT} is not here")
    with zipfile.ZipFile(MSRVTT) as archive:
        name = next(name for name in archive.namelist() if name.endswith("videodatainfo.json"))
        sentences = json.loads(archive.read(name))["sentences"]
    captions = {}
    for sentence in sentences:
        captions.setdefault(sentence["video_id"], []).append(sentence["caption"])
    videos = list(captions.items())[:200]
    return dict(videos[:100]), [caption for _, others in videos[100:] for caption in others]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_toy_captions_and_their_prefixes_score_as_in_pycocoevalcap(order):
    captions, items = every()
    bleu = Bleu.from_captions(TOY, order=order)
    assert_parity(bleu, TOY, captions, items, order)
    assert bleu.score(*bleu.encode(["a man plays the guitar ."]), ["man"]).item() > 0.99  # not a comparison of zeros


def test_500_real_captions_and_prefixes_of_some_score_as_in_pycocoevalcap(msrvtt):
    references, others = msrvtt
    rng = random.Random(1)
    own = [(rng.choice(references[item]), item) for item in references]
    made = [(f"{a} {a} {b}", item) for item in references for a, b in [rng.sample(references[item], 2)]]
    captions, items = map(list, zip(*own, *made, *zip(others, list(references) * 20, strict=True), strict=True))
    captions, items = captions[::4], items[::4]
    assert len(captions) >= 500
    bleu = Bleu.from_captions(references)
    wanted = expected(references, unseen(captions, bleu.vocabulary), items)
    assert_equal(bleu.score(*bleu.encode(captions), items), wanted)
    assert_parity(bleu, references, captions[::8], items[::8])


def test_references_of_other_items_match_nothing(toy):
    captions, items = every()
    for item, references in TOY.items():
        rows = [row for row, other in enumerate(items) if other == item]
        alone = Bleu.from_captions({item: references}, vocabulary=toy.vocabulary)
        tokens, lengths = toy.encode([captions[row] for row in rows])
        own = [item] * len(rows)
        assert torch.equal(alone.prefix_scores(tokens, lengths, own), toy.prefix_scores(tokens, lengths, own))


def test_ids_of_the_models_vocabulary_score_like_the_words_they_stand_for():
    model = ["<pad>", "<s>", "</s>", "<unk>", "runs", "zebra", "dog", "a", "the", "on", "grass", "plays", "man"]
    captions, items = every(hypotheses=[*HYPOTHESES, "a zebra runs", "a a zebra zebra zebra"])
    assert_parity(Bleu.from_captions(TOY, vocabulary=model), TOY, captions, items)


def test_unk_matches_nothing_but_counts_as_a_word():
    references = {"a": ["<unk> runs fast", "zorro runs"]}
    bleu = Bleu.from_captions(references, vocabulary=["<pad>", "<s>", "</s>", "<unk>", "runs"], order=1)
    scores = bleu.score(torch.tensor([[3, 3], [3, 4], [4, 0]]), torch.tensor([2, 2, 1]), ["a"] * 3)
    assert scores[0] < 1e-9
    assert scores[1].item() == pytest.approx(1 / 2)
    assert scores[2].item() == pytest.approx(torch.e**-1)  # one word right of one, where the closest reference has two


def test_skipped_words_and_markers_are_as_if_they_were_not_there():
    skip = [",", ".", "!"]
    bleu = Bleu.from_captions(TOY, skip=skip)

    def without(caption):
        return " ".join(word for word in caption.split() if word not in skip)

    references = {item: [without(caption) for caption in captions] for item, captions in TOY.items()}
    captions, items = every()
    wanted = expected(references, unseen(map(without, captions), bleu.vocabulary), items)
    assert_equal(bleu.score(*bleu.encode(captions), items), wanted)
    tokens, lengths = bleu.encode([", a dog , a ! brown dog . <pad> <s> </s>"])
    scores = bleu.prefix_scores(tokens, lengths, ["dog"])[0]
    assert scores[0] == 0 < scores[1]
    assert torch.equal(scores[[3, 5, 8, 9, 10, 11]], scores[[2, 4, 7, 7, 7, 7]])


def test_the_end_marker_is_a_word_only_with_eos(toy):
    ended = {item: [f"{caption} </s>" for caption in captions] for item, captions in TOY.items()}
    captions, items = every()
    bleu = Bleu.from_captions(TOY, eos=True)
    tokens, lengths = bleu.encode(captions)
    wanted = expected(ended, [f"{caption} </s>" for caption in unseen(captions, bleu.vocabulary)], items)
    assert_equal(bleu.score(tokens, lengths, items), wanted)
    assert torch.equal(toy.score(tokens, lengths, items), toy.score(*toy.encode(captions), items))
    assert torch.equal(Bleu.from_captions(ended).score(tokens, lengths, items), toy.score(tokens, lengths, items))


def test_beyond_a_captions_length_the_score_stays_and_tokens_are_not_read(toy):
    captions, items = every()
    tokens, lengths = toy.encode(captions)
    scores = toy.prefix_scores(tokens, lengths, items)
    beyond = torch.arange(tokens.shape[1]) >= lengths[:, None]
    whole = toy.score(tokens, lengths, items)
    assert torch.equal(scores[beyond], whole[:, None].expand_as(scores)[beyond])
    assert (whole[lengths == 0] == 0).all()
    assert torch.equal(toy.prefix_scores(tokens.masked_fill(beyond, -100), lengths, items), scores)


def test_rows_are_scored_independently(toy):
    captions, items = every()
    tokens, lengths = toy.encode(captions)
    scores = toy.prefix_scores(tokens, lengths, items)
    order = torch.randperm(len(items), generator=torch.Generator().manual_seed(0))
    for threads in (1, 2, 3):
        got = toy.prefix_scores(tokens[order], lengths[order], [items[row] for row in order], threads=threads)
        assert torch.equal(got, scores[order])


def test_bleu_and_cider_read_the_same_token_ids(toy):
    cider = CiderD.from_captions(TOY)
    assert cider.vocabulary == toy.vocabulary
    assert torch.equal(cider.encode(HYPOTHESES)[0], toy.encode(HYPOTHESES)[0])


def test_empty_references_and_batches_score_zero():
    bleu = Bleu.from_captions({"a": [""], "b": ["", " "]})
    captions = ["", "what ever"]
    wanted = expected({"a": [""], "b": ["", " "]}, ["<unk>", "<unk> <unk>"], ["b", "b"])
    assert_equal(bleu.prefix_scores(*bleu.encode(captions), ["a", "b"]), torch.stack((torch.zeros(2), wanted)))
    assert bleu.score(*bleu.encode([]), []).shape == (0,)
    assert bleu.prefix_scores(*bleu.encode([""]), ["a"]).shape == (1, 0)


def test_mistakes_are_named(toy):
    tokens, lengths = toy.encode(["a dog", "the"])
    for arguments, message in [
        ((tokens, lengths, ["dog", "bird"]), "item 'bird'"),
        ((tokens, lengths, ["dog"]), r"not \[2, 2\], \[2\] and 1"),
        ((tokens, lengths + 1, ["dog", "cat"]), "2 to 3, but tokens have 2 columns"),
        ((tokens + 1000, lengths, ["dog", "cat"]), "row . has a token outside the vocabulary"),
        ((tokens - 1000, lengths, ["dog", "cat"]), "row . has a token outside the vocabulary"),
    ]:
        for score in (toy.score, toy.prefix_scores):
            with pytest.raises(UserError, match=message):
                score(*arguments)
    for captions, options, message in [
        ({}, {}, "at least one item"),
        ({"dog": []}, {}, "item 'dog'"),
        (TOY, {"vocabulary": ["a", "dog"]}, "starts with <pad>"),
        (TOY, {"order": 0}, "1 to 4, not 0"),
        (TOY, {"order": 5}, "1 to 4, not 5"),
    ]:
        with pytest.raises(UserError, match=message):
            Bleu.from_captions(captions, **options)


def test_the_signature_says_what_was_scored():
    signature = Bleu.from_captions(TOY, order=2, skip=[",", "."], eos=True).signature
    assert signature.startswith("BLEU|n:2|level:sentence|length:closest|eos:in|skip:2|references:1-4|version:")
