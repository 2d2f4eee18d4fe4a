"""CIDEr-D from token ids against the unmodified Python scorer of pycocoevalcap, which scores strings."""

import json
import random
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import torch
from pycocoevalcap.cider.cider_scorer import CiderScorer

from captionrl.errors import UserError
from captionrl.rewards import CiderD, DocumentFrequencies

MSRVTT = Path(__file__).parents[2].parent / "shared/data/msrvtt/train_val_annotation.zip"

TOY = {
    "dog": ["a dog runs on the grass", "the dog is running", "a dog , a brown dog , runs .", "dog"],
    "cat": ["a cat sleeps on a chair .", "the cat sleeps", ""],
    "man": ["a man plays the guitar .", "a man is playing a guitar", "a man sings and plays the guitar on the stage ."],
    "one": ["guitar"],
}
HYPOTHESES = [  # real words, repeats, unseen words, one word, nothing
    "a dog runs on the grass", "a man plays the guitar .", "dog", "guitar", "", "the", "<unk>",
    "a dog a dog a dog a dog", "dog dog dog dog dog dog", "the zebra runs", "<unk> <unk> <unk> runs on <unk> <unk>",
    "a man plays the guitar on the stage and the dog is running on the grass , a brown dog , a dog ,",
]  # fmt: skip


def unseen(captions, vocabulary):
    """Captions as the ids spell them."""
    return [" ".join(word if word in vocabulary else "<unk>" for word in caption.split()) for caption in captions]


def oracle(references, captions, given=None):
    """pycocoevalcap's scores of one caption an item, in the items' order."""
    scorer = CiderScorer()
    for refs, caption in zip(references.values(), captions, strict=True):
        scorer += (caption, refs)
    if given is None:
        return scorer.compute_score()[1].tolist()
    scorer.document_frequency.update(given.counts)
    scorer.crefs += [[]] * (given.documents - len(references))  # it takes N from the number of items
    return scorer.compute_cider()


def expected(references, captions, items, given=None):
    """pycocoevalcap's scores of any captions; each call of it takes one caption an item."""
    queues = {item: [i for i, other in enumerate(items) if other == item] for item in references}
    scores = torch.zeros(len(captions), dtype=torch.float64)
    for turn in range(max(map(len, queues.values()))):
        rows = [queue[turn] if turn < len(queue) else None for queue in queues.values()]
        found = oracle(references, ["" if row is None else captions[row] for row in rows], given)
        for row, score in zip(rows, found, strict=True):
            if row is not None:
                scores[row] = score
    return scores


def prefixes(caption):
    words = caption.split()
    return [" ".join(words[: t + 1]) for t in range(len(words))]


def assert_equal(got, wanted):
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-9)


def every(references=TOY, hypotheses=HYPOTHESES):
    """Every hypothesis against every item."""
    captions = [caption for caption in hypotheses for _ in references]
    return captions, [item for _ in hypotheses for item in references]


def assert_parity(cider, references, captions, items, given=None):
    """Whole captions and every prefix."""
    tokens, lengths = cider.encode(captions)
    captions = unseen(captions, cider.vocabulary)
    assert_equal(cider.score(tokens, lengths, items), expected(references, captions, items, given))
    parts = [(row, t, prefix) for row, caption in enumerate(captions) for t, prefix in enumerate(prefixes(caption))]
    wanted = expected(references, [prefix for *_, prefix in parts], [items[row] for row, *_ in parts], given)
    scores = cider.prefix_scores(tokens, lengths, items)
    assert_equal(scores[[row for row, *_ in parts], [t for _, t, _ in parts]], wanted)


@pytest.fixture(scope="module")
def toy():
    return CiderD.from_captions(TOY)


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


def test_toy_captions_score_as_in_pycocoevalcap(toy):
    captions, items = every()
    assert_parity(toy, TOY, captions, items)
    assert toy.score(*toy.encode(["a man plays the guitar ."]), ["man"]).item() > 3  # not a comparison of zeros


