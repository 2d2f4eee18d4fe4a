"""ROUGE-L equals pycocoevalcap's, of whole captions and of every prefix."""

import pytest
import torch
from pycocoevalcap.rouge.rouge import Rouge

from captionrl.rewards.rouge import RougeL

TOY = {
    "dog": ["a dog runs on the grass", "the dog is running", "a dog , a brown dog , runs .", "dog"],
    "cat": ["a cat sleeps on a chair .", "the cat sleeps", ""],
    "man": ["a man plays the guitar .", "a man is playing a guitar", "a man sings and plays the guitar on the stage ."],
    "one": ["guitar"],
    "mixed": ["runs a dog", "a dog grass on the runs"],  # best precision and best recall are of different references
}
HYPOTHESES = [  # real words, repeats, unseen words, one word, nothing
    "a dog runs on the grass", "a man plays the guitar .", "dog", "guitar", "", "the", "<unk>", "a dog runs on the",
    "a dog a dog a dog a dog", "dog dog dog dog dog dog", "the zebra runs", "<unk> <unk> <unk> runs on <unk> <unk>",
    "a man plays the guitar on the stage and the dog is running on the grass , a brown dog , a dog ,",
]  # fmt: skip
CAPTIONS = [caption for caption in HYPOTHESES for _ in TOY]
ITEMS = [item for _ in HYPOTHESES for item in TOY]


def expected(references, captions, items):
    scores = [Rouge().calc_score([caption], references[item]) for caption, item in zip(captions, items, strict=True)]
    return torch.tensor(scores, dtype=torch.float64)


def assert_parity(rouge, references, captions, items):
    """Whole captions and every prefix."""
    tokens, lengths = rouge.encode(captions)
    texts = [[rouge.vocabulary[token] for token in row[:n]] for row, n in zip(tokens.tolist(), lengths, strict=True)]
    wanted = expected(references, [" ".join(words) for words in texts], items)
    torch.testing.assert_close(rouge.score(tokens, lengths, items), wanted, rtol=0, atol=1e-9)
    prefixes = rouge.prefix_scores(tokens, lengths, items)
    for row, words in enumerate(texts):
        parts = [" ".join(words[: t + 1]) for t in range(len(words))]
        wanted = expected(references, parts, [items[row]] * len(parts))
        torch.testing.assert_close(prefixes[row, : len(words)], wanted, rtol=0, atol=1e-9)
        if words:
            assert (prefixes[row, len(words) :] == prefixes[row, len(words) - 1]).all()


def test_captions_and_their_prefixes_score_as_in_pycocoevalcap():
    rouge = RougeL.from_captions(TOY)
    assert_parity(rouge, TOY, CAPTIONS, ITEMS)
    scores = rouge.score(*rouge.encode(CAPTIONS), ITEMS)
    assert scores.min() == 0
    assert scores.max() == 1
    assert len(scores.unique()) > 20


def test_ids_of_the_models_vocabulary_score_like_the_words_they_stand_for():
    model = ["<pad>", "<s>", "</s>", "<unk>", "runs", "zebra", "dog", "a", "the", "on", "grass", "plays", "man"]
    assert_parity(RougeL.from_captions(TOY, vocabulary=model), TOY, CAPTIONS, ITEMS)


def test_skipped_words_count_nowhere():
    rouge = RougeL.from_captions(TOY, skip=[",", "."])
    stripped = {
        item: [" ".join(w for w in text.split() if w not in ",.") for text in texts] for item, texts in TOY.items()
    }
    plain = RougeL.from_captions(stripped, vocabulary=rouge.vocabulary)
    short = [" ".join(word for word in caption.split() if word not in ",.") for caption in CAPTIONS]
    tokens, lengths = rouge.encode(CAPTIONS)
    assert torch.equal(rouge.score(tokens, lengths, ITEMS), plain.score(*plain.encode(short), ITEMS))
    assert rouge.prefix_scores(tokens, lengths, ITEMS)[:, -1].tolist() == rouge.score(tokens, lengths, ITEMS).tolist()


def test_the_end_of_a_caption_is_a_word_with_eos():
    rouge = RougeL.from_captions({"a": ["x y"]}, eos=True)
    vocabulary = list(rouge.vocabulary)
    x, y, end = (vocabulary.index(word) for word in ("x", "y", "</s>"))
    tokens, lengths = torch.tensor([[x, y, end], [x, y, 0]]), torch.tensor([3, 2])
    whole, cut = rouge.score(tokens, lengths, ["a", "a"]).tolist()
    assert whole == 1
    assert cut == pytest.approx((1 + 1.44) * (2 / 3) / (2 / 3 + 1.44))


def test_a_caption_gets_1_only_for_a_whole_reference_and_0_for_no_word_of_one():
    rouge = RougeL.from_captions({"a": ["x y z"]})
    tokens, lengths = rouge.encode(["x y z", "x z y", "w"])
    whole, shuffled, none = rouge.score(tokens, lengths, ["a"] * 3).tolist()
    assert whole == 1
    assert shuffled == pytest.approx(2 / 3)
    assert none == 0
