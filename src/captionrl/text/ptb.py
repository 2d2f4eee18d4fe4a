"""Penn Treebank tokens, by the jar that coco-caption uses."""

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from captionrl.errors import UserError
from captionrl.text.java import run_java

# Every character that Python or Stanford's lexer takes for the end of a line.
_LINE_END = re.compile("[\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]")


def pycocoevalcap_file(path: str) -> Path:
    """A file of the installed pycocoevalcap, found without importing the package."""
    spec = find_spec("pycocoevalcap")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / path


def tokenize(captions: Sequence[str]) -> list[list[str]]:
    """Lower-cased Stanford PTB tokens, punctuation included, of each caption; one Java process for all.

    The same jar and options as coco-caption's. A caption without tokens gives [].
    """
    if not captions:
        return []
    text = "".join(_LINE_END.sub(" ", caption) + "\n" for caption in captions)
    jar = pycocoevalcap_file("tokenizer/stanford-corenlp-3.4.1.jar")
    output = run_java(jar, "edu.stanford.nlp.process.PTBTokenizer", ["-preserveLines", "-lowerCase"], text, timeout=600)
    lines = output.removesuffix("\n").split("\n")
    if len(lines) != len(captions):
        raise UserError(f"the PTB tokeniser gave {len(lines)} lines for {len(captions)} captions")
    # Not split(): a token can hold a no-break space ("1 1/2").
    return [[token for token in line.split(" ") if token] for line in lines]
