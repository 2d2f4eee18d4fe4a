"""What HRL's captions lose without its own goals: the goals alone are taken away, and nothing beside them."""

import json
import sys

import numpy as np
import pytest
import torch
from tiny import World, tiny_world, write_features
from toy import sizes_for

from captionrl import cli
from captionrl.decoding.rollout import greedy
from captionrl.errors import UserError
from captionrl.evaluation import goals
from captionrl.evaluation.bootstrap import difference_interval, paired
from captionrl.evaluation.goals import SAMPLES, goal_scores, render
from captionrl.models import build_module
from captionrl.rewards import CiderD
from captionrl.text.punctuation import PUNCTUATION
from captionrl.training.checkpoint import load_checkpoint, save_checkpoint
from captionrl.training.data import FeatureBatches


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return tiny_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def checkpoint(world):
    """Makes a checkpoint of an untrained policy, `changed` before it is saved."""

    def make(name, changed=lambda policy: None, seed=0):
        metadata = world.metadata(run="hrl-16", phase="hrl", model="hrl")
        torch.manual_seed(seed)
        sizes = sizes_for("hrl", metadata.sizes | {"init": 1.5})
        policy = build_module("hrl", metadata.features, len(metadata.words), sizes)
        policy.head[-1].bias.data.zero_()  # no word is favoured for every clip
        policy.head[-1].weight.data.mul_(3)
        with torch.no_grad():
            changed(policy)
        path = world.root / f"{name}.safetensors"
        save_checkpoint(path, policy, metadata)
        return path

    return make


@pytest.fixture(scope="module")
def report_of(world):
    return lambda *checkpoints, split="test": goal_scores(list(checkpoints), world.captions, world.features, split)


def greedy_scores(world, checkpoint, split):
    """CIDEr-D of each item's greedy caption, one clip at a time."""
    policy, metadata = load_checkpoint(checkpoint)
    captions, _, store = world.load()
    items = [item.id for item in captions.items[split]]
    cider = CiderD.from_captions(
        {item: captions.tokens[item] for item in items}, vocabulary=metadata.words, skip=PUNCTUATION
    )
    clips = FeatureBatches(store, metadata.settings["max_frames"], torch.device("cpu"))
    found = []
    for item in items:
        with torch.inference_mode():
            rollout = greedy(policy, policy.encode(clips.batch([item])), metadata.settings["max_words"] + 1)
        found.append(cider.score(rollout.tokens, rollout.lengths, [item]).item())
    return np.array(found)


def no_goals(policy):
    policy.manager.goal.weight.zero_()
    policy.manager.goal.bias.zero_()


def one_goal(policy):
    policy.manager.goal.weight.zero_()


def deaf_worker(policy):
    """The worker's cell reads [context, goal, word]; this one does not hear the goal."""
    width = policy.manager.goal.out_features
    context = policy.cell.input_size - width - policy.widths[0]
    policy.cell.weight_ih[:, context : context + width] = 0


@pytest.mark.parametrize(("split", "most"), [("val", 128), ("test", 3)])
def test_with_its_own_goals_it_is_greedy_decoding(world, checkpoint, report_of, split, most, monkeypatch):
    monkeypatch.setattr(goals, "EVALUATION_BATCH", most)
    paths = [checkpoint("one"), checkpoint("two", seed=1)]
    expected = [greedy_scores(world, path, split) for path in paths]
    report = report_of(*paths, split=split)
    assert report["own"]["CIDEr-D"] == pytest.approx(100 * np.mean(expected))
    assert (report["split"], report["items"], report["seeds"]) == (split, 7, 2)
    assert np.mean(expected) > 0
    assert not np.allclose(*expected)


def test_goals_taken_away_are_goals_of_zero(world, checkpoint, report_of):
    whole, without = checkpoint("whole"), checkpoint("without", no_goals)
    report = report_of(whole)
    theirs = greedy_scores(world, without, "test")
    assert report["zero"]["CIDEr-D"] == pytest.approx(100 * theirs.mean())
    own = greedy_scores(world, whole, "test")
    assert not np.allclose(own, theirs)
    pair = [np.column_stack([rows, np.ones(7)]) for rows in (theirs, own)]
    low, high = difference_interval("CIDEr-D", [pair[0]], [pair[1]], SAMPLES)
    zero = report["zero"]
    assert (zero["difference"], zero["low"], zero["high"]) == pytest.approx((100 * (theirs - own).mean(), low, high))
    assert zero["p"] == paired("CIDEr-D", [pair[0]], [pair[1]], SAMPLES)


def test_a_goal_that_is_the_same_for_all_can_be_taken_away_but_not_exchanged(checkpoint, report_of):
    report = report_of(checkpoint("one goal", one_goal))
    assert report["shuffled"]["CIDEr-D"] == report["own"]["CIDEr-D"]
    assert report["zero"]["CIDEr-D"] != report["own"]["CIDEr-D"]


def test_exchanged_goals_are_other_clips_own(checkpoint, report_of):
    report = report_of(checkpoint("whole"))
    assert len({report[name]["CIDEr-D"] for name in ("own", "shuffled", "zero")}) == 3


def test_nothing_but_the_goals_is_changed(checkpoint, report_of):
    """A worker that does not hear them says what it always says."""
    report = report_of(checkpoint("deaf", deaf_worker))
    assert report["own"]["CIDEr-D"] > 0
    for name in ("shuffled", "zero"):
        assert report[name]["CIDEr-D"] == report["own"]["CIDEr-D"]
        assert (report[name]["difference"], report[name]["low"], report[name]["high"]) == (0, 0, 0)
        assert report[name]["p"] == 1


def test_the_command_prints_the_report(world, checkpoint, report_of, monkeypatch, capsys):
    path = checkpoint("whole")
    arguments = ["goals", path, "--captions", world.captions, "--features", world.features, "--split", "val"]
    for extra in ([], ["--json"]):
        monkeypatch.setattr(sys, "argv", ["captionrl", *map(str, arguments), *extra])
        cli.main()
    report = report_of(path, split="val")
    printed = capsys.readouterr().out
    assert printed.startswith(render(report) + "\n")
    assert json.loads(printed.removeprefix(render(report))) == report
    own, shuffled, zero = render(report).splitlines()
    assert f"{report['own']['CIDEr-D']:.2f}" in own
    assert f"{report['shuffled']['difference']:+.2f}" in shuffled
    assert f"{report['zero']['CIDEr-D']:.2f}" in zero


def refusal(world, checkpoint, features=None):
    with pytest.raises(UserError) as error:
        goal_scores([checkpoint], world.captions, features or world.features, "test")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_captioner_without_goals_is_refused(world, tmp_path):
    path = world.untrained(tmp_path / "xe.safetensors")
    assert refusal(world, path) == f"{path}: a captioner without goals (attention); give a run of one with it"


def test_a_critic_is_refused(world, tmp_path):
    metadata = world.metadata(run="boundary-critic", phase="boundary-critic", model="boundary-critic", features=0)
    save_checkpoint(
        tmp_path / "c.safetensors",
        build_module("boundary-critic", 0, len(metadata.words), sizes_for(metadata.model, metadata.sizes)),
        metadata,
    )
    assert "boundary critic, which writes no captions" in refusal(world, tmp_path / "c.safetensors")


def test_features_of_another_backbone_are_refused(world, checkpoint, tmp_path):
    items = [item.id for items in world.load()[0].items.values() for item in items]
    write_features(tmp_path / "f.h5", items, weights_sha256="1" * 64)
    assert "features of another backbone" in refusal(world, checkpoint("whole"), tmp_path / "f.h5")
