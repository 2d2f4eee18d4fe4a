"""Sentence BLEU of whole captions and of every prefix of a caption, from token ids.

Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation", ACL 2002, as pycocoevalcap 1.2 gives
it for a single sentence (`BleuScorer.compute_score(option="closest")`): the geometric mean of the clipped precisions
of n = 1..order times the brevity penalty against the closest reference length, of two equally close ones the shorter.
Its constants are kept, because they are its smoothing: a precision of nothing is tiny rather than 0, so a caption of
one right word has a BLEU-4 above 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from captionrl.errors import UserError
from captionrl.rewards.compiled import compiled
from captionrl.rewards.ngrams import ORDERS, SKIPPED
from captionrl.rewards.reward import MetricReward, RewardData
from captionrl.rewards.words import References, SentenceMetric, Words

TINY, SMALL = 1e-15, 1e-9  # pycocoevalcap adds one to every numerator, the other to every denominator


class Bleu(SentenceMetric):
    """Sentence BLEU against references that were tabulated once; make one with `Bleu.from_captions`.

    Scores run from 0 to 1. They equal pycocoevalcap's to 1e-9 if, but for `texts`, `<unk>` is written out.
    """

    @classmethod
    def from_captions(
        cls,
        captions: References,
        *,
        vocabulary: Sequence[str] | None = None,
        skip: Iterable[str] = (),
        eos: bool = False,
        order: int = 4,
    ) -> Bleu:
        """Tabulate the references of each item.

        vocabulary, skip, eos: as for `CiderD.from_captions`; a skipped word does not count in lengths either.
        order: the longest n-gram that counts, 1 to 4 words (pycocoevalcap counts no longer ones); 4 is BLEU-4.

        Raises UserError for an item without references, for a malformed vocabulary, for another order.
        """
        if not 1 <= order <= ORDERS:
            raise UserError(f"BLEU's order must be 1 to {ORDERS}, not {order}")
        words, references = Words.number(captions, vocabulary, skip, eos)
        loop = partial(_score_captions, _tabulate(references, words.count, order))
        return cls(words, loop, f"BLEU|n:{order}|level:sentence|length:closest|{words.signature}")


def _reward(data: RewardData, order: int) -> MetricReward:
    words, skip, eos = data.vocabulary.words, data.skip, data.eos
    return MetricReward(Bleu.from_captions(data.references, vocabulary=words, skip=skip, eos=eos, order=order), 1.0)


bleu_1, bleu_2, bleu_3, bleu_4 = (partial(_reward, order=order) for order in range(1, ORDERS + 1))


class _Tables(NamedTuple):
    """I items, R references, E entries (an n-gram of an item): by order, then item, then parent, then last word.

    An n-gram's parent is the same without its last word, so siblings are neighbours.
    """

    entry_word: np.ndarray  # int64 [E]: last word; sorted among siblings
    entry_count: np.ndarray  # int64 [E]: how often the reference that has the n-gram most often has it
    entry_children: np.ndarray  # int64 [E + 1]: where an entry's children start, the entries that are one word longer
    item_entries: np.ndarray  # int64 [order, I + 1]: where an item's entries of an order start
    item_references: np.ndarray  # int64 [I + 1]: where an item's references start
    reference_words: np.ndarray  # int64 [R]: their lengths, ascending within an item


def _tabulate(items: list[list[list[int]]], words: int, order: int) -> _Tables:
    """Tables from the word ids (below `words`) of each item's references."""
    references = [reference for item in items for reference in item]
    lengths = np.array([len(reference) for reference in references])
    text = np.array([word for reference in references for word in reference], dtype=np.int64)
    reference_of = np.repeat(np.arange(len(references)), lengths)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(text))  # words from here to the reference's end
    item_references = np.cumsum([0] + [len(item) for item in items])
    item_of = np.repeat(np.arange(len(items)), np.diff(item_references))

    # entry[p]: the entry of the n + 1 words that start at position p. An item is the parent of its single words.
    entry, starts = item_of[reference_of], np.arange(len(text))
    entry_words, entry_counts, entry_parents, item_entries, total = [], [], [], [], 0
    for n in range(order):
        starts = starts[left[starts] > n]
        pairs, which = np.unique(entry[starts] * words + text[starts + n], return_inverse=True)
        parents, last_words = np.divmod(pairs, words)
        occurrences, counts = np.unique(which * len(references) + reference_of[starts], return_counts=True)
        most = np.zeros(len(pairs), np.int64)
        np.maximum.at(most, occurrences // len(references), counts)
        items_of_pairs = np.empty(len(pairs), np.int64)
        items_of_pairs[which] = item_of[reference_of[starts]]

        item_entries.append(total + np.searchsorted(items_of_pairs, np.arange(len(items) + 1)))
        entry_words.append(last_words)
        entry_counts.append(most)
        entry_parents.append(parents if n else np.empty(0, np.int64))
        entry[starts] = total + which
        total += len(pairs)
    first_order = len(entry_words[0])
    return _Tables(
        entry_word=np.concatenate(entry_words),
        entry_count=np.concatenate(entry_counts),
        entry_children=first_order + np.searchsorted(np.concatenate(entry_parents), np.arange(total + 1)),
        item_entries=np.stack(item_entries),
        item_references=item_references,
        reference_words=lengths[np.lexsort((lengths, item_of))],
    )


@compiled
def bleu(correct: np.ndarray, words: int, reference_words: np.ndarray) -> float:
    """From the clipped matches of each order, the caption's length and its references' ascending lengths."""
    product = 1.0
    for n in range(len(correct)):
        product *= (correct[n] + TINY) / (max(0, words - n) + SMALL)
    closest = reference_words[0]
    for length in reference_words:
        if abs(length - words) < abs(closest - words):
            closest = length
    ratio = (words + TINY) / (closest + SMALL)
    brevity = math.exp(1.0 - 1.0 / ratio) if ratio < 1.0 else 1.0
    return product ** (1.0 / len(correct)) * brevity


@compiled
def _score_captions(
    tables: _Tables,
    word_of_token: np.ndarray,
    tokens: np.ndarray,
    lengths: np.ndarray,
    items: np.ndarray,
    every_prefix: bool,
    scores: np.ndarray,
) -> int:
    """Fill scores [N, T] (every prefix) or [N, 1] (whole captions); -1, or the first row with an impossible token.

    One more word ends at most one n-gram of each order. Let it be the c-th occurrence of an n-gram that some reference
    has r times, and none more often: the clipped matches min(c, r) grow by one if c <= r, else not at all.
    """
    order = len(tables.item_entries)
    widest = 0
    for n in range(order):
        widest = max(widest, np.diff(tables.item_entries[n]).max())
    counts = np.zeros((order, widest), np.int64)  # of the item's n-grams in the caption; others need no counting
    correct = np.zeros(order)
    entry = np.full(order, -1)  # of the n-gram of each order that ends at the last word, -1: in no reference

    for row in range(len(tokens)):
        item = items[row]
        reference_words = tables.reference_words[tables.item_references[item] : tables.item_references[item + 1]]
        counts[:] = 0
        correct[:] = 0.0
        words, score = 0, 0.0
        for t in range(lengths[row]):
            token = tokens[row, t]
            if token < 0 or token >= len(word_of_token):
                return row
            word = word_of_token[token]
            if word != SKIPPED:
                for n in range(min(words, order - 1), -1, -1):  # downwards: order n grows from the last n - 1
                    low = high = 0
                    if n == 0:
                        low, high = tables.item_entries[0, item], tables.item_entries[0, item + 1]
                    elif entry[n - 1] >= 0:
                        low, high = tables.entry_children[entry[n - 1]], tables.entry_children[entry[n - 1] + 1]
                    found = low + np.searchsorted(tables.entry_word[low:high], word)
                    entry[n] = -1
                    if found < high and tables.entry_word[found] == word:
                        entry[n] = found
                        place = found - tables.item_entries[n, item]
                        counts[n, place] += 1
                        if counts[n, place] <= tables.entry_count[found]:
                            correct[n] += 1.0
                words += 1
                if every_prefix:
                    score = bleu(correct, words, reference_words)
            if every_prefix:
                scores[row, t] = score
        if every_prefix:
            scores[row, lengths[row] :] = score
        else:
            scores[row, 0] = bleu(correct, words, reference_words)
    return -1
