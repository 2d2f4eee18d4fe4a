"""Attributes are mined from a corpus' training captions."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from nltk import Tree

from captionrl.datasets.attributes import Attribute, Attributes
from captionrl.datasets.parse import parse
from captionrl.datasets.prepared import Captions
from captionrl.errors import UserError
from captionrl.text.content import Content, by_dictionary, by_tags

Tagger = Literal["corenlp", "dictionary"]


def mine(
    captions: Captions,
    tagger: Tagger,
    most: int,
    *,
    corenlp: Path | None = None,
    workers: int = 1,
    states: Path = Path("work/state"),
) -> Attributes:
    """The `most` most frequent lemmas of nouns, verbs and adjectives in the training captions, counted once a caption.

    A form is of one lemma: that which it most often has as a content word of a training caption.

    `corenlp` reads parts of speech off CoreNLP's trees, and captions that it cannot parse by the dictionary, as
    `dictionary` does all of them; the other parameters are those of `datasets.segment.segment`.
    """
    if tagger not in get_args(Tagger):
        raise UserError(f"{tagger}: no such tagger; there are {', '.join(get_args(Tagger))}")
    train = {item.id: captions.tokens[item.id] for item in captions.items["train"]}
    unique = list(dict.fromkeys(tuple(tokens) for texts in train.values() for tokens in texts))
    found: Sequence[list[Sequence[str]] | None] = [None] * len(unique)
    if tagger == "corenlp":
        found = parse(unique, corenlp, _tags, what="tags", command="attributes", workers=workers, states=states)
    content = {
        tokens: by_dictionary(tokens) if tags is None else by_tags([(token, tag) for token, tag in tags])
        for tokens, tags in zip(unique, found, strict=True)
    }
    return _count(train, content, most)


def _tags(tree: Tree) -> list[tuple[str, str]]:
    return [(token, tag) for token, tag in tree.pos()]


def _count(
    train: Mapping[str, Sequence[Sequence[str]]], content: Mapping[tuple[str, ...], list[Content | None]], most: int
) -> Attributes:
    readings: dict[str, Counter[str]] = defaultdict(Counter)  # lemmas of each form
    for tokens in (tuple(tokens) for texts in train.values() for tokens in texts):
        for token, word in zip(tokens, content[tokens], strict=True):
            if word:
                readings[token][word[0]] += 1
    lemma_of = {token: min(found, key=lambda lemma: (-found[lemma], lemma)) for token, found in readings.items()}
    counts: Counter[str] = Counter()  # captions, by lemma
    clips: Counter[str] = Counter()
    parts: dict[str, Counter[str]] = defaultdict(Counter)
    forms: dict[str, Counter[str]] = defaultdict(Counter)
    for texts in train.values():
        of_clip = set()
        for tokens in map(tuple, texts):
            words = [(token, word[1]) for token, word in zip(tokens, content[tokens], strict=True) if word]
            for token, part in words:
                parts[lemma_of[token]][part] += 1
                forms[lemma_of[token]][token] += 1
            lemmas = {lemma_of[token] for token, _ in words}
            counts.update(lemmas)
            of_clip |= lemmas
        clips.update(of_clip)
    ranked = sorted(counts, key=lambda lemma: (-counts[lemma], lemma))[:most]
    if not ranked:
        raise UserError(
            "the training captions have no noun, verb or adjective that the tagger knows; are they English?"
        )
    return Attributes(
        tuple(
            Attribute(
                lemma,
                min(parts[lemma], key=lambda part: (-parts[lemma][part], part)),
                counts[lemma],
                clips[lemma],
                tuple(sorted(forms[lemma], key=lambda token: (-forms[lemma][token], token))),
            )
            for lemma in ranked
        )
    )
