"""The error of a value network on held-out beginnings, beside those of the best that see less."""

import json
import sys

import numpy as np
import pytest
import torch
from tiny import World, tiny_world
from toy import sizes_for

from captionrl import cli
from captionrl.decoding.rollout import sample
from captionrl.errors import UserError
from captionrl.evaluation import value
from captionrl.evaluation.bootstrap import interval, paired
from captionrl.evaluation.trained import open_clips, open_seeds
from captionrl.evaluation.value import (
    CAPTIONS_AN_ITEM,
    SAMPLES,
    Prefixes,
    predicted_values,
    render,
    report,
    rewarded_phase,
    value_errors,
)
from captionrl.files import write_json
from captionrl.models import build_module
from captionrl.models.actor_critic import WithValueAndReward
from captionrl.training.checkpoint import load_checkpoint, save_checkpoint

PHASE = {"objective": "value", "epochs": 1, "optimiser": "adam", "learning_rate": 0.01, "reward": "embedding"}
PHASE |= {"eos_in_reward": True}


def two_items(value):
    """Two captions of one and of two words, of two items; each with its empty beginning."""
    reward = np.array([1.0, 1.0, 4.0, 4.0, 4.0])
    foresight = np.array(value, dtype=float)
    return Prefixes(np.array([0, 0, 1, 1, 1]), np.array([0, 1, 0, 1, 2]), foresight, reward)


def test_a_perfect_value_network_has_no_error():
    found = report([two_items([1, 1, 4, 4, 4])])["value network"]
    assert found["error"] == {"value": 0, "low": 0, "high": 0}
    assert found["explained_variance"] == {"value": 100, "low": 100, "high": 100}


def test_the_constants_are_the_best_of_these_beginnings():
    found = report([two_items([0, 0, 0, 0, 0])])
    mean = (1 + 1 + 4 + 4 + 4) / 5
    assert found["constant"]["error"]["value"] == pytest.approx((2 * (mean - 1) ** 2 + 3 * (4 - mean) ** 2) / 5)
    assert found["constant"]["explained_variance"]["value"] == 0
    # With no word, and with one, half of the captions earn 1 and half 4; with two words the caption earns 4.
    assert found["constant a length"]["error"]["value"] == pytest.approx(4 * 1.5**2 / 5)
    assert found["value network"]["error"]["value"] == pytest.approx((2 * 1 + 3 * 16) / 5)
    assert found["prefixes"] == 5


def test_lengths_add_up_to_the_whole():
    found = report([two_items([2, 1, 3, 4, 5]), two_items([0, 1, 2, 3, 4])])
    assert [(row["words"], row["prefixes"]) for row in found["lengths"]] == [(0, 4), (1, 4), (2, 2)]
    assert [row["constant a length"] for row in found["lengths"]] == [2.25, 2.25, 0]
    assert [row["value network"] for row in found["lengths"]] == [(1 + 1 + 1 + 4) / 4, (0 + 0 + 0 + 1) / 4, 0.5]
    for name in ("value network", "constant a length"):
        whole = sum(row["prefixes"] * row[name] for row in found["lengths"]) / found["prefixes"]
        assert found[name]["error"]["value"] == pytest.approx(whole)


def test_intervals_and_p_are_over_items():
    seeds = [two_items([2, 1, 3, 4, 5]), two_items([0, 1, 2, 3, 4])]
    found = report(seeds)
    own = [np.array([[1.0, 2], [2, 3]]), np.array([[1.0, 2], [5, 3]])]
    low, high = interval("error", own, SAMPLES)
    assert (found["value network"]["error"]["low"], found["value network"]["error"]["high"]) == (low / 100, high / 100)
    by_length = [np.array([[4.5, 2], [4.5, 3]])] * 2
    assert found["constant a length"]["p"] == paired("error", by_length, own, SAMPLES)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return tiny_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def checkpoint(world):
    """Makes a checkpoint of an untrained policy, `changed` before it is saved, as a phase with these facts left it."""

    def make(name, changed=lambda policy: None, seed=1, **facts):
        metadata = world.metadata(run="critic", phase="value", model="actor-critic", seed=seed)
        torch.manual_seed(0)
        sizes = sizes_for("actor-critic", metadata.sizes | {"init": 1.5})
        policy = build_module("actor-critic", metadata.features, len(metadata.words), sizes)
        with torch.no_grad():
            changed(policy)
        path = world.root / f"{name}.safetensors"
        save_checkpoint(path, policy, metadata)
        write_json(path.with_suffix(".json"), {"config": {"phase": PHASE | facts}})
        return path

    return make


def read(world, path, split="test"):
    (seed,) = open_seeds([path], world.captions, world.features, split, WithValueAndReward, "a value network")
    return predicted_values(seed, rewarded_phase(path), split)


def test_every_beginning_of_a_few_captions_an_item_is_there_once(world, checkpoint):
    found = read(world, checkpoint("plain"))
    assert np.bincount(found.item[found.words == 0]).tolist() == [CAPTIONS_AN_ITEM] * 7
    starts = np.flatnonzero(found.words == 0)
    for first, end in zip(starts, [*starts[1:], len(found.words)], strict=True):
        assert found.words[first:end].tolist() == list(range(end - first))
        assert len(set(found.reward[first:end])) == 1  # that of the whole caption
        assert len(set(found.item[first:end])) == 1
    assert len(set(found.reward)) > 10


