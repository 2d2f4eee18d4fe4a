"""What all rewards share: captions as word ids, and the scoring of a batch of token ids against an item's references.

A word id is a token id of the model's vocabulary or, beyond those, stands for a reference word that the model lacks.
"""

from __future__ import annotations

import threading
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from captionrl import __version__
from captionrl.errors import UserError
from captionrl.files import MOST_CHARACTERS
from captionrl.rewards.ngrams import SKIPPED
from captionrl.text.ptb import tokenize
from captionrl.text.punctuation import PUNCTUATION, strip_punctuation
from captionrl.text.vocabulary import EOS, PAD, SPECIALS, UNK

if TYPE_CHECKING:  # scoring texts needs no torch, and imports none
    import torch

Caption = str | Sequence[str]  # tokens, or one string with white space between them
References = Mapping[Any, Sequence[Caption]]  # the references of each item

# (word of each token, tokens [N, T], lengths [N], the items' rows [N], every prefix?, scores to fill) -> the first row
# with a token outside the vocabulary, or -1
Loop = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, bool, np.ndarray], int]


def raw_words(captions: Iterable[str]) -> list[list[str]]:
    """The PTB tokens of raw captions without punctuation, each as of a text of its own: what coco-caption scores."""
    return [strip_punctuation(tokens) for tokens in raw_tokens(captions)]


def raw_tokens(captions: Iterable[str]) -> list[list[str]]:
    """Likewise, with punctuation; of a text longer than a caption is the beginning. Raises UserError for no string."""
    if isinstance(captions, str):
        raise UserError(f"captions must be a list of strings, not one string: {captions[:40]!r}")
    tokens = []
    for number, caption in enumerate(captions):
        if not isinstance(caption, str):
            raise UserError(f"caption {number} must be a string, not {caption!r}")
        tokens += tokenize([caption[:MOST_CHARACTERS]])
    return tokens


def _warn_of_raw(words: Iterable[str], what: str, fix: str) -> bool:
    """Warn of the first word that is no PTB token, if there is one; the line is that of the caller's caller."""
    for word in words:
        tokens = " ".join(tokenize([word, "a"])[0])
        if tokens != word:
            warnings.warn(f"{what}, but {word!r} is {tokens!r}; {fix}", stacklevel=3)
            return True
    return False


def scored_words(caption: Caption, skip: Iterable[str], eos: bool) -> list[str]:
    """The caption as it is scored: without skipped words and markers, with a final `</s>` if that counts."""
    tokens = caption.split() if isinstance(caption, str) else caption
    words = [token for token in tokens if token not in skip and token not in SPECIALS[: EOS + 1]]
    return [*words, SPECIALS[EOS]] if eos else words


def number_tokens(vocabulary: Sequence[str], skip: frozenset[str], eos: bool) -> np.ndarray:
    """int64 [V]: a token's word id, which is its own, or SKIPPED where it is dropped before scoring.

    Raises UserError for a malformed vocabulary.
    """
    if tuple(vocabulary[: len(SPECIALS)]) != SPECIALS:
        raise UserError(f"a vocabulary starts with {' '.join(SPECIALS)}, not {' '.join(vocabulary[:4])}")
    if len(set(vocabulary)) != len(vocabulary):
        twice = next(word for word, count in Counter(vocabulary).items() if count > 1)
        raise UserError(f"the vocabulary has {twice!r} twice")
    of_token = np.arange(len(vocabulary), dtype=np.int64)
    of_token[: EOS if eos else EOS + 1] = SKIPPED
    of_token[[token for token, word in enumerate(vocabulary) if word in skip]] = SKIPPED
    return of_token


