"""CIDEr-D of whole captions and of every prefix of a caption, from token ids.

Vedantam, Zitnick and Parikh, "CIDEr: Consensus-based Image Description Evaluation", CVPR 2015, as in coco-caption.
What `pycocoevalcap.cider` (1.2) calls CIDEr is CIDEr-D: it clips, penalises lengths with a Gaussian and does not
stem. Its quirks are kept, because published numbers have them: the length is the number of bigrams, so empty and
one-word captions are equally long; clipping takes min(h, r)·r of tf-idf values; the norms are not clipped; an n-gram
in no document weighs as if it were in one.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from captionrl import __version__
from captionrl.errors import UserError
from captionrl.rewards.ngrams import ORDERS, PENALTY, SIGMA, SKIPPED, Tables, score_captions, tabulate
from captionrl.text.vocabulary import EOS, SPECIALS, UNK

Caption = str | Sequence[str]  # tokens, or one string with white space between them
Captions = Mapping[Any, Sequence[Caption]]  # the references of each item


def _words(caption: Caption, skip: Iterable[str], eos: bool) -> list[str]:
    """The caption as it is scored: without skipped words and markers, with a final `</s>` if that counts."""
    tokens = caption.split() if isinstance(caption, str) else caption
    words = [token for token in tokens if token not in skip and token not in SPECIALS[: EOS + 1]]
    return [*words, SPECIALS[EOS]] if eos else words


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
    def from_captions(cls, captions: Captions, *, skip: Iterable[str] = (), eos: bool = False) -> DocumentFrequencies:
        """Count over the references of each item; `skip` and `eos` must be those of the CiderD that will use it."""
        skip = frozenset(skip)
        counts: Counter[tuple[str, ...]] = Counter()
        for references in captions.values():
            texts = [_words(reference, skip, eos) for reference in references]
            counts.update(
                {tuple(w[i : i + n]) for w in texts for n in range(1, ORDERS + 1) for i in range(len(w) - n + 1)}
            )
        return cls(dict(counts), len(captions))


class CiderD:
    """CIDEr-D against references that were tabulated once; make one with `CiderD.from_captions`.

    Scores are on coco-caption's scale, 0 to 10. They equal pycocoevalcap's to 1e-9 if the document frequencies come
    from the same captions and `<unk>` is written out as a word.
    """

    def __init__(
        self,
        tables: Tables,
        rows: dict[Hashable, int],
        vocabulary: Sequence[str],
        word_of_token: np.ndarray,
        skip: frozenset[str],
        eos: bool,
        signature: str,
    ) -> None:
        self._tables = tables
        self._rows = rows
        self._token_of = {word: token for token, word in enumerate(vocabulary)}
        self._word_of_token = word_of_token
        self._skip = skip
        self._eos = eos
        self.vocabulary = tuple(vocabulary)
        self.signature = signature

    @classmethod
    def from_captions(
        cls,
        captions: Captions,
        *,
        document_frequency: DocumentFrequencies | None = None,
        vocabulary: Sequence[str] | None = None,
        skip: Iterable[str] = (),
        eos: bool = False,
    ) -> CiderD:
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
        skip = frozenset(skip)
        for item, references in captions.items():
            if isinstance(references, str) or not references:
                raise UserError(f"item {item!r} needs a list of at least one reference caption, not {references!r}")
        if not captions:
            raise UserError("CIDEr-D needs the captions of at least one item")
        texts = [[_words(reference, skip, eos) for reference in references] for references in captions.values()]
        if vocabulary is None:
            seen = (word for item in texts for words in item for word in words)
            vocabulary = list(dict.fromkeys((*SPECIALS, *sorted(skip), *seen)))
        if tuple(vocabulary[: len(SPECIALS)]) != SPECIALS:
            raise UserError(f"a vocabulary starts with {' '.join(SPECIALS)}, not {' '.join(vocabulary[:4])}")
        if len(set(vocabulary)) != len(vocabulary):
            twice = next(word for word, count in Counter(vocabulary).items() if count > 1)
            raise UserError(f"the vocabulary has {twice!r} twice")

        # Word ids are token ids, then reference words the model lacks. No word of a reference gets the id of <unk>.
        word_ids = {word: token for token, word in enumerate(vocabulary) if token != UNK}
        ids = [[[word_ids.setdefault(w, len(word_ids) + 1) for w in words] for words in item] for item in texts]
        given = None
        if document_frequency is not None:  # n-grams with a word that neither side can say are never looked up
            given = {
                tuple(word_ids[word] for word in ngram): count
                for ngram, count in document_frequency.counts.items()
                if all(word in word_ids for word in ngram)
            }
        documents = document_frequency.documents if document_frequency else len(captions)

        word_of_token = np.arange(len(vocabulary), dtype=np.int64)
        word_of_token[: EOS if eos else EOS + 1] = SKIPPED
        word_of_token[[token for token, word in enumerate(vocabulary) if word in skip]] = SKIPPED
        sizes = sorted({len(references) for references in captions.values()})
        signature = "|".join(
            (
                "CIDEr-D",
                f"n:{ORDERS}",
                f"sigma:{SIGMA:g}",
                f"df:{'given' if document_frequency else 'own'}",
                f"documents:{documents}",
                f"eos:{'in' if eos else 'out'}",
                f"skip:{len(skip)}",
                f"references:{'-'.join(map(str, sizes[:1] + sizes[1:][-1:]))}",
                f"version:{__version__}",
            )
        )
        tables = tabulate(ids, len(word_ids) + 1, given, documents)
        rows = {item: row for row, item in enumerate(captions)}
        return cls(tables, rows, vocabulary, word_of_token, skip, eos, signature)

    def encode(self, captions: Sequence[Caption]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids int64 [N, T], padded with `<pad>`, and lengths int64 [N].

        Words outside the vocabulary become `<unk>`, except skipped ones, which are left out. With `eos`, `</s>` is
        appended and counted.
        """
        known = self._token_of
        rows = []
        for caption in captions:
            words = caption.split() if isinstance(caption, str) else caption
            row = [known.get(word, UNK) for word in words if word in known or word not in self._skip]
            rows.append(torch.tensor([*row, EOS] if self._eos else row, dtype=torch.int64))
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        if not rows:
            return torch.zeros(0, 0, dtype=torch.int64), lengths
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths

    def score(
        self, tokens: torch.Tensor, lengths: torch.Tensor, items: Sequence[Hashable], *, threads: int = 1
    ) -> torch.Tensor:
        """Score whole captions: tokens [N, T], lengths [N], N item keys -> float64 [N] on the tokens' device.

        Tokens beyond a caption's length are not read. One thread is the default because trainings share a machine.
        Raises UserError for shapes that disagree, lengths outside 0..T, tokens outside the vocabulary, unknown items.
        """
        return self._score(tokens, lengths, items, False, threads)[:, 0]

    def prefix_scores(
        self, tokens: torch.Tensor, lengths: torch.Tensor, items: Sequence[Hashable], *, threads: int = 1
    ) -> torch.Tensor:
        """Like `score`, of every prefix: float64 [N, T]; column t is the score of the first t + 1 tokens.

        Beyond a caption's length the score stays at that of the whole caption (0 for an empty one).
        """
        return self._score(tokens, lengths, items, True, threads)

    def _score(
        self,
        tokens: torch.Tensor,
        lengths: torch.Tensor,
        items: Sequence[Hashable],
        every_prefix: bool,
        threads: int,
    ) -> torch.Tensor:
        if tokens.ndim != 2 or lengths.shape != tokens.shape[:1] or len(items) != len(tokens):
            raise UserError(
                "scoring needs tokens [N, T], lengths [N] and N items, "
                f"not {list(tokens.shape)}, {list(lengths.shape)} and {len(items)}"
            )
        if tokens.is_floating_point() or lengths.is_floating_point():
            raise UserError(f"tokens and lengths are integers, not {tokens.dtype} and {lengths.dtype}")
        ids = np.ascontiguousarray(tokens.detach().cpu().numpy(), dtype=np.int64)
        sizes = np.ascontiguousarray(lengths.detach().cpu().numpy(), dtype=np.int64)
        width = ids.shape[1]
        if len(sizes) and not 0 <= sizes.min() <= sizes.max() <= width:
            raise UserError(f"lengths run from {sizes.min()} to {sizes.max()}, but tokens have {width} columns")
        try:
            rows = np.array([self._rows[item] for item in items], dtype=np.int64)
        except KeyError as unknown:
            raise UserError(f"no references were given for item {unknown}") from None

        scores = np.empty((len(ids), width if every_prefix else 1))
        bad = np.full(max(1, min(threads, len(ids))), -1)
        bounds = np.linspace(0, len(ids), len(bad) + 1).astype(int)

        def work(part: int) -> None:
            low, high = bounds[part], bounds[part + 1]
            row = score_captions(
                self._tables, PENALTY, self._word_of_token,
                ids[low:high], sizes[low:high], rows[low:high], every_prefix, scores[low:high],
            )  # fmt: skip
            bad[part] = row if row < 0 else low + row

        # The loop lets go of the GIL. Plain threads, unlike a pool, leave nothing behind for a fork to trip over.
        helpers = [threading.Thread(target=work, args=(part,)) for part in range(1, len(bad))]
        for helper in helpers:
            helper.start()
        work(0)
        for helper in helpers:
            helper.join()
        if bad.max() >= 0:
            row = int(bad.max())
            raise UserError(
                f"row {row} has a token outside the vocabulary of {len(self.vocabulary)} words: "
                f"{ids[row, : sizes[row]].tolist()}"
            )
        return torch.from_numpy(scores).to(tokens.device)
