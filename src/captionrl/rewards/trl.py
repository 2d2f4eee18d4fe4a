"""Caption metrics as reward functions for TRL's trainers (GRPO, RLOO), and for any loop that calls them likewise.

    reward(CiderD.from_captions(references), items="video")                     # the data set's column names the item
    reward(partial(CiderD.from_captions, document_frequency=rarity), references="captions")  # or has its captions

TRL itself is not imported: it calls a function with `prompts`, `completions` and each other column of the data set, all
lists of N, and expects N floats.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from captionrl.errors import UserError
from captionrl.rewards.words import References, SentenceMetric, raw_words

Completion = str | Sequence[Mapping[str, Any]]  # plain, or a conversation's last messages
RewardFunction = Callable[..., list[float]]


def reward(
    metric: SentenceMetric | Callable[[References], SentenceMetric],
    *,
    items: str | None = None,
    references: str | None = None,
    name: str | None = None,
    threads: int = 1,
) -> RewardFunction:
    """The reward function `f(completions, **columns) -> list[float]` [N] that scores completions as raw captions.

    metric: made by `from_captions`, if the column `items` has each row's item; or what makes one of {row: references},
        such as `Bleu.from_captions`, if the column `references` has each row's raw captions. CIDEr-D weighs words by
        how rare they are, which a batch cannot say: give it a `document_frequency`.
    name: what the trainer's log calls the reward; the metric's own name by default.
    threads: as of `SentenceMetric.texts`.

    Scores are `metric.texts`': of CIDEr-D 0 to 10, of all others 0 to 1. A conversational completion is the text of its
    messages. Raises UserError unless just one column is named, and in the call where the data set lacks that column.
    """
    if (items is None) == (references is None):
        raise UserError("a reward needs the name of one column: items, with ids, or references, with captions")
    if (items is not None) != isinstance(metric, SentenceMetric):
        fits = "items=COLUMN goes with a metric made by from_captions, references=COLUMN with from_captions itself"
        raise UserError(f"a reward's metric does not fit its column: {fits}")
    column: str = items or references or ""

    def score(completions: Sequence[Completion], **columns: Any) -> list[float]:
        if column not in columns:
            there = ", ".join(sorted(columns)) or "none"
            raise UserError(f"the data set has no column {column!r} that the reward reads; it has {there}")
        texts = [_text(completion) for completion in completions]
        rows = columns[column]
        if isinstance(metric, SentenceMetric):
            return metric.texts(texts, rows, threads=threads).tolist()
        numbers, captions = _distinct(rows)
        made = metric(captions)
        if "|df:own|documents:1|" in made.signature:
            what = "a batch with the references of one prompt alone, by which CIDEr-D scores 0 whatever is written"
            raise UserError(f"{what}; give it a document_frequency, as the docstring has it")
        return made.texts(texts, numbers, threads=threads).tolist()

    score.__name__ = name or _name(metric)
    return score


def _text(completion: Completion) -> str:
    if isinstance(completion, str):
        return completion
    return " ".join(_content(message.get("content")) for message in completion)


def _content(content: Any) -> str:
    """The text of a message: a string, a list of parts of which some are text, or none where it only calls a tool."""
    if isinstance(content, list):
        return " ".join(part.get("text") or "" for part in content)
    return content or ""


def _distinct(rows: Sequence[Sequence[str]]) -> tuple[list[Hashable], dict[int, list[list[str]]]]:
    """A number for each row's references, and the tokens of each number's: a group's rows share theirs."""
    numbers: dict[tuple[str, ...], int] = {}
    of_rows: list[Hashable] = []
    for row in rows:
        if isinstance(row, str):
            raise UserError(f"a row's references are a list of captions, not one string: {row!r}")
        of_rows.append(numbers.setdefault(tuple(row), len(numbers)))
    return of_rows, {number: raw_words(captions) for captions, number in numbers.items()}


def _name(metric: SentenceMetric | Callable[[References], SentenceMetric]) -> str:
    if isinstance(metric, SentenceMetric):
        return metric.signature.split("|", 1)[0]
    maker = getattr(metric, "func", metric)  # of a functools.partial
    return getattr(getattr(maker, "__self__", maker), "__name__", "captionrl")
