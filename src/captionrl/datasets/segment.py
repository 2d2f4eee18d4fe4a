"""The segments of every caption of a corpus, by one of three backends."""

import json
import sys
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, get_args

from captionrl.datasets.archives import unpack
from captionrl.datasets.mini import parser
from captionrl.datasets.segments import Segmented
from captionrl.errors import UserError
from captionrl.files import fingerprint, writing
from captionrl.interrupt import Interrupted, stop_flag
from captionrl.progress import progress
from captionrl.provenance import code_version
from captionrl.state import open_state
from captionrl.text import corenlp as corenlp_backend
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
            segmented, fell_back = _by_corenlp(asked, corenlp, workers, state)
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


def _by_corenlp(
    asked: list[tuple[str, ...]], distribution: Path | None, workers: int, states: Path
) -> tuple[dict[tuple[str, ...], list[bool]], int]:
    """What CoreNLP makes of the sentences, and how many of them it could not parse."""
    if distribution is None:
        raise UserError("the corenlp backend wants the path of a CoreNLP distribution (its zip, or its folder)")
    if not distribution.exists():
        raise UserError(f"{distribution}: no such file or folder; download CoreNLP there, or choose another backend")
    if distribution.is_file():
        if not zipfile.is_zipfile(distribution):
            raise UserError(f"{distribution}: not a zip; fetch the CoreNLP distribution again")
        folder = distribution.with_name(f"{distribution.name}.unpacked")
        if not folder.exists():
            unpack(distribution, folder)
        distribution = folder
    identity = {
        "corenlp": sorted(
            (jar.name, jar.stat().st_size) for jar in corenlp_backend.find_jars(distribution).glob("*.jar")
        ),
        "sentences": fingerprint(asked),
        "code": code_version("segment"),
    }
    with open_state(states, identity, f"CoreNLP segments of {len(asked)} sentences") as directory:
        found = _parse(asked, distribution, workers, directory / "boundaries.jsonl")
    segmented = {
        sentence: shallow(sentence) if marks is None else marks for sentence, marks in zip(asked, found, strict=True)
    }
    return segmented, found.count(None)


def _parse(asked: list[tuple[str, ...]], distribution: Path, workers: int, journal: Path) -> list[list[bool] | None]:
    """The boundaries of each sentence, None where CoreNLP has no tree; each is a line of the journal at once.

    What stands in the journal is not parsed again. Raises Interrupted on TERM or INT.
    """
    known = journal.read_bytes() if journal.exists() else b""
    whole = known[: known.rfind(b"\n") + 1]  # but for a line that a killed process left half-written
    found = [json.loads(line) for line in whole.splitlines()]
    if len(found) == len(asked):
        return found
    with writing(journal), open(journal, "ab") as file, stop_flag() as stopped:
        file.truncate(len(whole))
        try:
            with (
                corenlp_backend.server(distribution, workers=workers) as url,
                closing(corenlp_backend.parse(url, asked[len(found) :], workers=workers)) as trees,
            ):
                for tree in trees:
                    found.append(None if tree is None else boundaries(tree))
                    file.write(json.dumps(found[-1]).encode() + b"\n")
                    file.flush()
                    if stopped:
                        raise Interrupted
        except UserError:  # the signal may have reached the server, too
            if stopped:
                raise Interrupted from None
            raise
    return found
