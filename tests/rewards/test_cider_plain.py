"""CIDEr by Vedantam et al.'s formula, written out here in plain Python."""

import math
from collections import Counter

import torch

from captionrl.rewards import Cider, CiderD
from captionrl.rewards.cider import DocumentFrequencies

TOY = {
    "dog": ["a dog runs on the grass", "the dog is running", "a dog , a brown dog , runs .", "dog"],
    "cat": ["a cat sleeps on a chair .", "the cat sleeps", ""],
    "man": ["a man plays the guitar .", "a man is playing a guitar", "a man sings and plays the guitar on the stage ."],
    "one": ["guitar"],
}
HYPOTHESES = [
    "a dog runs on the grass", "a man plays the guitar .", "dog", "", "the zebra runs", "<unk> <unk> runs on <unk>",
    "a dog a dog a dog a dog", "a man plays the guitar on the stage and the dog is running on the grass , a dog ,",
]  # fmt: skip
CAPTIONS = [caption for caption in HYPOTHESES for _ in TOY]
ITEMS = [item for _ in HYPOTHESES for item in TOY]


def ngrams(text: str, n: int) -> Counter:
    words = text.split()
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def by_the_formula(caption: str, item: str) -> float:
    """10 / 4 times the sum over n of the mean over references of the cosine of tf-idf vectors (section 4)."""
    total = 0.0
    for n in range(1, 5):
        documents = Counter(gram for texts in TOY.values() for gram in set().union(*(ngrams(t, n) for t in texts)))

        def vector(text, n=n, documents=documents):
            return {g: h * math.log(len(TOY) / max(1, documents[g])) for g, h in ngrams(text, n).items()}

        def norm(weights):
            return math.sqrt(sum(weight**2 for weight in weights.values()))

        own = vector(caption)
        for reference in map(vector, TOY[item]):
            if norm(own) > 0 and norm(reference) > 0:
                dot = sum(weight * reference.get(gram, 0) for gram, weight in own.items())
                total += dot / (norm(own) * norm(reference)) / len(TOY[item])
    return 10 / 4 * total


def test_captions_and_their_prefixes_score_by_the_formula():
    cider = Cider.from_captions(TOY)
    tokens, lengths = cider.encode(CAPTIONS)
    wanted = torch.tensor([by_the_formula(*pair) for pair in zip(CAPTIONS, ITEMS, strict=True)], dtype=torch.float64)
    torch.testing.assert_close(cider.score(tokens, lengths, ITEMS), wanted, rtol=0, atol=1e-9)
    prefixes = cider.prefix_scores(tokens, lengths, ITEMS)
    for row, (caption, item) in enumerate(zip(CAPTIONS, ITEMS, strict=True)):
        for t in range(lengths[row]):
            part = by_the_formula(" ".join(caption.split()[: t + 1]), item)
            assert abs(prefixes[row, t].item() - part) < 1e-9


def test_it_neither_clips_nor_penalises_length_as_cider_d_does():
    plain, clipped = Cider.from_captions(TOY), CiderD.from_captions(TOY)
    tokens, lengths = plain.encode(["a dog runs on the grass", "dog dog dog dog dog dog dog dog"])
    exact, repeated = (
        plain.score(tokens, lengths, ["dog", "dog"]) - clipped.score(tokens, lengths, ["dog", "dog"])
    ).tolist()
    assert exact > 0.01  # the references differ in length
    assert repeated > 0.5


def test_its_signature_says_what_it_is():
    given = DocumentFrequencies.from_captions(TOY)
    assert Cider.from_captions(TOY).signature.startswith("CIDEr|n:4|df:own|documents:4|")
    assert Cider.from_captions(TOY, document_frequency=given).signature.startswith("CIDEr|n:4|df:given|")
