"""ROUGE-L of whole captions and of every prefix of a caption, from token ids.

Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004, section 3, as pycocoevalcap 1.2 gives it for a
single sentence: of the longest common subsequences with each reference, the best precision and the best recall, which
need not be of the same reference, in an F-measure that weighs recall by beta² = 1.44. Its quirk is kept that a caption
of no words has one, the empty word.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from captionrl.rewards.compiled import compiled
from captionrl.rewards.ngrams import SKIPPED
from captionrl.rewards.reward import MetricReward, RewardData
from captionrl.rewards.words import References, SentenceMetric, Words

BETA = 1.2


class RougeL(SentenceMetric):
    """ROUGE-L against references that were numbered once; make one with `RougeL.from_captions`.

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
    ) -> RougeL:
        """Number the words of the references of each item; arguments and errors as of `CiderD.from_captions`."""
        words, references = Words.number(captions, vocabulary, skip, eos)
        return cls(words, partial(_score_captions, _tabulate(references)), f"ROUGE-L|beta:{BETA}|{words.signature}")


def rouge_l(data: RewardData) -> MetricReward:
    """ROUGE-L as a reward, at most 1."""
    words, skip, eos = data.vocabulary.words, data.skip, data.eos
    return MetricReward(RougeL.from_captions(data.references, vocabulary=words, skip=skip, eos=eos), 1.0)


class _Tables(NamedTuple):
    """I items, R references, W words."""

    text: np.ndarray  # int64 [W]: the words of all references
    starts: np.ndarray  # int64 [R + 1]: where a reference's words start
    item_references: np.ndarray  # int64 [I + 1]: where an item's references start


def _tabulate(items: list[list[list[int]]]) -> _Tables:
    references = [reference for item in items for reference in item]
    return _Tables(
        text=np.array([word for reference in references for word in reference], dtype=np.int64),
        starts=np.cumsum([0] + [len(reference) for reference in references]),
        item_references=np.cumsum([0] + [len(item) for item in items]),
    )


@compiled
def _f_measure(common: np.ndarray, words: int, sizes: np.ndarray) -> float:
    """From the longest common subsequence of a caption of so many words with each reference [R], and their lengths."""
    precision = recall = 0.0
    for r in range(len(sizes)):
        matched = 1 if words == 0 and sizes[r] == 0 else common[r, sizes[r]]
        precision = max(precision, matched / max(1, words))
        recall = max(recall, matched / max(1, sizes[r]))
    if precision == 0.0:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


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

    One more word makes the next row of the usual table of a longest common subsequence out of the last one, in place.
    """
    sizes = np.diff(tables.starts)
    common = np.zeros((np.diff(tables.item_references).max(), sizes.max() + 1), np.int64)
    for row in range(len(tokens)):
        first, last = tables.item_references[items[row]], tables.item_references[items[row] + 1]
        common[:] = 0  # of the caption so far and each reference's first j words
        words, score = 0, _f_measure(common, 0, sizes[first:last])
        for t in range(lengths[row]):
            token = tokens[row, t]
            if token < 0 or token >= len(word_of_token):
                return row
            word = word_of_token[token]
            if word != SKIPPED:
                words += 1
                for r in range(first, last):
                    line, diagonal = common[r - first], 0
                    for j in range(sizes[r]):
                        above = line[j + 1]
                        if tables.text[tables.starts[r] + j] == word:
                            line[j + 1] = diagonal + 1
                        elif line[j] > above:
                            line[j + 1] = line[j]
                        diagonal = above
                if every_prefix:
                    score = _f_measure(common, words, sizes[first:last])
            if every_prefix:
                scores[row, t] = score
        if every_prefix:
            scores[row, lengths[row] :] = score
        else:
            scores[row, 0] = _f_measure(common, words, sizes[first:last])
    return -1
