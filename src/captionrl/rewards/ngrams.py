"""The integers behind CIDEr-D and CIDEr: n-gram tables of the references, and the loop that scores captions by them.

Everything here is a word id or an n-gram id; `cider.py` speaks to the outside in captions and tensors. There are two
tries. One holds every n-gram that has a document frequency; it is a hash table, because a caption's n-grams fall all
over it. The other, one per item, holds the n-grams of its references; it is small and lies in one piece, so it is
sorted arrays, searched by bisection, and asked first.
"""

import math
from typing import NamedTuple

import numpy as np

from captionrl.rewards.compiled import compiled

ORDERS = 4  # n = 1..4
SIGMA = 6.0  # of the length penalty, in bigrams
SKIPPED = -1  # the word id of what is dropped before n-grams are formed

# exp(-d² / (2 SIGMA²)) for length differences d; the last entry is exactly 0.0 in float64 and serves all larger ones.
PENALTY = np.array([np.e ** (-(d**2) / (2 * SIGMA**2)) for d in range(256)])


class Tables(NamedTuple):
    """I items, R references, E entries (an n-gram of an item), P postings (an n-gram of a reference), W words.

    The id of a single word's n-gram is the word's; that of a longer one is W + its slot among `keys`.
    """

    words: int  # W
    keys: np.ndarray  # int64 [S]: parent's n-gram id x W + last word, or -1: a free slot
    idf2: np.ndarray  # float64 [W + S]: squared inverse document frequency
    idf2_unseen: float  # of an n-gram that is in no document: as if it were in one
    item_references: np.ndarray  # int64 [I + 1]: where an item's references start
    item_unigrams: np.ndarray  # int64 [I, 2]: an item's entries of one word, from:to
    entry_word: np.ndarray  # int32 [E]: last word; sorted among siblings
    entry_ngram: np.ndarray  # int32 [E]
    entry_children: np.ndarray  # int32 [E, 2]: entries that are one word longer, from:to
    entry_postings: np.ndarray  # int32 [E + 1]: where an entry's postings start
    posting_reference: np.ndarray  # int32 [P]: counted from the item's first
    posting_count: np.ndarray  # int32 [P]: how often the reference has the n-gram
    bigrams: np.ndarray  # int64 [R]: length of a reference as CIDEr-D counts it
    inverse_norm: np.ndarray  # float64 [R, 4]: 1 / tf-idf norm per order, 0 where the norm is 0


