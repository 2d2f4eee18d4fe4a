"""The segments of every caption of a corpus, by one of three backends."""

import sys
from pathlib import Path
from typing import Any, Literal, get_args

from captionrl.datasets.mini import parser
from captionrl.datasets.parse import parse
from captionrl.datasets.segments import Segmented
from captionrl.errors import UserError
from captionrl.progress import progress
from captionrl.text.segmentation import boundaries, sentences
from captionrl.text.shallow import shallow

Backend = Literal["corenlp", "grammar", "shallow"]


def segment(
    captions: dict[str, list[list[str]]],
    backend: Backend,
    *,
    corenlp: Path | None = None,
    workers: int = 1,
    state: Path = Path("work/state"),
) -> Segmented:
    """Segment the PTB tokens of every caption; equal captions once.

    `corenlp`, for the backend of that name, is a CoreNLP distribution: its folder, or its zip, which is then unpacked
    beside it; below `state` lies what it has parsed so far. Sentences that CoreNLP cannot parse are segmented by
    `shallow`, and counted in the record.
    """
    if backend not in get_args(Backend):
        raise UserError(f"{backend}: no such segmentation backend; there are {', '.join(get_args(Backend))}")
    unique = {tuple(tokens): None for item in captions.values() for tokens in item}
    parts = {tokens: [tokens[part] for part in sentences(tokens)] for tokens in unique}
    asked = list(dict.fromkeys(sentence for caption in parts.values() for sentence in caption))
    fell_back = 0
    match backend:
        case "corenlp":
            found = parse(
                asked, corenlp, boundaries, what="boundaries", command="segment", workers=workers, states=state
            )
            segmented = {
                sentence: shallow(sentence) if marks is None else marks
                for sentence, marks in zip(asked, found, strict=True)
            }
            fell_back = found.count(None)
        case "grammar":
            bar = progress(asked, title="segmenting", unit="sentence")
            segmented = {sentence: boundaries(parser.parse(sentence)) for sentence in bar}
        case "shallow":
            print("segments come from closed-class rules (shallow), not from a parser as in the paper", file=sys.stderr)
            segmented = {sentence: shallow(sentence) for sentence in asked}
    whole = {tokens: [end for part in caption for end in segmented[part]] for tokens, caption in parts.items()}
    boundary = {item: [list(whole[tuple(tokens)]) for tokens in texts] for item, texts in captions.items()}
    return Segmented(boundary, _record(backend, boundary, len(asked), fell_back))


def _record(backend: str, boundary: dict[str, list[list[bool]]], asked: int, fell_back: int) -> dict[str, Any]:
    marks = [mark for item in boundary.values() for caption in item for mark in caption]
    return {
        "backend": backend,
        "captions": sum(map(len, boundary.values())),
        "sentences": asked,  # different ones
        "fell_back": fell_back,  # of those, segmented by `shallow` in place of a parser
        "segments": sum(marks),
        "mean_length": round(len(marks) / max(1, sum(marks)), 4),  # of a segment, in tokens
    }
