"""HRL's internal critic on MSR-VTT's own captions, which it has to read further back than one word."""

from pathlib import Path

import pytest
from tiny import PAPER

from captionrl.config import load_paper
from captionrl.datasets.corpus import Corpus
from captionrl.datasets.prepare import prepare
from captionrl.datasets.prepared import load_captions
from captionrl.datasets.read import read_corpus
from captionrl.datasets.segment import segment
from captionrl.datasets.segments import write_segments
from captionrl.evaluation.boundaries import score_boundaries
from captionrl.training.run import Job, train_phase

RAW = Path(__file__).parents[3] / "shared/data/msrvtt"


@pytest.mark.slow
@pytest.mark.skipif(not RAW.is_dir(), reason="MSR-VTT's annotation is not there")
def test_it_beats_the_best_rule_that_sees_the_last_word_alone(tmp_path):
    whole = read_corpus("msrvtt", RAW)
    items = [*whole.split("train")[:1200], *whole.split("val")[:300], *whole.split("test")[:1]]
    corpus = Corpus("msrvtt", items, {item.id: whole.captions[item.id] for item in items}, whole.origin)
    captions, segments, out = tmp_path / "captions", tmp_path / "segments.parquet", tmp_path / "critic.safetensors"
    prepare(corpus, captions, min_count=3)
    write_segments(segments, segment(load_captions(captions).tokens, "shallow"))
    paper = load_paper(PAPER, "paper", {"phases": {"boundary-critic": {"epochs": 4}}})
    train_phase(
        paper,
        Job(
            run="boundary-critic", phase="boundary-critic", corpus="msrvtt", seed=1, captions=captions, features=None,
            segments=segments, attributes=None, weights=None, start=None, out=out, state=tmp_path / "state",
            device="cpu", precision="float32",
        ),
    )  # fmt: skip
    report = score_boundaries(out, captions, segments, "val")
    assert report["critic"]["F1"] > report["last word"]["F1"]
    assert report["p"] < 0.05