def tabulate(
    items: list[list[list[int]]], words: int, given: dict[tuple[int, ...], float] | None, documents: int
) -> Tables:
    """Tables from the word ids (below `words`) of each item's references.

    `given` holds document frequencies by n-gram, out of `documents`; None counts them over the items.
    """
    references = [reference for item in items for reference in item]
    # Given n-grams follow the references as sequences of their own, so that they are in the trie too.
    sequences = references + [list(ngram) for ngram in given or ()]
    lengths = np.array([len(sequence) for sequence in sequences])
    ends = np.cumsum(lengths)
    text = np.array([word for sequence in sequences for word in sequence], dtype=np.int64)
    sequence_of = np.repeat(np.arange(len(sequences)), lengths)
    left = np.repeat(ends, lengths) - np.arange(len(text))  # words from here to the sequence's end

    # Number all n-grams by (order, parent, last word), so that siblings are neighbours. ranks[n][p] is the number of
    # the n + 1 words that start at position p, where they fit.
    ranks = [text]
    parents, last_words, ends_of_order = [np.empty(0, np.int64)], [np.arange(words)], [words]
    for n in range(1, ORDERS):
        starts = np.flatnonzero(left > n)
        pairs, which = np.unique(ranks[n - 1][starts] * words + text[starts + n], return_inverse=True)
        ranks.append(np.full(len(text), -1))
        ranks[n][starts] = ends_of_order[-1] + which
        parents.append(pairs // words)
        last_words.append(pairs % words)
        ends_of_order.append(ends_of_order[-1] + len(pairs))
    total = ends_of_order[-1]
    children = words + np.searchsorted(np.concatenate(parents), np.arange(total + 1))

    # Postings, sorted by item, n-gram, reference. One integer holds all three: sorting it sorts them.
    item_references = np.cumsum([0] + [len(item) for item in items])
    item_of = np.repeat(np.arange(len(items)), np.diff(item_references))
    widest = int(np.diff(item_references).max())
    occurrences = []
    for n in range(ORDERS):
        starts = np.flatnonzero((left > n) & (sequence_of < len(references)))
        reference = sequence_of[starts]
        item = item_of[reference]
        occurrences.append((item * total + ranks[n][starts]) * widest + reference - item_references[item])
    postings, counts = np.unique(np.concatenate(occurrences), return_counts=True)
    posting_entry, posting_reference = np.divmod(postings, widest)
    entries, entry_postings = np.unique(posting_entry, return_index=True)
    entry_item, entry_rank = np.divmod(entries, total)
    item_unigrams = np.arange(len(items)) * total
    child_ranks = np.stack((children[entry_rank], children[entry_rank + 1]), axis=1)

    if given is None:
        frequency = np.bincount(entry_rank, minlength=total).astype(np.float64)
    else:
        frequency = np.zeros(total)
        for start, (ngram, count) in zip((ends - lengths)[len(references) :], given.items(), strict=True):
            frequency[ranks[len(ngram) - 1][start]] = count
    # math.log for both: an n-gram in every document must weigh exactly 0, which two different logs do not promise.
    distinct, which = np.unique(frequency, return_inverse=True)
    idf = np.array([math.log(documents) - math.log(max(1.0, f)) for f in distinct])[which]

    posting_item, posting_rank = np.divmod(posting_entry, total)
    order = np.searchsorted(ends_of_order, posting_rank, side="right")
    cell = (item_references[posting_item] + posting_reference) * ORDERS + order
    norm2 = np.bincount(cell, (counts * idf[posting_rank]) ** 2, minlength=len(references) * ORDERS)
    norm = np.sqrt(norm2).reshape(-1, ORDERS)

    # From numbers to ids, order by order, since a key needs its parent's id. An n-gram in one document weighs like one
    # in none: it is left out, unless a given df needs it as a parent. What remains, a quarter, fits the caches better.
    kept = frequency > 1
    for n in range(ORDERS - 1, 0, -1):
        kept[parents[n][kept[ends_of_order[n - 1] : ends_of_order[n]]]] = True
    keys = np.full(_power_of_two(2 * int(kept[words:].sum())), -1)
    ids = np.full(total, -1)
    ids[:words] = np.arange(words)
    for n in range(1, ORDERS):
        own = kept[ends_of_order[n - 1] : ends_of_order[n]]
        slots = _insert(keys, (ids[parents[n]] * words + last_words[n])[own])
        ids[ends_of_order[n - 1] + np.flatnonzero(own)] = words + slots
    idf2 = np.full(words + len(keys), math.log(documents) ** 2)
    idf2[ids[ids >= 0]] = idf[ids >= 0] ** 2

    return Tables(
        words=words,
        keys=keys,
        idf2=idf2,
        idf2_unseen=math.log(documents) ** 2,
        item_references=item_references,
        item_unigrams=np.searchsorted(entries, np.stack((item_unigrams, item_unigrams + words), axis=1)),
        entry_word=np.concatenate(last_words)[entry_rank].astype(np.int32),
        entry_ngram=ids[entry_rank].astype(np.int32),
        entry_children=np.searchsorted(entries, entry_item[:, None] * total + child_ranks).astype(np.int32),
        entry_postings=np.append(entry_postings, len(postings)).astype(np.int32),
        posting_reference=posting_reference.astype(np.int32),
        posting_count=counts.astype(np.int32),
        bigrams=np.maximum(lengths[: len(references)] - 1, 0),
        inverse_norm=np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0),
    )


def _power_of_two(least: int) -> int:
    return 1 << max(3, int(least - 1).bit_length())


@compiled
def find_slot(keys: np.ndarray, key: int) -> int:
    """Where `key` is, or would be put, in an open-addressing set whose size is a power of two; -1 is a free slot."""
    mask = len(keys) - 1
    slot = ((key * 0x9E3779B97F4A7C1) >> 32) & mask
    while keys[slot] != key and keys[slot] != -1:
        slot = (slot + 1) & mask
    return slot


@compiled
def _insert(keys: np.ndarray, new: np.ndarray) -> np.ndarray:
    slots = np.empty(len(new), np.int64)
    for i in range(len(new)):
        slots[i] = find_slot(keys, new[i])
        keys[slots[i]] = new[i]
    return slots


@compiled
def _bisect(values: np.ndarray, low: int, high: int, value: int) -> int:
    """Index of `value` in the sorted values[low:high], or -1."""
    size = high - low
    if size <= 0:
        return -1
    while size > 1:
        half = size >> 1
        low = low + half if values[low + half] <= value else low
        size -= half
    return low if values[low] == value else -1