def test_the_reward_is_weighted_as_the_phase_says(world, checkpoint):
    rewards = {
        weight: read(world, checkpoint(f"weight {weight}", reward={"embedding": weight, "CIDEr-D": 1 - weight})).reward
        for weight in (0, 0.25, 1)
    }
    assert np.allclose(rewards[0.25], 0.75 * rewards[0] + 0.25 * rewards[1], atol=1e-6)
    assert rewards[0].max() > 0
    assert not np.allclose(rewards[0], rewards[1])
    assert np.abs(rewards[1]).max() <= 1 + 1e-6  # cosines


def test_a_value_network_that_says_the_same_of_all_has_that_constants_error(world, checkpoint):
    mean = read(world, checkpoint("plain")).reward.mean()

    def constant(policy):
        policy.value.perceptron[-1].weight.zero_()
        policy.value.perceptron[-1].bias.fill_(mean)

    found = value_errors([checkpoint("constant", constant)], world.captions, world.features, "test")
    assert found["value network"]["error"]["value"] == pytest.approx(found["constant"]["error"]["value"])
    assert found["value network"]["explained_variance"]["value"] == pytest.approx(0, abs=1e-4)
    assert found["constant"]["error"]["value"] > 0
    assert (found["split"], found["items"], found["captions"]) == ("test", 7, 7 * CAPTIONS_AN_ITEM)


def test_values_are_the_networks_after_each_word_of_what_was_sampled(world, checkpoint, monkeypatch):
    path, rollouts = checkpoint("plain"), []
    monkeypatch.setattr(value, "sample", lambda *given: rollouts.append(sample(*given)) or rollouts[-1])
    found = read(world, path)
    policy, metadata = load_checkpoint(path)
    clips = open_clips(path, metadata, world.features, torch.device("cpu"))
    items = [item.id for item in world.load()[0].items["test"]]
    (rollout,) = rollouts
    expected = []
    for row, (tokens, length) in enumerate(zip(rollout.tokens, rollout.lengths, strict=True)):
        with torch.inference_mode():
            state = policy.value.start(clips.batch([items[row // CAPTIONS_AN_ITEM]]))
            expected.append(policy.value.value(state).item())
            for token in tokens[:length]:
                state = policy.value.step(token.unsqueeze(0), state)
                expected.append(policy.value.value(state).item())
    assert np.allclose(found.value, expected, atol=1e-5)
    assert len(set(expected)) > 50


def test_captions_are_sampled_with_the_checkpoints_own_seed(world, checkpoint):
    path = checkpoint("plain")
    assert read(world, path).reward.tolist() == read(world, path).reward.tolist()
    assert read(world, path).reward.tolist() != read(world, checkpoint("other seed", seed=2)).reward.tolist()


def test_of_several_seeds_it_is_the_mean(world, checkpoint):
    paths = [checkpoint("plain"), checkpoint("other seed", seed=2)]
    both = value_errors(paths, world.captions, world.features, "test")
    single = [value_errors([path], world.captions, world.features, "test") for path in paths]
    for name in ("value network", "constant", "constant a length"):
        for what in ("error", "explained_variance"):
            mean = np.mean([one[name][what]["value"] for one in single])
            assert both[name][what]["value"] == pytest.approx(mean)
    assert (both["seeds"], both["prefixes"]) == (2, sum(one["prefixes"] for one in single))


def test_actor_critic_phases_have_such_a_reward_too(world, checkpoint):
    path = checkpoint("joint", objective="actor-critic", baseline="value", steps=None)
    assert value_errors([path], world.captions, world.features, "val")["split"] == "val"


def test_the_command_prints_the_report(world, checkpoint, monkeypatch, capsys):
    path = checkpoint("plain")
    for extra in ([], ["--json"]):
        arguments = ["value", path, "--captions", world.captions, "--features", world.features, *extra]
        monkeypatch.setattr(sys, "argv", ["captionrl", *map(str, arguments)])
        cli.main()
    found = value_errors([path], world.captions, world.features, "test")
    printed = capsys.readouterr().out
    assert printed.startswith(render(found) + "\n")
    assert json.loads(printed.removeprefix(render(found))) == found
    network, constant, a_length, *rest = render(found).splitlines()
    assert f"{found['value network']['error']['value']:.4f}" in network
    assert f"p = {found['constant']['p']:.4f}" in constant
    assert f"explains {found['constant a length']['explained_variance']['value']:.1f} %" in a_length
    assert len(rest) == 4 + len(found["lengths"])


def refusal(world, path):
    with pytest.raises(UserError) as error:
        value_errors([path], world.captions, world.features, "test")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_phase_without_such_a_reward_is_refused(world, checkpoint):
    path = checkpoint("xe", objective="xe")
    what = "its last phase (xe) trains no value network; give one whose last phase is value or actor-critic"
    assert refusal(world, path) == f"{path}: {what}"


def test_a_captioner_without_a_value_network_is_refused(world, tmp_path):
    path = world.untrained(tmp_path / "xe.safetensors")
    assert "a captioner without a value network (attention); give a run" in refusal(world, path)


@pytest.mark.parametrize("content", [{}, [], {"config": {"phase": PHASE | {"unknown": 1}}}])
def test_a_file_beside_it_that_tells_no_such_phase_is_refused(world, checkpoint, content):
    path = checkpoint("odd")
    write_json(path.with_suffix(".json"), content)
    assert refusal(world, path) == (
        f"{path.with_suffix('.json')}: not written by this version of captionrl; train the checkpoint again"
    )


def test_a_checkpoint_alone_is_refused(world, checkpoint):
    path = checkpoint("alone")
    path.with_suffix(".json").unlink()
    assert refusal(world, path) == f"{path.with_suffix('.json')}: no such file"
