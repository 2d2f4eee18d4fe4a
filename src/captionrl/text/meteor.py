"""METEOR 1.5's own jar: how it is called, and the part of its paraphrase table that a set of references can use."""

import gzip
import os
import re
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from captionrl.files import atomic, fingerprint
from captionrl.text.java import pycocoevalcap_file, run_java

METEOR_JAR = pycocoevalcap_file("meteor/meteor-1.5.jar")
PARAPHRASES = pycocoevalcap_file("meteor/data/paraphrase-en.gz")


def stdio_options(table: Path) -> list[str]:
    """coco-caption's options, with a paraphrase table: the jar reads lines, and answers each."""
    return ["-", "-", "-stdio", "-l", "en", "-norm", "-a", str(table)]


def score_line(references: Sequence[str], hypothesis: str) -> str:
    """Asks for the 23 sufficient statistics of a caption; all are PTB tokens joined by spaces, without punctuation."""
    return " ||| ".join(["SCORE", *(text.replace("|||", "") for text in [*references, hypothesis])])


KEPT = 32  # pruned tables in the cache, of some megabytes each
_LONGEST_PHRASE = 7  # words, in the jar's table


def pruned_paraphrases(captions: Iterable[str]) -> Path:
    """The jar's paraphrase table without the pairs of which neither side occurs in `captions`, the references.

    Such a pair never matches a word of a reference, so scores stay what they are (tested); but loading the whole table
    (5.3 million pairs) is most of the jar's run time. The KEPT used last are kept in the user's cache directory, since
    the references of a corpus are scored against many times; where that cannot be written, the whole table is returned.
    The jar's own FilterParaphrase does not serve: it drops punctuation, which coco-caption's METEOR matches.
    """
    captions = sorted(set(captions))
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "captionrl"
    except RuntimeError:  # a user without a home, as containers have them
        return PARAPHRASES
    pruned = cache / f"paraphrase-en-{fingerprint([PARAPHRASES.stat().st_size, captions])}.gz"
    if _is_whole(pruned):
        with suppress(OSError):
            os.utime(pruned)
        return pruned

    # What the jar will make of the captions: it re-tokenises them ("u.s." becomes "us").
    normalized = run_java(
        METEOR_JAR, "edu.cmu.meteor.util.Normalizer", ["en", "true"], "\n".join(captions), timeout=600
    )
    phrases = set()
    for line in normalized.lower().split("\n"):
        words = re.findall(r"[^ \t\r\f]+", line)  # Java's StringTokenizer: a no-break space is part of a word
        for start in range(len(words)):
            for end in range(start + 1, min(start + _LONGEST_PHRASE, len(words)) + 1):
                phrases.add(" ".join(words[start:end]).encode() + b"\n")
    try:
        with (
            atomic(pruned) as temporary,
            gzip.open(PARAPHRASES) as table,
            gzip.open(temporary, "wb", compresslevel=1) as kept,
        ):
            for probability in table:  # three lines a pair
                one, other = next(table), next(table)
                if one in phrases or other in phrases:
                    kept.write(probability + one + other)
        _forget(cache)
    except OSError:
        return PARAPHRASES
    return pruned


def _forget(cache: Path) -> None:
    """Remove the tables used longest ago, but for KEPT."""
    tables = sorted(cache.glob("paraphrase-en-*.gz"), key=lambda path: path.stat().st_mtime)
    for table in tables[:-KEPT]:
        table.unlink(missing_ok=True)


def _is_whole(table: Path) -> bool:
    """Whether it is there, may be read, and was not cut off."""
    try:
        with gzip.open(table) as file:
            while file.read(1 << 20):
                pass
        return table.stat().st_size > 0  # of nothing gzip reads nothing
    except (OSError, EOFError, zlib.error):
        return False
