"""Segments are aligned with the tokens of their captions, on disk too, and say what made them."""

import multiprocessing
import os
import signal
from functools import partial

import pytest

from captionrl.datasets import segment as backends
from captionrl.datasets.segment import segment
from captionrl.datasets.segments import load_segments, write_segments
from captionrl.errors import UserError
from captionrl.files import read_json
from captionrl.interrupt import RESUME_ME

TEXTS = {
    "one": ["a man kicks a ball in the park", "a man kicks a ball in the park"],
    "two": ["a boy throws the hat . he then catches the hat ."],
}
MINI = {item: [text.split() for text in texts] for item, texts in TEXTS.items()}


def test_the_grammar_segments_each_sentence_of_a_caption():
    segmented = segment(MINI, "grammar")
    assert segmented.boundary["one"][0] == segmented.boundary["one"][1]
    words = MINI["two"][0]
    ends = [word for word, end in zip(words, segmented.boundary["two"][0], strict=True) if end]
    assert ends == ["boy", ".", "he", "then", "."]
    assert segmented.record == {
        "backend": "grammar",
        "captions": 3,
        "sentences": 3,
        "fell_back": 0,
        "segments": 9,
        "mean_length": 3.1111,
    }


def test_closed_class_rules_are_no_parser_and_say_so(capsys):
    assert segment(MINI, "shallow").boundary == segment(MINI, "grammar").boundary
    assert capsys.readouterr().err.startswith("segments come from closed-class rules")


def test_what_corenlp_cannot_parse_falls_back_and_is_counted(distribution):
    captions = {"x": [["a", "man", "sings"], ["he", "runs", "."]]}
    for index in range(2):  # unpacked once, then found
        state = distribution.parent / f"state{index}"
        segmented = segment(captions, "corenlp", corenlp=distribution, state=state)
        assert segmented.boundary == {"x": [[False, True, True], [True, False, True]]}
        assert segmented.record["fell_back"] == 1


def sentences(number):
    return {"x": [["a", "man", "sings"], *([str(index), "runs"] for index in range(1, number))]}


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_stopped_in_the_middle_corenlp_is_asked_for_the_rest_only(distribution, tmp_path, monkeypatch, stop):
    captions, asked = sentences(9), tmp_path / "asked"
    whole = segment(captions, "corenlp", corenlp=distribution, state=tmp_path / "whole")
    everything = asked.read_text()
    asked.unlink()
    resumed = partial(segment, captions, "corenlp", corenlp=distribution, state=tmp_path / "state")
    answer = backends.boundaries

    def stopped(tree):  # at the first sentence, which alone has a tree
        os.kill(os.getpid(), stop)
        return answer(tree)

    def child():
        monkeypatch.setattr(backends, "boundaries", stopped)
        resumed()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(30)
    killed = stop == signal.SIGKILL
    assert process.exitcode == (-stop if killed else RESUME_ME)
    assert resumed() == whole
    assert asked.read_text() == ("a man sings\n" if killed else "") + everything


def test_a_line_cut_off_in_the_journal_is_parsed_again(distribution, tmp_path):
    resumed = partial(segment, sentences(5), "corenlp", corenlp=distribution, state=tmp_path / "state")
    whole = resumed()
    (journal,) = tmp_path.glob("state/*/boundaries.jsonl")
    lines = journal.read_bytes()
    for size in (len(lines) - 2, len(lines) - len(lines.splitlines()[-1]) - 1, 3, 0):
        journal.write_bytes(lines[:size])
        assert resumed() == whole
        assert journal.read_bytes() == lines


def test_other_captions_are_another_work(distribution, tmp_path):
    for number in (3, 4, 3):
        segment(sentences(number), "corenlp", corenlp=distribution, state=tmp_path / "state")
    assert len(list(tmp_path.glob("state/*"))) == 2
    assert len((tmp_path / "asked").read_text().splitlines()) == 3 + 4


def test_a_missing_corenlp_or_backend_is_named(tmp_path):
    with pytest.raises(UserError, match="wants the path of a CoreNLP distribution"):
        segment(MINI, "corenlp")
    with pytest.raises(UserError, match=r"none\.zip: no such file or folder"):
        segment(MINI, "corenlp", corenlp=tmp_path / "none.zip")
    (tmp_path / "some.zip").write_text("<html>")
    with pytest.raises(UserError, match=r"some\.zip: not a zip"):
        segment(MINI, "corenlp", corenlp=tmp_path / "some.zip")
    with pytest.raises(UserError, match="no such segmentation backend"):
        segment(MINI, "spacy")


def test_segments_come_back_as_written(tmp_path):
    path = tmp_path / "segments.parquet"
    segmented = segment(MINI, "grammar")
    write_segments(path, segmented)
    assert load_segments(path, MINI) == segmented.boundary
    assert read_json(path.with_suffix(".json")) == segmented.record


def test_nothing_to_segment_is_no_fault(tmp_path):
    write_segments(tmp_path / "segments.parquet", segment({}, "grammar"))
    assert load_segments(tmp_path / "segments.parquet", {}) == {}


@pytest.mark.parametrize(
    ("captions", "fault"),
    [
        ({"one": MINI["one"]}, "item two is in one of segments and captions only"),
        ({**MINI, "one": MINI["one"][:1]}, "item one has 2 segmentations for 1 captions"),
        ({**MINI, "two": [["a", "boy"]]}, "item two: caption 0 has 12 boundaries for 2 tokens"),
    ],
)
def test_segments_of_other_captions_are_refused(tmp_path, captions, fault):
    path = tmp_path / "segments.parquet"
    write_segments(path, segment(MINI, "grammar"))
    with pytest.raises(UserError, match=fault):
        load_segments(path, captions)


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "segments.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(UserError, match="not readable"):
        load_segments(path, MINI)
    with pytest.raises(UserError, match="no such file"):
        load_segments(tmp_path / "none.parquet", MINI)
