"""CIDEr-D and CIDEr of whole captions and of every prefix of a caption, from token ids.

Vedantam, Zitnick and Parikh, "CIDEr: Consensus-based Image Description Evaluation", CVPR 2015, as in coco-caption.
What `pycocoevalcap.cider` (1.2) calls CIDEr is CIDEr-D: it clips, penalises lengths with a Gaussian and does not
stem. Its quirks are kept, because published numbers have them: the length is the number of bigrams, so empty and
one-word captions are equally long; clipping takes min(h, r)·r of tf-idf values; the norms are not clipped; an n-gram
in no document weighs as if it were in one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

import numpy as np

from captionrl.errors import UserError
from captionrl.rewards.ngrams import ORDERS, PENALTY, SIGMA, score_captions, tabulate
from captionrl.rewards.reward import MetricReward, RewardData
from captionrl.rewards.words import References, SentenceMetric, Words, scored_words


@dataclass(frozen=True)
class DocumentFrequencies:
    """In how many of `documents` items the references contain an n-gram (a tuple of 1 to 4 words)."""

    counts: Mapping[tuple[str, ...], float]
    documents: int

    def __post_init__(self) -> None:
        if self.documents < 1:
            raise UserError(f"document frequencies need at least one document, not {self.documents}")
        for ngram, count in self.counts.items():
            if not (isinstance(ngram, tuple) and 1 <= len(ngram) <= ORDERS):
                raise UserError(f"document frequencies are keyed by tuples of 1 to {ORDERS} words, not {ngram!r}")
            if not 0 <= count <= self.documents:
                raise UserError(f"document frequency of {ngram!r} is {count}, out of {self.documents} documents")

    @classmethod
    def from_captions(cls, captions: References, *, skip: Iterable[str] = (), eos: bool = False) -> DocumentFrequencies:
        """Count over the references of each item; `skip` and `eos` must be those of the CiderD that will use it."""
        skip = frozenset(skip)
        counts: Counter[tuple[str, ...]] = Counter()
        for item, references in captions.items():
            if isinstance(references, str):
                raise UserError(
                    f"item {item!r} needs a list of reference captions, not one string: {references[:40]!r}"
                )
            texts = [scored_words(reference, skip, eos) for reference in references]
            counts.update(
                {tuple(w[i : i + n]) for w in texts for n in range(1, ORDERS + 1) for i in range(len(w) - n + 1)}
            )
        return cls(dict(counts), len(captions))


class CiderD(SentenceMetric):
    """CIDEr-D against references that were tabulated once; make one with `CiderD.from_captions`.

    Scores are on coco-caption's scale, 0 to 10. They equal pycocoevalcap's to 1e-9 if the document frequencies come
    from the same captions and, but for `texts`, `<unk>` is written out as a word.
    """

    _kind: ClassVar[str] = f"CIDEr-D|n:{ORDERS}|sigma:{SIGMA:g}"
    _clips: ClassVar[bool] = True
    _penalty: ClassVar[np.ndarray] = PENALTY

    @classmethod
    def from_captions(
        cls,
        captions: References,
        *,
        document_frequency: DocumentFrequencies | None = None,
        vocabulary: Sequence[str] | None = None,
        skip: Iterable[str] = (),
        eos: bool = False,
    ) -> Self:
        """Tabulate the references of each item.

        document_frequency: None counts over these captions.
        vocabulary: the model's words, `<pad> <s> </s> <unk>` first; a word's index is its token id. None makes one
            from the captions. Reference words outside it still count in norms, lengths and frequencies; `<unk>`
            matches nothing but counts too.
        skip: words, as a rule punctuation, that are dropped from references, frequencies and scored captions.
        eos: whether captions end in `</s>` as in a word, which the lengths then count; else `</s>` is dropped.
            `<pad>` and `<s>` always are.

        Raises UserError for an item without references and for a malformed vocabulary.
        """
        words, references = Words.number(captions, vocabulary, skip, eos)
        given = None
        if document_frequency is not None:  # n-grams with a word that neither side can say are never looked up
            given = {
                tuple(words.ids[word] for word in ngram): count
                for ngram, count in document_frequency.counts.items()
                if all(word in words.ids for word in ngram)
            }
        documents = document_frequency.documents if document_frequency else len(captions)
        source = "given" if document_frequency else "own"
        signature = f"{cls._kind}|df:{source}|documents:{documents}|{words.signature}"
        tables = tabulate(references, words.count, given, documents)
        return cls(words, partial(score_captions, tables, cls._penalty, cls._clips), signature)


class Cider(CiderD):
    """CIDEr as Vedantam et al. define it (section 4): the mean over n = 1..4 and over references of the cosine of
    tf-idf vectors, times 10.

    Unlike CIDEr-D it neither clips a caption's counts nor penalises a difference in length; as there, words are not
    stemmed, and an n-gram in no document weighs as if it were in one. pycocoevalcap has no such metric.
    """

    _kind = f"CIDEr|n:{ORDERS}"
    _clips = False
    _penalty = np.ones(1)


def cider_d(data: RewardData) -> MetricReward:
    """How rare n-grams are, training captions say."""
    return _reward(CiderD, data)


def cider(data: RewardData) -> MetricReward:
    """Likewise, for CIDEr."""
    return _reward(Cider, data)


def _reward(metric: type[CiderD], data: RewardData) -> MetricReward:
    skip, eos, rarity = data.skip, data.eos, None  # of the references themselves
    if data.split != "train":
        rarity = DocumentFrequencies.from_captions(data.references_of("train"), skip=skip, eos=eos)
    words = data.vocabulary.words
    made = metric.from_captions(data.references, document_frequency=rarity, vocabulary=words, skip=skip, eos=eos)
    return MetricReward(made, 10.0)