def test_500_real_captions_score_as_in_pycocoevalcap(msrvtt):
    references, others = msrvtt
    rng = random.Random(1)
    own = [(rng.choice(references[item]), item) for item in references for _ in range(2)]
    made = [(f"{a} {a} {b}", item) for item in references for a, b in [rng.sample(others, 2)]]
    pairs = own + made + list(zip(others, list(references) * 20, strict=True))
    captions, items = map(list, zip(*rng.sample(pairs, 500), strict=True))
    cider = CiderD.from_captions(references)
    wanted = expected(references, unseen(captions, cider.vocabulary), items)
    assert_equal(cider.score(*cider.encode(captions), items), wanted)
    assert wanted.max() > 3


def test_prefixes_of_real_captions_score_as_in_pycocoevalcap(msrvtt):
    references, others = msrvtt
    few = dict(list(references.items())[:20])
    assert_parity(CiderD.from_captions(few), few, others[:40] + [f"{c} {c}" for c in others[40:60]], list(few) * 3)


@pytest.mark.slow
def test_every_prefix_of_2000_real_captions_scores_as_in_pycocoevalcap(msrvtt):
    references, others = msrvtt
    assert_parity(CiderD.from_captions(references), references, others, list(references) * 20)


def test_given_document_frequencies_replace_the_captions_own(toy):
    captions, items = every()
    same = CiderD.from_captions(TOY, document_frequency=DocumentFrequencies.from_captions(TOY))
    tokens, lengths = toy.encode(captions)
    assert torch.equal(same.prefix_scores(tokens, lengths, items), toy.prefix_scores(tokens, lengths, items))
    # From other captions: more documents, n-grams that no reference has, and a trigram without its first bigram.
    captions, items = every(hypotheses=[*HYPOTHESES, "a dog runs dog a dog"])
    given = DocumentFrequencies(
        {("a",): 40, ("the",): 30, ("the", "dog"): 3, ("dog", "a", "dog"): 7, ("elsewhere",): 5, ("on", "the"): 9}, 50
    )
    assert_parity(CiderD.from_captions(TOY, document_frequency=given), TOY, captions, items, given)


def test_ids_of_the_models_vocabulary_score_like_the_words_they_stand_for(toy):
    model = ["<pad>", "<s>", "</s>", "<unk>", "runs", "zebra", "dog", "a", "the", "on", "grass", "plays", "man"]
    cider = CiderD.from_captions(TOY, vocabulary=model)
    captions, items = every(hypotheses=[*HYPOTHESES, "a zebra runs", "a a zebra zebra zebra"])
    assert cider.encode(["the zebra <unk> sings"])[0].tolist() == [[8, 5, 3, 3]]
    assert_parity(cider, TOY, captions, items)


def test_unk_matches_nothing_but_counts_as_a_word():
    references = {"a": ["<unk> runs fast", "zorro runs"], "b": ["the cat"]}
    cider = CiderD.from_captions(references, vocabulary=["<pad>", "<s>", "</s>", "<unk>", "runs"])
    scores = cider.score(torch.tensor([[3, 3], [3, 4], [4, 0]]), torch.tensor([2, 2, 1]), ["a"] * 3)
    assert scores[0] == 0
    assert 0 < scores[1] != scores[2]


def test_skipped_words_are_as_if_they_were_not_there():
    skip = [",", ".", "!"]
    cider = CiderD.from_captions(TOY, skip=skip)

    def without(caption):
        return " ".join(word for word in caption.split() if word not in skip)

    references = {item: [without(caption) for caption in captions] for item, captions in TOY.items()}
    captions, items = every()
    tokens, lengths = cider.encode(captions)
    wanted = expected(references, unseen(map(without, captions), cider.vocabulary), items)
    assert_equal(cider.score(tokens, lengths, items), wanted)
    tokens, lengths = cider.encode([", a dog , a ! brown dog ."])
    scores = cider.prefix_scores(tokens, lengths, ["dog"])[0]
    assert scores[0] == 0
    assert torch.equal(scores[[3, 5, 8]], scores[[2, 4, 7]])
    own = DocumentFrequencies.from_captions(TOY, skip=skip)
    assert own == DocumentFrequencies.from_captions(references)
    small = CiderD.from_captions(TOY, skip=skip, vocabulary=["<pad>", "<s>", "</s>", "<unk>", "dog"])
    assert small.encode(["dog ."])[1].tolist() == [1]


