"""What a reward costs: CIDEr-D of prefixes and of whole captions, BLEU between samples; time, scaling, memory."""

import gc
import math
import resource
import warnings
from collections.abc import Callable
from itertools import cycle, permutations

import torch
from nltk.translate.bleu_score import sentence_bleu
from pycocoevalcap.cider.cider_scorer import CiderScorer, cook_refs, cook_test
from timing import Row, in_turns, pretty, report
from torch import Tensor
from torch.testing import assert_close
from world import VOCABULARY, Text

from captionrl.rewards import CiderD, PairwiseBleu


class Peer:
    """pycocoevalcap's CIDEr-D, as peers' training code calls it."""

    def __init__(self, references: dict[str, list[str]]) -> None:
        self.scorer = CiderScorer()
        self.scorer.crefs = [cook_refs(captions) for captions in references.values()]
        self.scorer.compute_doc_freq()
        self.references = references
        self.cooked = dict(zip(references, self.scorer.crefs, strict=True))
        self.documents = len(references)

    def score(self, captions: list[str], items: list[str], cooked: bool) -> list[float]:
        scorer = CiderScorer()
        scorer.document_frequency = self.scorer.document_frequency
        scorer.ctest = [cook_test(caption) for caption in captions]
        scorer.crefs = [self.cooked[item] if cooked else cook_refs(self.references[item]) for item in items]
        # compute_cider takes the log of the number of captions for that of the documents: undone by a list that lies
        scorer.crefs = Many(scorer.crefs, self.documents)
        return scorer.compute_cider()


class Many(list):
    """A list that says to be as long as the corpus."""

    def __init__(self, values: list, length: int) -> None:
        super().__init__(values)
        self.length = length

    def __len__(self) -> int:
        return self.length


Batch = tuple[list[str], list[str]]  # captions, and the item of each


class Corpus:
    """References, both ways to score against them, and captions to score."""

    def __init__(self, items: int) -> None:
        self.text = Text()
        self.references = {f"video{number}": self.text.item() for number in range(items)}
        self.cider = CiderD.from_captions(self.references, vocabulary=VOCABULARY)
        self.peer = Peer({item: [" ".join(words) for words in texts] for item, texts in self.references.items()})

    def batches(self, size: int, length: int, number: int = 40) -> list[Batch]:
        """Different captions of different items, so that no call finds the last one's in the processor's caches."""
        drawn = []
        for _ in range(number):
            items = self.text.random.choice(list(self.references), size).tolist()
            drawn.append(([" ".join(self.text.caption(self.references[item], length)) for item in items], items))
        return drawn

    def scoring(self, score: Callable[..., Tensor], drawn: list[Batch], **options: int) -> Callable[[], Tensor]:
        """A call that scores the next batch."""
        encoded = cycle([(*self.cider.encode(captions), items) for captions, items in drawn])
        return lambda: score(*next(encoded), **options)


def row(what: str, fast: float, slow: float, goal: str, ratio: float, most: float = math.inf) -> Row:
    return Row(what, pretty(fast), pretty(slow), slow / fast, goal, slow / fast >= ratio and fast <= most)


def every_prefix(corpus: Corpus, least: float) -> list[Row]:
    cider, peer, drawn = corpus.cider, corpus.peer, corpus.batches(64, 30)
    captions, items = drawn[0]
    prefixes = [" ".join(caption.split()[: n + 1]) for caption in captions for n in range(30)]
    owners = [item for item in items for _ in range(30)]
    theirs = torch.tensor(peer.score(prefixes, owners, cooked=True))
    assert_close(cider.prefix_scores(*cider.encode(captions), items).flatten(), theirs, rtol=0, atol=1e-9)
    ours = corpus.scoring(cider.prefix_scores, drawn)
    fast, slow = in_turns(ours, lambda: peer.score(prefixes, owners, cooked=True), least=least)
    what = "CIDEr-D of every prefix, 64 captions x 30 words x 20 references, one core"
    return [row(what, fast, slow, "≥ 500 x, ≤ 2 ms", 500, 2e-3)]


def whole_captions(corpus: Corpus, least: float) -> list[Row]:
    cider, peer, drawn = corpus.cider, corpus.peer, corpus.batches(300, 12)
    captions, items = drawn[0]
    theirs = torch.tensor(peer.score(captions, items, cooked=False))
    assert_close(cider.score(*cider.encode(captions), items), theirs, rtol=0, atol=1e-9)
    ours = [corpus.scoring(cider.score, drawn, threads=threads) for threads in (1, 2)]
    one, two, slow = in_turns(*ours, lambda: peer.score(captions, items, cooked=False), least=least)
    what = "CIDEr-D of 300 whole captions x 20 references, one core"
    return [
        row(what, one, slow, "≥ 100 x, ≤ 3 ms", 100, 3e-3),
        row("the same on two cores, against one", two, one, "≥ 1.6 x", 1.6),
    ]


def pairs(corpus: Corpus, least: float) -> list[Row]:
    owners = [corpus.references[f"video{number}"] for number in range(64)]
    samples = [[corpus.text.caption(references, 12) for _ in range(5)] for references in owners]
    tokens, lengths = corpus.cider.encode([" ".join(caption) for item in samples for caption in item])
    tokens, lengths = tokens.view(64, 5, -1), lengths.view(64, 5)
    bleu = PairwiseBleu(VOCABULARY)

    def in_a_loop() -> list[float]:
        scores = []
        for item in samples:
            for caption, other in permutations(item, 2):
                scores += sentence_bleu([other], caption, [(1 / 3,) * 3, (1 / 4,) * 4])
        return scores

    ours = bleu.score(tokens, lengths)[:, ~torch.eye(5, dtype=torch.bool)].flatten()
    theirs = torch.tensor(in_a_loop(), dtype=torch.float64)
    assert_close(ours[theirs > 0.01], theirs[theirs > 0.01], rtol=1e-6, atol=0)  # zeros are smoothed in another way
    fast, slow = in_turns(lambda: bleu.score(tokens, lengths), in_a_loop, least=least)
    return [row("BLEU-3 and BLEU-4 of all pairs of 5 samples x 64 items", fast, slow, "≥ 100 x", 100)]


def growth(corpus: Corpus, least: float) -> list[Row]:
    score = corpus.cider.prefix_scores
    short, long = in_turns(*(corpus.scoring(score, corpus.batches(64, words)) for words in (15, 60)), least=least)
    what = "CIDEr-D of every prefix, 60 words a caption against 15"
    return [Row(what, pretty(long), pretty(short), long / short, "≤ 4 x: linear", long / short <= 4)]


def memory(corpus: Corpus, calls: int) -> list[Row]:
    call = corpus.scoring(corpus.cider.prefix_scores, corpus.batches(64, 30))
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(calls):
        call()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return [Row(f"memory that {calls:,} calls add", f"{grown} KiB", "-", None, "0", grown == 0)]


def measure(least: float, scale: str) -> list[Row]:
    torch.set_num_threads(1)
    corpus = Corpus(2_000 if scale == "paper" else 100)
    rows = [line for part in (every_prefix, whole_captions, pairs, growth) for line in part(corpus, least)]
    return rows + memory(corpus, calls=2_000 if scale == "paper" else 100)


if __name__ == "__main__":
    warnings.filterwarnings("ignore", message="\nThe hypothesis contains 0 counts")
    report(measure, __doc__)