def arrays(tokens: torch.Tensor, lengths: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Tokens [..., T] and lengths [...] as int64, contiguous; UserError unless these are integers, lengths in 0..T."""
    if tokens.is_floating_point() or lengths.is_floating_point():
        raise UserError(f"tokens and lengths are integers, not {tokens.dtype} and {lengths.dtype}")
    ids = np.ascontiguousarray(tokens.detach().cpu().numpy(), dtype=np.int64)
    sizes = np.ascontiguousarray(lengths.detach().cpu().numpy(), dtype=np.int64)
    if sizes.size and not 0 <= sizes.min() <= sizes.max() <= ids.shape[-1]:
        raise UserError(f"lengths run from {sizes.min()} to {sizes.max()}, but tokens have {ids.shape[-1]} columns")
    return ids, sizes


def padded(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Ids [N, T], int64, `<pad>` beyond each row, and the rows' lengths [N]."""
    sizes = np.array([len(row) for row in rows], dtype=np.int64)
    ids = np.full((len(rows), sizes.max(initial=0)), PAD, dtype=np.int64)
    for line, row in zip(ids, rows, strict=True):
        line[: len(row)] = row
    return ids, sizes


@dataclass(frozen=True)
class Words:
    """The words of a model and of the references, numbered."""

    vocabulary: tuple[str, ...]  # the model's: a word's index is its token id
    ids: dict[str, int]  # of every word but `<unk>`, which matches nothing and has the one id that is missing here
    of_token: np.ndarray  # int64 [V]: a token's word id, SKIPPED where it is dropped
    rows: dict[Hashable, int]  # the place of an item among the references
    skip: frozenset[str]
    eos: bool
    marks: frozenset[str]  # punctuation that is dropped from raw captions too: all of it, unless references have some
    signature: str  # the part that all rewards have in common

    @property
    def count(self) -> int:
        """Word ids are below this."""
        return len(self.ids) + 1

    @classmethod
    def number(
        cls, captions: References, vocabulary: Sequence[str] | None, skip: Iterable[str], eos: bool
    ) -> tuple[Words, list[list[list[int]]]]:
        """The words, and each item's references as word ids; arguments and errors as in `CiderD.from_captions`."""
        skip = frozenset(skip)
        for item, references in captions.items():
            if references is None or isinstance(references, str) or len(references) == 0:
                raise UserError(f"item {item!r} needs a list of at least one reference caption, not {references!r}")
        if not captions:
            raise UserError("scoring needs the captions of at least one item")
        texts = [[scored_words(reference, skip, eos) for reference in references] for references in captions.values()]
        if vocabulary is None:
            seen = (word for item in texts for words in item for word in words)
            vocabulary = list(dict.fromkeys((*SPECIALS, *sorted(skip), *seen)))
        of_token = number_tokens(vocabulary, skip, eos)
        # Word ids are token ids, then reference words the model lacks. No word of a reference gets the id of <unk>.
        ids = {word: token for token, word in enumerate(vocabulary) if token != UNK}
        numbered = [[[ids.setdefault(word, len(ids) + 1) for word in words] for words in item] for item in texts]
        rows: dict[Hashable, int] = {item: row for row, item in enumerate(captions)}
        sizes = sorted({len(references) for references in captions.values()})
        signature = "|".join(
            (
                f"eos:{'in' if eos else 'out'}",
                f"skip:{len(skip)}",
                f"references:{'-'.join(map(str, sizes[:1] + sizes[1:][-1:]))}",
                f"version:{__version__}",
            )
        )
        plain = all(PUNCTUATION.isdisjoint(words) for item in texts for words in item)
        marks = PUNCTUATION if plain else frozenset()
        return cls(tuple(vocabulary), ids, of_token, rows, skip, eos, marks, signature), numbered


class SentenceMetric:
    """Sentence scores of token ids; made by the `from_captions` of a subclass."""

    def __init__(self, words: Words, loop: Loop, signature: str) -> None:
        self.vocabulary = words.vocabulary
        self.signature = signature
        self._words = words
        self._loop = loop
        self._token_of = {word: token for token, word in enumerate(words.vocabulary)}
        self._unchecked = {"encode", "texts"}  # what has not yet warned of raw text

    def encode(self, captions: Sequence[Caption]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids int64 [N, T], padded with `<pad>`, and lengths int64 [N], of tokenised captions; raw ones are for
        `texts`.

        Words outside the vocabulary become `<unk>`, except skipped ones, which are left out. With `eos`, `</s>` is
        appended and counted. Warns once, of the first unknown word that is no PTB token, such as "Man" or "ball.".
        """
        import torch

        known = self._token_of
        rows = []
        for caption in captions:
            words = caption.split() if isinstance(caption, str) else caption
            row = [known.get(word, UNK) for word in words if word in known or word not in self._words.skip]
            if UNK in row and "encode" in self._unchecked:
                unknown = (word for word in words if word not in known and word not in self._words.skip)
                if _warn_of_raw(unknown, "encode takes tokens", "`texts` scores raw captions"):
                    self._unchecked.remove("encode")
            rows.append([*row, EOS] if self._words.eos else row)
        ids, sizes = padded(rows)
        return torch.from_numpy(ids), torch.from_numpy(sizes)

    def texts(self, captions: Sequence[str], items: Sequence[Hashable], *, threads: int = 1) -> np.ndarray:
        """Score raw captions of N items, such as a language model writes -> NumPy's float64 [N].

        They are tokenised, each by itself, as coco-caption does it: lower-case PTB tokens. Punctuation is dropped,
        unless references have some. References are expected to be tokenised: `raw_words` does it. A word that neither
        the vocabulary nor a reference has is one of its own. Raises UserError as `score`, and for what is no string.
        Warns once where references have a word that is no PTB token.
        """
        if "texts" in self._unchecked:
            self._unchecked.remove("texts")
            doubtful = (
                word for word in self._words.ids if word != word.lower() or (word[-1:] in {*".,;:!?"} and len(word) > 1)
            )
            doubtful = (word for word in doubtful if word not in self._words.skip and word not in SPECIALS)
            _warn_of_raw(doubtful, "references are compared as tokens", "make them tokens by `raw_words`")
        tokens = [[word for word in words if word not in self._words.marks] for words in raw_tokens(captions)]
        return self.tokenised(tokens, items, threads=threads)

    def tokenised(self, captions: Sequence[Caption], items: Sequence[Hashable], *, threads: int = 1) -> np.ndarray:
        """`texts` of captions that are tokenised already -> NumPy's float64 [N]."""
        if len(captions) != len(items):
            raise UserError(f"scoring needs an item for each of {len(captions)} captions, not {len(items)} items")
        known, count = self._words.ids, self._words.count
        rows = []
        for caption in captions:
            new: dict[str, int] = {}  # the caption's own words, numbered behind the known ones
            words = scored_words(caption, self._words.skip, self._words.eos)
            rows.append([known[word] if word in known else count + new.setdefault(word, len(new)) for word in words])
        ids, sizes = padded(rows)
        return self._run(np.arange(count + ids.shape[1]), ids, sizes, items, False, threads)[:, 0]

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
        import torch

        if tokens.ndim != 2 or lengths.shape != tokens.shape[:1] or len(items) != len(tokens):
            raise UserError(
                "scoring needs tokens [N, T], lengths [N] and N items, "
                f"not {list(tokens.shape)}, {list(lengths.shape)} and {len(items)}"
            )
        ids, sizes = arrays(tokens, lengths)
        scores = self._run(self._words.of_token, ids, sizes, items, every_prefix, threads)
        return torch.from_numpy(scores).to(tokens.device)

    def _run(
        self,
        word_of_token: np.ndarray,
        ids: np.ndarray,
        sizes: np.ndarray,
        items: Sequence[Hashable],
        every_prefix: bool,
        threads: int,
    ) -> np.ndarray:
        try:
            rows = np.array([self._words.rows[item] for item in items], dtype=np.int64)
        except KeyError as unknown:
            raise UserError(f"no references were given for item {unknown}") from None

        scores = np.empty((len(ids), ids.shape[1] if every_prefix else 1))
        bad = np.full(max(1, min(threads, len(ids))), -1)
        bounds = np.linspace(0, len(ids), len(bad) + 1).astype(int)

        def work(part: int) -> None:
            low, high = bounds[part], bounds[part + 1]
            row = self._loop(
                word_of_token, ids[low:high], sizes[low:high], rows[low:high], every_prefix, scores[low:high]
            )
            bad[part] = row if row < 0 else low + row

        # The loop releases the GIL. Plain threads, for a thread pool would deadlock after a fork.
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
        return scores
