"""Sentence BLEU of every caption of an item against every other one, from token ids: how alike samples are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from captionrl.errors import UserError
from captionrl.rewards.bleu import bleu
from captionrl.rewards.compiled import compiled
from captionrl.rewards.ngrams import ORDERS, SKIPPED, find_slot
from captionrl.rewards.words import arrays, number_tokens, padded, raw_words, scored_words
from captionrl.text.vocabulary import SPECIALS, UNK

if TYPE_CHECKING:  # as in words.py
    from torch import Tensor


class PairwiseBleu:
    """BLEU between captions of the same item, which need no references.

    Equal to pycocoevalcap's sentence BLEU to 1e-9 with the other caption as the only reference, as `Bleu` is; an
    `<unk>` matches none in another caption.
    """

    def __init__(
        self,
        vocabulary: Sequence[str] = SPECIALS,
        *,
        skip: Iterable[str] = (),
        eos: bool = False,
        orders: Sequence[int] = (3, 4),
    ) -> None:
        """vocabulary, skip, eos: as for `CiderD.from_captions`; orders: the longest n-gram of each BLEU, 1 to 4 words.

        `texts` needs no vocabulary. Raises UserError for a malformed vocabulary and for other orders.
        """
        if not orders or not all(1 <= order <= ORDERS for order in orders):
            raise UserError(f"BLEU's orders must be 1 to {ORDERS}, not {list(orders)}")
        self._skip, self._eos = frozenset(skip), eos
        self._word_of_token = number_tokens(vocabulary, self._skip, eos)
        self._orders = np.array(orders)

    def score(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """S captions of each of B items, tokens [B, S, T] and lengths [B, S] -> float64 [B, S, S, orders].

        Entry [b, j, k] is of caption j with caption k as its reference. Tokens beyond a caption's length are not read.
        Raises UserError for shapes that disagree, lengths outside 0..T, tokens outside the vocabulary.
        """
        import torch

        if tokens.ndim != 3 or lengths.shape != tokens.shape[:2]:
            shapes = f"{list(tokens.shape)} and {list(lengths.shape)}"
            raise UserError(f"captions in pairs are tokens [B, S, T] and lengths [B, S], not {shapes}")
        return torch.from_numpy(self._run(self._word_of_token, *arrays(tokens, lengths))).to(tokens.device)

    def texts(self, groups: Sequence[Sequence[str]]) -> np.ndarray:
        """Likewise of S raw captions of each of B items -> NumPy's float64 [B, S, S, orders].

        They are tokenised as coco-caption does it, and punctuation is dropped. Raises UserError for groups of
        different sizes and for what is no string.
        """
        if any(isinstance(group, str) for group in groups):
            raise UserError("captions in pairs come in groups, lists of strings, not in strings")
        if len({len(group) for group in groups}) != 1:
            raise UserError(f"captions in pairs come in groups of one size, not of {[len(group) for group in groups]}")
        captions = raw_words(caption for group in groups for caption in group)
        rows = [scored_words(words, self._skip, self._eos) for words in captions]
        numbers = {word: number for number, word in enumerate(SPECIALS)}
        for words in rows:
            for word in words:
                numbers.setdefault(word, len(numbers))
        ids, sizes = padded([[numbers[word] for word in words] for words in rows])
        shape = (len(groups), len(groups[0]))
        return self._run(np.arange(len(numbers)), ids.reshape(*shape, -1), sizes.reshape(shape))

    def _run(self, word_of_token: np.ndarray, ids: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        scores = np.empty((*ids.shape[:2], ids.shape[1], len(self._orders)))
        bad = _score_pairs(word_of_token, ids, sizes, self._orders, scores)
        if bad >= 0:
            raise UserError(f"item {bad} has a token outside the vocabulary of {len(word_of_token)} words")
        return scores


@compiled
def _score_pairs(
    word_of_token: np.ndarray, tokens: np.ndarray, lengths: np.ndarray, orders: np.ndarray, scores: np.ndarray
) -> int:
    """Fill scores [B, S, S, orders]; -1, or the first item with an impossible token.

    The clipped matches of two captions, min(count, count) summed over their n-grams, are the same in both directions.
    """
    items, captions, width = tokens.shape
    longest = orders.max()
    size = 8
    while size < 2 * longest * captions * width:
        size *= 2
    keys = np.full(size, -1)  # the n-grams of all captions of an item
    counts = np.zeros((size, captions), np.int64)
    order_of = np.zeros(size, np.int64)
    seen = np.empty(size, np.int64)  # the slots in use
    slot = np.zeros(longest, np.int64)  # of the n-gram of each order that ends at the last word
    words = np.zeros(captions, np.int64)
    correct = np.zeros((captions, captions, longest))
    unknown = len(word_of_token)  # from here on, a number of its own for every <unk>
    base = unknown + captions * width

    for item in range(items):
        used = 0
        for caption in range(captions):
            words[caption] = 0
            for t in range(lengths[item, caption]):
                token = tokens[item, caption, t]
                if token < 0 or token >= len(word_of_token):
                    return item
                word = word_of_token[token]
                if word == SKIPPED:
                    continue
                if token == UNK:
                    word = unknown + caption * width + t
                for n in range(min(words[caption], longest - 1), -1, -1):  # downwards: n grows from the last n - 1
                    key = (slot[n - 1] if n else size) * base + word
                    slot[n] = find_slot(keys, key)
                    if keys[slot[n]] == -1:
                        keys[slot[n]] = key
                        order_of[slot[n]] = n
                        seen[used] = slot[n]
                        used += 1
                    counts[slot[n], caption] += 1
                words[caption] += 1

        correct[:] = 0.0
        for place in seen[:used]:
            for j in range(captions):
                if counts[place, j]:
                    for k in range(j, captions):
                        correct[j, k, order_of[place]] += min(counts[place, j], counts[place, k])
            keys[place] = -1
            counts[place] = 0
        for j in range(captions):
            for k in range(captions):
                matches = correct[min(j, k), max(j, k)]
                for o in range(len(orders)):
                    scores[item, j, k, o] = bleu(matches[: orders[o]], words[j], words[k : k + 1])
    return -1