@compiled
def _mean_similarity(
    dot: np.ndarray, norm2: np.ndarray, bigrams: int, reference_bigrams: np.ndarray, penalty: np.ndarray
) -> float:
    """10 x the penalised cosine, averaged over orders and references; dot [R, 4] is already over their norms."""
    total = 0.0
    for n in range(ORDERS):
        if norm2[n] > 0.0:
            cosines = 0.0
            for r in range(len(reference_bigrams)):
                cosines += dot[r, n] * penalty[min(abs(bigrams - reference_bigrams[r]), len(penalty) - 1)]
            total += cosines / math.sqrt(norm2[n])
    return 10.0 * total / (ORDERS * len(reference_bigrams))


@compiled
def score_captions(
    tables: Tables,
    penalty: np.ndarray,
    clips: bool,
    word_of_token: np.ndarray,
    tokens: np.ndarray,
    lengths: np.ndarray,
    items: np.ndarray,
    every_prefix: bool,
    scores: np.ndarray,
) -> int:
    """Fill scores [N, T] (every prefix) or [N, 1] (whole captions); -1, or the first row with an impossible token.

    Words from W on, below W + T, are words that no reference has. One more word brings at most four n-grams. Let it be
    the c-th occurrence of an n-gram that a reference has r times. The squared norm grows by (c² - (c-1)²) idf² =
    (2c - 1) idf²; the dot product, whose clipped term is min(c, r) r idf², grows by r idf² if c <= r, else not at
    all; without `clips` always.
    """
    rows, width = tokens.shape
    base = tables.words + width  # above every word
    size = 8
    while size < 2 * ORDERS * width:
        size *= 2
    keys, counts = np.empty(size, np.int64), np.empty(size, np.int64)  # the caption's own n-grams, for c
    # For each order, the n-gram that ends at the last word:
    slot = np.zeros(ORDERS, np.int64)  # its place in `keys`
    ngram = np.zeros(ORDERS, np.int64)  # its id, -1: in no document
    entry = np.zeros(ORDERS, np.int64)  # its entry, -1: in no reference of the item
    norm2 = np.zeros(ORDERS)
    dot = np.zeros((np.diff(tables.item_references).max(), ORDERS))

    for row in range(rows):
        item = items[row]
        first, last = tables.item_references[item], tables.item_references[item + 1]
        keys[:] = -1
        counts[:] = 0
        norm2[:] = 0.0
        dot[: last - first] = 0.0
        words, score = 0, 0.0
        for t in range(lengths[row]):
            token = tokens[row, t]
            if token < 0 or token >= len(word_of_token):
                return row
            word = word_of_token[token]
            if word != SKIPPED:
                for n in range(min(words, ORDERS - 1), -1, -1):  # downwards: order n grows from the last n - 1
                    parent = slot[n - 1] if n else size  # `size`: a slot that no n-gram has
                    key = parent * base + word
                    slot[n] = find_slot(keys, key)
                    keys[slot[n]] = key
                    counts[slot[n]] += 1
                    c = counts[slot[n]]

                    low = high = 0
                    if n == 0:
                        low, high = tables.item_unigrams[item]
                    elif entry[n - 1] >= 0:
                        low, high = tables.entry_children[entry[n - 1]]
                    entry[n] = _bisect(tables.entry_word, low, high, word)
                    if word >= tables.words:
                        ngram[n] = -1
                    elif n == 0:
                        ngram[n] = word
                    elif entry[n] >= 0:
                        ngram[n] = tables.entry_ngram[entry[n]]
                    elif ngram[n - 1] >= 0:
                        key = ngram[n - 1] * tables.words + word
                        found = find_slot(tables.keys, key)
                        ngram[n] = tables.words + found if tables.keys[found] == key else -1
                    else:
                        ngram[n] = -1
                    idf2 = tables.idf2[ngram[n]] if ngram[n] >= 0 else tables.idf2_unseen
                    norm2[n] += (2 * c - 1) * idf2
                    if entry[n] >= 0:
                        for p in range(tables.entry_postings[entry[n]], tables.entry_postings[entry[n] + 1]):
                            r = tables.posting_count[p]
                            if c <= r or not clips:
                                reference = tables.posting_reference[p]
                                dot[reference, n] += r * idf2 * tables.inverse_norm[first + reference, n]
                words += 1
                if every_prefix:
                    score = _mean_similarity(dot, norm2, words - 1, tables.bigrams[first:last], penalty)
            if every_prefix:
                scores[row, t] = score
        if every_prefix:
            scores[row, lengths[row] :] = score
        else:
            scores[row, 0] = _mean_similarity(dot, norm2, max(words - 1, 0), tables.bigrams[first:last], penalty)
    return -1
