"""Values of any structure, where mutants change bytes: of the known keys and of others, with what fits them or not.

Hypothesis draws them, and makes what fails small. CAPTIONRL_EXAMPLES is how many of each, by default 50.
"""

import copy
import csv
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from files import ROOT
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import captionrl
from captionrl.config import find_papers, load_paper, load_params
from captionrl.datasets.own import COLUMNS
from captionrl.datasets.own import read as read_list
from captionrl.errors import LONGEST, UserError
from captionrl.evaluation.captions import read_hypotheses, read_references
from captionrl.rewards import raw_words

EXAMPLES = int(os.environ.get("CAPTIONRL_EXAMPLES", "50"))
draws = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES == 50,
    database=None,
    suppress_health_check=list(HealthCheck),
)

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
likely = st.sampled_from(["a cat", "1", "val"])
scalars = st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats() | words | likely


def values(keys: list[str]) -> st.SearchStrategy[Any]:
    names = st.sampled_from(keys) | words
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=5),
        max_leaves=12,
    )


def read_or_refused(read: Callable[[], object], *names: Path | str) -> None:
    """What is refused is refused in one line that names one of the files."""
    said = ""
    try:
        read()
    except UserError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) <= LONGEST
    assert not said or any(str(name) in said for name in names)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("drawn")


@draws
@given(values(["images", "annotations", "image_id", "id", "item", "caption", "captions"]), st.booleans(), st.booleans())
def test_captions_to_score(folder, value, by_lines, as_references):
    path = folder / "captions.json"
    rows = value if by_lines and isinstance(value, list) else [value]
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    read_or_refused(lambda: (read_references if as_references else read_hypotheses)(path), path)


@draws
@given(st.lists(st.dictionaries(st.sampled_from(COLUMNS) | words, words, max_size=5), max_size=4), st.booleans())
def test_a_list_of_ones_own_captions(folder, rows, as_table):
    raw = folder / "own"
    shutil.rmtree(raw, ignore_errors=True)
    raw.mkdir()
    if as_table:
        names = sorted({name for row in rows for name in row})
        text = io.StringIO()
        writer = csv.DictWriter(text, names)
        writer.writeheader()
        writer.writerows(rows)
        (raw / "captions.csv").write_text(text.getvalue(), encoding="utf-8")
    else:
        lines = (json.dumps({**row, "captions": list(row.values())}) for row in rows)
        (raw / "captions.jsonl").write_text("\n".join(lines), encoding="utf-8")
    read_or_refused(lambda: read_list("clips", raw), raw)


SETTINGS = list(yaml.safe_load((ROOT / "params.yaml").read_text()))


@draws
@given(st.dictionaries(st.sampled_from(SETTINGS) | words, values(["hrl"])))
def test_params(folder, value):
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(value, allow_unicode=True), encoding="utf-8")
    read_or_refused(lambda: load_params(path), path)


def places(value: Any, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Where the values of a mapping of mappings are."""
    if not isinstance(value, dict):
        return [above]
    return [above, *(place for key, inner in value.items() for place in places(inner, (*above, key)))]


PAPERS = {path.name: yaml.safe_load((path / "paper.yaml").read_text()) for path in find_papers("paper")}
PLACES = [(name, place) for name, paper in PAPERS.items() for place in places(paper) if place]


@draws
@given(st.sampled_from(PLACES), values(["epochs", "learning_rate", "run", "method", "rows", "phases"]), words)
def test_a_papers_settings(folder, place, value, key):
    name, (*above, last) = place
    paper = copy.deepcopy(PAPERS[name])
    inner = paper
    for part in above:
        inner = inner[part]
    if key:
        inner[key] = value
    else:
        inner[last] = value
    path = folder / name
    path.mkdir(exist_ok=True)
    (path / "paper.yaml").write_text(yaml.safe_dump(paper, allow_unicode=True), encoding="utf-8")
    read_or_refused(lambda: load_paper(path, "paper"), path, "paper.yaml")


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | likely
items = st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=3)), min_size=2, max_size=4)


@draws
@given(items, st.randoms())
def test_scores_of_any_text_are_numbers_and_do_not_depend_on_the_order(drawn, random):
    metrics = ["BLEU-4", "ROUGE-L", "CIDEr-D"]
    assume(any(word for _, captions in drawn for words in raw_words(captions) for word in words))
    system = {str(number): caption for number, (caption, _) in enumerate(drawn)}
    references = {str(number): captions for number, (_, captions) in enumerate(drawn)}
    scores = captionrl.score(references, system, metrics)
    shuffled = random.sample(list(system), len(system))
    again = captionrl.score({id: references[id] for id in shuffled}, {id: system[id] for id in shuffled}, metrics)
    for metric in metrics:
        assert 0 <= scores[metric]["value"] <= 1000
        assert again[metric]["items"] == pytest.approx(scores[metric]["items"], abs=1e-9)
