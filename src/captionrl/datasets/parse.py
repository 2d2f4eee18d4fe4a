"""Trees of a corpus' sentences, asked of CoreNLP once; what was parsed before an interruption is not parsed again."""

import json
import shutil
import zipfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from nltk import Tree

from captionrl.datasets.archives import unpack
from captionrl.errors import UserError
from captionrl.files import damage_named, fingerprint, writing
from captionrl.interrupt import Interrupted, stop_flag
from captionrl.provenance import code_version
from captionrl.state import open_state
from captionrl.text import corenlp


def parse(
    sentences: Sequence[tuple[str, ...]],
    distribution: Path | None,
    read: Callable[[Tree], Any],
    *,
    what: str,
    command: str,
    workers: int,
    states: Path,
) -> list[Any]:
    """What `read` makes of each sentence's tree, which JSON must be able to hold; None where CoreNLP has no tree.

    `distribution`: CoreNLP's folder, or its zip, which is then unpacked beside it. `what` names the results, `command`
    is whose code version they depend on; below `states` lies what is known so far. Raises UserError if there is no
    CoreNLP, Interrupted on TERM or INT.
    """
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
            try:
                corenlp.find_jars(folder)
            except UserError:
                shutil.rmtree(folder)
                raise UserError(f"{distribution}: holds no CoreNLP; fetch its distribution again") from None
        distribution = folder
    identity = {
        "corenlp": sorted((jar.name, jar.stat().st_size) for jar in corenlp.find_jars(distribution).glob("*.jar")),
        "sentences": fingerprint(sentences),
        "code": code_version(command),
    }
    with open_state(states, identity, f"CoreNLP {what} of {len(sentences)} sentences") as directory:
        return _parse(sentences, distribution, read, workers, directory / f"{what}.jsonl")


def _parse(
    sentences: Sequence[tuple[str, ...]],
    distribution: Path,
    read: Callable[[Tree], Any],
    workers: int,
    journal: Path,
) -> list[Any]:
    """Each sentence's result is a line of the journal at once."""
    known = journal.read_bytes() if journal.exists() else b""
    whole = known[: known.rfind(b"\n") + 1]  # but for a line that a killed process left half-written
    with damage_named(journal, "not a whole journal", "remove it to parse anew"):
        found = [json.loads(line) for line in whole.splitlines()]
    if len(found) == len(sentences):
        return found
    with writing(journal), open(journal, "ab") as file, stop_flag() as stopped:
        file.truncate(len(whole))
        try:
            with (
                corenlp.server(distribution, workers=workers) as url,
                closing(corenlp.parse(url, sentences[len(found) :], workers=workers)) as trees,
            ):
                for tree in trees:
                    found.append(None if tree is None else read(tree))
                    file.write(json.dumps(found[-1]).encode() + b"\n")
                    file.flush()
                    if stopped:
                        raise Interrupted
        except UserError:  # the signal may have reached the server, too
            if stopped:
                raise Interrupted from None
            raise
    return found