def test_the_end_marker_is_a_word_only_with_eos(toy):
    ended = {item: [f"{caption} </s>" for caption in captions] for item, captions in TOY.items()}
    captions, items = every()
    cider = CiderD.from_captions(TOY, eos=True)
    tokens, lengths = cider.encode(captions)
    assert tokens[0, lengths[0] - 1] == 2
    wanted = expected(ended, [f"{caption} </s>" for caption in unseen(captions, cider.vocabulary)], items)
    assert_equal(cider.score(tokens, lengths, items), wanted)
    given = DocumentFrequencies.from_captions(TOY, eos=True)
    same = CiderD.from_captions(TOY, eos=True, document_frequency=given)
    assert torch.equal(same.score(tokens, lengths, items), cider.score(tokens, lengths, items))
    # Without eos the marker is dropped: from rollouts, and from references that happen to hold it.
    assert_equal(toy.score(tokens, lengths, items), toy.score(*toy.encode(captions), items))
    assert_equal(CiderD.from_captions(ended).score(tokens, lengths, items), toy.score(tokens, lengths, items))


def test_rewards_of_single_words_add_up_to_the_captions_score(toy):
    captions, items = every()
    tokens, lengths = toy.encode(captions)
    scores = toy.prefix_scores(tokens, lengths, items)
    rewards = torch.diff(scores, prepend=torch.zeros(len(scores), 1))
    assert_equal(rewards.sum(1), toy.score(tokens, lengths, items))
    assert (rewards[torch.arange(tokens.shape[1]) >= lengths[:, None]] == 0).all()
    assert rewards.abs().sum() > 1


def test_rows_are_scored_independently_and_padding_is_not_read(toy):
    captions, items = every()
    tokens, lengths = toy.encode(captions)
    scores = toy.prefix_scores(tokens, lengths, items)
    order = torch.randperm(len(items), generator=torch.Generator().manual_seed(0))
    tokens[torch.arange(tokens.shape[1]) >= lengths[:, None]] = -100
    shuffled = [items[row] for row in order]
    for threads in (1, 2, 3):
        got = toy.prefix_scores(tokens[order], lengths[order], shuffled, threads=threads)
        assert torch.equal(got, scores[order])
    transposed = tokens.T.contiguous().T  # not contiguous, and int32
    assert torch.equal(toy.prefix_scores(transposed.int(), lengths.int(), items), scores)


def test_length_differences_beyond_the_penalty_table_score_zero():
    references = {"long": ["a b " * 300], "short": ["c d"]}
    cider = CiderD.from_captions(references)
    captions = ["a b", "a b " * 200, "a b " * 290, "a b " * 300]
    assert_parity(cider, references, captions[:1], ["long"])
    wanted = expected(references, captions, ["long"] * 4)
    assert_equal(cider.score(*cider.encode(captions), ["long"] * 4), wanted)
    assert wanted[0] < 1e-9 < wanted[2]


@pytest.mark.parametrize("words", [1, 2, 3])
def test_references_too_short_for_higher_orders(words):
    references = {"a": [" ".join("abc"[:words])], "b": [" ".join("xyz"[:words])]}
    captions, items = every(references, ["a", "a b", "a b c d", "x y z", "a x"])
    assert_parity(CiderD.from_captions(references), references, captions, items)


def test_one_document_weighs_nothing():
    only = {"dog": TOY["dog"]}
    cider = CiderD.from_captions(only)
    assert cider.score(*cider.encode(TOY["dog"]), ["dog"] * 4).tolist() == [0.0] * 4


