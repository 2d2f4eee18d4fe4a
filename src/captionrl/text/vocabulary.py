"""The words a model can read and say, and their ids."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from captionrl.errors import UserError
from captionrl.files import SURROGATE, read_json, write_json

PAD, BOS, EOS, UNK = 0, 1, 2, 3
SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")


@dataclass(frozen=True)
class Vocabulary:
    """`words[id]` is a word; the first four are SPECIALS."""

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raises ValueError for words that no vocabulary has."""
        if self.words[:4] != SPECIALS or len(set(self.words)) != len(self.words):
            raise ValueError(f"its words must begin with {SPECIALS} and repeat no word")
        if SURROGATE.search("".join(self.words)):
            raise ValueError("one of its words holds half a character (a surrogate)")

    @classmethod
    def build(cls, captions: Iterable[Sequence[str]], min_count: int) -> "Vocabulary":
        """The words seen at least `min_count` times in the tokenised captions, most frequent first."""
        counts = Counter(token for caption in captions for token in caption)
        # A text that spells a special must not become that special, nor a second word of the same name.
        kept = [word for word, count in counts.items() if count >= min_count and word not in SPECIALS]
        return cls(SPECIALS + tuple(sorted(kept, key=lambda word: (-counts[word], word))))

    @classmethod
    def load(cls, path: Path | str) -> "Vocabulary":
        words = read_json(path)
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise UserError(f"{path}: must be a list of words; prepare the corpus again")
        try:
            return cls(tuple(words))
        except ValueError as error:
            raise UserError(f"{path}: {error}; prepare the corpus again") from None

    def save(self, path: Path | str) -> None:
        write_json(path, list(self.words))

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self._ids

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: id for id, word in enumerate(self.words) if id > UNK}

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Ids, without BOS or EOS; a word outside the vocabulary, "</s>" as text included, is UNK."""
        return [self._ids.get(token, UNK) for token in tokens]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Words up to the first EOS, without PAD and BOS."""
        words = []
        for id in ids:
            if id == EOS:
                break
            if id not in (PAD, BOS):
                words.append(self.words[id])
        return words
