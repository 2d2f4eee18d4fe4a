"""The internal critic's score for finding the ends of segments, and the rule that it is compared with."""

import json
import random
import sys
from itertools import chain, combinations

import numpy as np
import pytest
import torch
from tiny import World, tiny_world
from toy import sizes_for

from captionrl import cli
from captionrl.datasets.segment import segment
from captionrl.datasets.segments import load_segments, write_segments
from captionrl.errors import UserError
from captionrl.evaluation.bootstrap import interval, paired
from captionrl.evaluation.boundaries import SAMPLES, last_word_rule, render, score_boundaries
from captionrl.models import build_module
from captionrl.text.vocabulary import EOS, UNK
from captionrl.training.checkpoint import load_module, save_checkpoint


def counts(found, truth):
    """Boundaries rightly found, wrongly found and missed."""
    pairs = list(zip(found, truth, strict=True))
    return np.array([pairs.count((True, True)), pairs.count((True, False)), pairs.count((False, True))])


def scores(right, wrong, missed):
    """Precision, recall and F1, times 100."""
    precision, recall = right / (right + wrong), right / (right + missed)
    return 100 * precision, 100 * recall, 200 * precision * recall / (precision + recall)


def f1_of(enders, captions):
    right, wrong, missed = sum(
        counts([word in enders for word in tokens[:-1]], marks[:-1]) for tokens, marks in captions
    )
    return 2 * right / max(1, 2 * right + wrong + missed)


@pytest.mark.parametrize("seed", range(30))
def test_no_other_set_of_words_makes_a_better_rule(seed):
    draw = random.Random(seed)
    words, often = range(UNK, UNK + 6), [draw.random() for _ in range(6)]
    captions = []
    for _ in range(draw.randint(1, 8)):
        tokens = draw.choices(words, k=draw.randint(1, 7))
        captions.append(([*tokens, EOS], [*(draw.random() < often[word - UNK] for word in tokens), False]))
    subsets = chain.from_iterable(combinations(words, size) for size in range(7))
    best = max(f1_of(set(subset), captions) for subset in subsets)
    rule = last_word_rule(captions)
    assert rule <= set(words)
    assert f1_of(rule, captions) == pytest.approx(best)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return tiny_world(tmp_path_factory.mktemp("world"))


def untrained(world, path, **changes):
    """A critic of random weights, which signals here and there; `changes` of its card."""
    metadata = world.metadata(
        run="boundary-critic", phase="boundary-critic", model="boundary-critic", features=0, **changes
    )
    torch.manual_seed(0)
    sizes = sizes_for("boundary-critic", metadata.sizes | {"init": 1.5})
    critic = build_module("boundary-critic", 0, len(metadata.words), sizes)
    save_checkpoint(path, critic, metadata)
    return path


@pytest.fixture(scope="module", params=["untrained", "trained", "of shorter captions", "that leaves captions open"])
def checkpoint(request, world):
    path = world.root / f"{request.param}.safetensors"
    if request.param == "trained":
        return world.train("boundary-critic", "boundary-critic", path, features=None)
    most = {"settings": {"max_frames": 5, "max_words": 4, "min_count": 1}} if "shorter" in request.param else {}
    if "open" in request.param:
        most = {"sizes": world.metadata(model="boundary-critic").sizes | {"close_caption": False}}
    return untrained(world, path, **most)


@pytest.fixture(scope="module")
def segments(world):
    """Drawn by lot, so that what is best for one split is not for another."""
    draw = random.Random(0)
    segmented = segment(world.load()[0].tokens, "shallow")
    for captions in segmented.boundary.values():
        captions[:] = [[*(draw.random() < 0.4 for _ in caption[1:]), True] for caption in captions]
    write_segments(world.root / "by_lot.parquet", segmented)
    return world.root / "by_lot.parquet"


@pytest.mark.parametrize("split", ["val", "test"])
def test_scores_are_those_of_a_plain_loop(world, checkpoint, segments, split):
    critic, metadata = load_module(checkpoint)
    captions, vocabulary, _ = world.load()
    truth = load_segments(segments, captions.tokens)
    most = metadata.settings["max_words"]

    def read(part):
        """[(item, tokens, marks)] of a split, cut to what a captioner of this length may write."""
        read = [
            (item.id, vocabulary.encode(tokens)[:most], marks[:most])
            for item in captions.items[part]
            for tokens, marks in zip(captions.tokens[item.id], truth[item.id], strict=True)
        ]
        return read if critic.close_caption else [(id, words, [*marks[:-1], False]) for id, words, marks in read]

    enders, others = (last_word_rule((tokens, marks) for _, tokens, marks in read(part)) for part in ("train", split))
    assert enders != others
    found = {name: {item.id: np.zeros(3) for item in captions.items[split]} for name in ("critic", "last word")}
    for item, tokens, marks in read(split):
        with torch.inference_mode():
            signals = (critic(torch.tensor([tokens]))[0] > 0).tolist()
        found["critic"][item] += counts(signals, marks)
        found["last word"][item] += counts([token in enders for token in tokens], marks)

    report = score_boundaries(checkpoint, world.captions, segments, split)
    assert (report["split"], report["items"], report["captions"]) == (split, 7, 14)
    statistics = {name: np.stack(list(by_item.values())) for name, by_item in found.items()}
    for name, rows in statistics.items():
        own = report[name]
        assert [own[key] for key in ("precision", "recall", "F1")] == pytest.approx(scores(*rows.sum(0)))
        assert (own["low"], own["high"]) == pytest.approx(interval("boundary-F1", [rows], SAMPLES))
        assert own["low"] <= own["F1"] <= own["high"]
    assert report["p"] == paired("boundary-F1", [statistics["critic"]], [statistics["last word"]], SAMPLES)


def test_the_report_as_text_names_both_and_the_test(world, checkpoint):
    report = score_boundaries(checkpoint, world.captions, world.segments, "val")
    first, second, last = render(report).splitlines()
    for line, name in ((first, "critic"), (second, "last word")):
        assert line.startswith(name)
        assert f"{report[name]['F1']:.2f}" in line
    assert f"p = {report['p']:.4f}" in last


def test_the_command_prints_the_report(world, checkpoint, monkeypatch, capsys):
    files = ["--checkpoint", checkpoint, "--captions", world.captions, "--segments", world.segments]
    monkeypatch.setattr(sys, "argv", ["captionrl", "boundaries", *map(str, files), "--split", "test", "--json"])
    cli.main()
    printed = json.loads(capsys.readouterr().out)
    assert printed == score_boundaries(checkpoint, world.captions, world.segments, "test")


def refusal(world, checkpoint):
    with pytest.raises(UserError) as error:
        score_boundaries(checkpoint, world.captions, world.segments, "val")
    message = str(error.value)
    assert message.startswith(f"{checkpoint}: ")
    assert "\n" not in message
    return message


def test_a_captioner_is_refused(world, tmp_path):
    path = world.untrained(tmp_path / "hrl.safetensors", model="hrl")
    assert "a captioner (hrl); give a checkpoint of a boundary critic" in refusal(world, path)


def test_a_critic_that_has_not_read_the_word_is_refused(world, tmp_path):
    """The rule sees the word itself: that would be no comparison."""
    path = tmp_path / "critic.safetensors"
    sizes = world.metadata(model="boundary-critic").sizes | {"critic_input": "previous"}
    assert "reads the previous word" in refusal(world, untrained(world, path, sizes=sizes))