def test_empty_references_and_batches_score_zero():
    cider = CiderD.from_captions({"a": [""], "b": ["", " "]})
    assert cider.prefix_scores(*cider.encode(["", "what ever"]), ["a", "b"]).tolist() == [[0.0, 0.0]] * 2
    assert cider.score(*cider.encode([]), []).shape == (0,)
    assert cider.prefix_scores(*cider.encode([""]), ["a"]).shape == (1, 0)


def test_captions_may_be_token_lists(toy):
    cider = CiderD.from_captions({item: [caption.split() for caption in captions] for item, captions in TOY.items()})
    captions, items = every()
    lists = cider.encode([caption.split() for caption in captions])
    assert torch.equal(cider.score(*lists, items), toy.score(*toy.encode(captions), items))


def test_mistakes_are_named(toy):
    tokens, lengths = toy.encode(["a dog", "the"])
    mistakes = [
        ((tokens, lengths, ["dog", "bird"]), "item 'bird'"),
        ((tokens, lengths, ["dog"]), r"not \[2, 2\], \[2\] and 1"),
        ((tokens[0], lengths, ["dog", "cat"]), r"tokens \[N, T\]"),
        ((tokens, lengths[:1], ["dog", "cat"]), r"lengths \[N\]"),
        ((tokens, lengths + 1, ["dog", "cat"]), "2 to 3, but tokens have 2 columns"),
        ((tokens, lengths - 2, ["dog", "cat"]), "-1 to 0"),
        ((tokens.double(), lengths, ["dog", "cat"]), "integers"),
        ((tokens + 1000, lengths, ["dog", "cat"]), "row . has a token outside the vocabulary"),
        ((tokens - 1000, lengths, ["dog", "cat"]), "row . has a token outside the vocabulary"),
    ]
    for arguments, message in mistakes:
        for score in (toy.score, toy.prefix_scores):
            with pytest.raises(UserError, match=message):
                score(*arguments)
    specials = ["<pad>", "<s>", "</s>", "<unk>"]
    for captions, options, message in [
        ({}, {}, "at least one item"),
        ({"dog": []}, {}, "item 'dog'"),
        ({"dog": "a dog"}, {}, "item 'dog'"),
        (TOY, {"vocabulary": ["a", "dog"]}, "starts with <pad>"),
        (TOY, {"vocabulary": [*specials, "a", "a"]}, "'a' twice"),
    ]:
        with pytest.raises(UserError, match=message):
            CiderD.from_captions(captions, **options)
    for counts, documents, message in [
        ({}, 0, "one document"),
        ({("a",): 3}, 2, "3, out of 2"),
        ({"a": 1}, 2, "tuple"),
    ]:
        with pytest.raises(UserError, match=message):
            DocumentFrequencies(counts, documents)


def test_the_signature_says_what_was_scored():
    given = DocumentFrequencies({("a",): 4}, 40)
    assert CiderD.from_captions(TOY).signature.startswith(
        "CIDEr-D|n:4|sigma:6|df:own|documents:4|eos:out|skip:0|references:1-4|version:"
    )
    signature = CiderD.from_captions(TOY, document_frequency=given, skip=[",", "."], eos=True).signature
    assert "|df:given|documents:40|eos:in|skip:2|" in signature


def test_scoring_keeps_no_memory(toy):
    captions, items = every()
    tokens, lengths = toy.encode(captions)

    def work():
        for _ in range(200):
            toy.prefix_scores(tokens, lengths, items)
            toy.score(tokens, lengths, items, threads=2)

    work()  # compiles
    tracemalloc.start()
    try:
        work()
        before = tracemalloc.get_traced_memory()[0]
        work()
        assert tracemalloc.get_traced_memory()[0] - before < 4096  # one kept [N, T] result is larger
    finally:
        tracemalloc.stop()
    assert 8 * tokens.numel() > 4096
