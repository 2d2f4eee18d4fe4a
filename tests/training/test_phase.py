"""One phase of one run: what its checkpoint holds, and what its result and its state's place depend on."""

import csv
import json
import os
import shutil
import time
from pathlib import Path

import pytest
import torch
from tiny import CORPUS, XE_UPDATES, World, tiny_paper, write_features

from captionrl.config import CorpusSettings
from captionrl.decoding.rollout import greedy
from captionrl.errors import UserError
from captionrl.files import read_json, sha256, write_json
from captionrl.rewards import CiderD
from captionrl.state import list_states, prune_states
from captionrl.text.punctuation import PUNCTUATION
from captionrl.training import run
from captionrl.training.checkpoint import load_checkpoint
from captionrl.training.data import FeatureBatches

SHORT = {"phases": {"xe": {"epochs": 0.4}, "rl": {"epochs": 0.4}}}  # two updates


def rows(out: Path, kind: str) -> list[dict]:
    lines = out.with_suffix(".metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


def val_cider(world: World, checkpoint: Path) -> float:
    """CIDEr-D of greedy captions of the validation items, computed anew."""
    captions, vocabulary, store = world.load()
    policy, metadata = load_checkpoint(checkpoint)
    items = [item.id for item in captions.items["val"]]
    references = {item: captions.tokens[item] for item in items}
    with torch.no_grad():
        memory = policy.encode(FeatureBatches(store, metadata.settings["max_frames"], torch.device("cpu")).batch(items))
        rollout = greedy(policy, memory, metadata.settings["max_words"] + 1)
    cider = CiderD.from_captions(references, vocabulary=vocabulary.words, skip=PUNCTUATION)
    return 100 * cider.score(rollout.tokens, rollout.lengths, items).mean().item()


def test_the_checkpoint_holds_the_weights_that_validated_best(world, xe, tmp_path):
    rl = world.train("rl-baseline", "rl", tmp_path / "rl.safetensors", start=xe)
    for checkpoint in (xe, rl):
        _, metadata = load_checkpoint(checkpoint)
        scores = {row["update"]: row["val_cider"] for row in rows(checkpoint, "validation")}
        assert len(set(scores.values())) > 1
        assert metadata.val_score == max(scores.values()) == scores[metadata.best_update]
        assert val_cider(world, checkpoint) == pytest.approx(metadata.val_score, abs=1e-9)


def test_reinforcement_begins_with_the_weights_it_starts_from(world, xe, tmp_path):
    rl = world.train("rl-baseline", "rl", tmp_path / "rl.safetensors", SHORT, start=xe)
    assert rows(rl, "validation")[0]["val_cider"] == load_checkpoint(xe)[1].val_score


def test_a_sharper_start_writes_the_same_greedy_captions_and_less_uncertain_samples(world, xe, tmp_path):
    entropies = []
    for temperature in (1, 0.5):
        settings = {"phases": {"rl": {"epochs": 0.4, "start_temperature": temperature}}}
        rl = world.train("rl-baseline", "rl", tmp_path / f"{temperature}.safetensors", settings, start=xe)
        assert rows(rl, "validation")[0]["val_cider"] == load_checkpoint(xe)[1].val_score
        entropies.append(next(row["entropy"] for row in rows(rl, "train")))
    assert entropies[1] < 0.9 * entropies[0]


def test_the_metadata_says_what_was_trained(xe):
    _, metadata = load_checkpoint(xe)
    where = (metadata.paper, metadata.run, metadata.phase, metadata.corpus, metadata.seed)
    assert where == ("hrl", "xe-baseline", "xe", CORPUS, 1)
    assert (metadata.model, metadata.visual_input, metadata.updates, metadata.backbone, metadata.fps) == (
        "attention", True, XE_UPDATES, "mini", 3
    )  # fmt: skip
    assert metadata.corpus_settings == CorpusSettings(max_frames=5, max_words=6, min_count=1)


def test_metrics_lie_beside_the_checkpoint_in_three_forms(xe):
    history = rows(xe, "validation")
    with open(xe.with_suffix(".csv")) as file:
        table = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    assert table == [{key: row[key] for key in row if key != "kind"} for row in history]
    assert [row["update"] for row in history] == list(range(0, XE_UPDATES + 1, 6))
    assert [row["update"] for row in rows(xe, "train")] == list(range(1, XE_UPDATES + 1))
    assert len(list(xe.with_suffix(".tensorboard").iterdir())) == 1


def test_the_provenance_says_what_went_in(world, xe):
    facts = read_json(xe.with_suffix(".json"))
    assert facts["inputs"] == {
        "captions": sha256(world.captions / "captions.parquet"),
        "vocabulary": sha256(world.captions / "vocabulary.json"),
        "features": read_json(world.features.with_suffix(".json")),
        "segments": None,
        "start": None,
        "weights": None,
        "attributes": None,
    }
    assert facts["config"] == tiny_paper().training_config("xe-baseline", "xe", CORPUS)
    assert facts["seed"] == 1
    assert facts["hours"] > 0


def losses(out: Path) -> list[float]:
    return [row["loss"] for row in rows(out, "train")]


def test_equal_seeds_give_equal_bytes_and_other_seeds_do_not(world, tmp_path):
    first, again, other = (
        world.train("xe-baseline", "xe", tmp_path / name / "a.safetensors", SHORT, seed=seed)
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert first.read_bytes() == again.read_bytes()
    assert losses(first) == losses(again)
    weights = [load_checkpoint(file)[0].state_dict() for file in (first, other)]
    assert not any(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(("name", "visual_input"), [("no-visual-input", False), ("xe-baseline", True)])
def test_only_a_run_without_visual_input_sees_no_difference_between_clips(world, tmp_path, name, visual_input):
    other = tmp_path / "other.h5"
    write_features(other, world.load()[2].items, seed=7)
    outs = [
        world.train(name, "xe", tmp_path / store.stem / "a.safetensors", SHORT, features=store)
        for store in (world.features, other)
    ]
    assert load_checkpoint(outs[0])[1].visual_input == visual_input
    assert (losses(outs[0]) != losses(outs[1])) == visual_input


def test_items_without_features_are_not_trained_on(world, tmp_path):
    captions, _, store = world.load()
    lost = captions.items["train"][0].id
    write_features(tmp_path / "some.h5", [item for item in store.items if item != lost])
    world.train("xe-baseline", "xe", tmp_path / "a.safetensors", SHORT, features=tmp_path / "some.h5")


class OpenedError(Exception):
    """Thrown instead of training; its argument is the state's directory."""


@pytest.fixture
def state_of(world, xe, tmp_path, monkeypatch):
    """The name of the directory that a training would keep its state in."""

    def opened(learner, phase, state, **_):
        raise OpenedError(state)

    monkeypatch.setattr(run, "train", opened)

    def state_of(name="xe-baseline", phase="xe", overrides=None, out=tmp_path / "a.safetensors", **changes):
        with pytest.raises(OpenedError) as raised:
            world.train(name, phase, out, overrides, state=tmp_path / "state", **changes)
        (directory,) = raised.value.args
        assert read_json(directory / "identity.json")["title"].startswith(f"hrl/{name}/{phase} {CORPUS} seed ")
        return directory.name

    return state_of


def test_equal_trainings_share_a_state_whatever_does_not_concern_them(state_of, tmp_path):
    assert {
        state_of(),
        state_of(),
        state_of(out=tmp_path / "elsewhere.safetensors"),
        state_of(overrides={"beam": 2, "title": "other"}),
        state_of(overrides={"phases": {"rl": {"epochs": 9}}, "corpora": {"charades": {"max_words": 3}}}),
    } == {state_of()}


def test_whatever_changes_the_weights_changes_the_state(world, xe, state_of, tmp_path, monkeypatch):
    names = [
        state_of(),
        state_of(seed=2),
        state_of("no-visual-input"),
        state_of("s2vt"),
        state_of("compute-matched", "xe-continued", start=xe),
        state_of("compute-matched", "xe-continued", start=world.untrained(tmp_path / "other.safetensors")),
        state_of("rl-baseline", "rl", start=xe),
        state_of("rl-baseline", "rl", {"phases": {"rl": {"baseline": "linear"}}}, start=xe),
        state_of(overrides={"phases": {"xe": {"epochs": 9}}}),
        state_of(overrides={"phases": {"xe": {"scheduled_sampling": {"max_probability": 0.1}}}}),
        state_of(overrides={"sizes": {"decoder": 17}}),
        state_of(overrides={"corpora": {"msrvtt": {"max_words": 5}}}),
    ]
    store = world.load()[2]
    write_features(tmp_path / "other.h5", store.items, seed=7)
    names.append(state_of(features=tmp_path / "other.h5"))
    monkeypatch.setattr(run, "code_version", lambda command, *modules: f"another {command}")
    names.append(state_of())
    monkeypatch.setattr(torch, "__version__", "99")
    names.append(state_of())
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("file", ["captions.parquet", "vocabulary.json"])
def test_other_captions_have_another_state(world, state_of, tmp_path, file):
    shutil.copytree(world.captions, tmp_path / "captions")
    if file == "vocabulary.json":
        words = read_json(tmp_path / "captions" / file)
        write_json(tmp_path / "captions" / file, [*words, "yak"])
    else:
        with open(tmp_path / "captions" / file, "rb+") as opened:  # metadata of its writer
            content = opened.read().replace(b"parquet-cpp-arrow", b"parquet-cpp-ARROW")
            opened.seek(0)
            opened.write(content)
    assert state_of(captions=tmp_path / "captions") != state_of()


def test_a_phase_starts_from_its_own_model_and_vocabulary_only(world, xe, tmp_path):
    words = world.metadata().words
    others = {
        "model": {"model": "s2vt"},
        "words": {"words": [*words, "yak"]},
        "order": {"words": [*words[:4], *reversed(words[4:])]},
    }
    for name, changes in others.items():
        start = world.untrained(tmp_path / f"{name}.safetensors", **changes)
        with pytest.raises(UserError, match=rf"{name}\.safetensors: another model or vocabulary"):
            world.train("rl-baseline", "rl", tmp_path / "a.safetensors", start=start)


@pytest.mark.parametrize("changes", [{"sizes": {"decoder": 17}}, {"backbone_sha256": "f" * 64}, {"features": 7}])
def test_a_phase_starts_from_its_own_sizes_and_backbone_only(world, tmp_path, changes):
    if "sizes" in changes:
        changes = {"sizes": world.metadata().sizes | changes["sizes"]}
    start = world.untrained(tmp_path / "other.safetensors", **changes)
    with pytest.raises(UserError, match=r"other\.safetensors"):
        world.train("rl-baseline", "rl", tmp_path / "a.safetensors", SHORT, start=start)


@pytest.fixture
def states(tmp_path, world):
    """The states of two trainings, one of them forty days old."""
    for seed in (1, 2):
        world.train("xe-baseline", "xe", tmp_path / f"{seed}.safetensors", SHORT, seed=seed)
    (old,) = (path.parent for path in tmp_path.glob("state/*/identity.json") if read_json(path)["seed"] == 2)
    for path in old.rglob("*"):
        os.utime(path, (time.time() - 40 * 86400,) * 2)
    return tmp_path / "state"


def test_states_are_listed_oldest_first(states):
    old, new = list_states(states)
    assert [row["title"][-6:] for row in (old, new)] == ["seed 2", "seed 1"]
    assert (old["days"], new["days"]) == (40, 0)
    assert old["bytes"] == sum(p.stat().st_size for p in (states / old["directory"]).rglob("*") if p.is_file())


def test_pruning_deletes_the_untouched_states(states):
    assert prune_states(states, 50) == []
    assert [row["title"][-6:] for row in prune_states(states, 30)] == ["seed 2"]
    assert [row["title"][-6:] for row in list_states(states)] == ["seed 1"]
    assert len(list(states.iterdir())) == 1


def test_no_states_are_no_mistake(tmp_path):
    assert list_states(tmp_path / "none") == prune_states(tmp_path / "none", 0) == []


def test_a_phase_starts_from_what_the_paper_says_of_the_same_seed_and_sight_or_from_nothing(world, tmp_path):
    out, start = tmp_path / "rl.safetensors", tmp_path / "start.safetensors"
    with pytest.raises(UserError, match=r"^rl-baseline/rl: goes on from xe-baseline/xe; give its checkpoint with --st"):
        world.train("rl-baseline", "rl", out, SHORT)
    world.untrained(start, run="xe-baseline", seed=2)
    with pytest.raises(UserError, match=rf"^{start}: of seed 2, not 1; give that of the same seed"):
        world.train("rl-baseline", "rl", out, SHORT, start=start)
    world.untrained(start, run="xe-baseline", visual_input=False)
    with pytest.raises(UserError, match=rf"^{start}: trained without visual input, unlike this run; give another"):
        world.train("rl-baseline", "rl", out, SHORT, start=start)
    with pytest.raises(UserError, match=r"^xe-baseline/xe: begins with fresh weights; leave --start out"):
        world.train("xe-baseline", "xe", out, SHORT, start=start)
    assert not out.exists()


def test_a_folder_beside_the_checkpoint_that_is_no_trainings_is_not_replaced(world, tmp_path):
    mine = tmp_path / "xe.tensorboard/notes.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(UserError, match=rf"^{mine.parent}: holds notes.txt, which is no training's, and would be lost"):
        world.train("xe-baseline", "xe", tmp_path / "xe.safetensors", SHORT)
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("split", ["train", "val"])
def test_one_item_of_which_ciderd_says_nothing_is_too_few(world, tmp_path, split):
    captions = shutil.copytree(world.captions, tmp_path / "captions")
    first, *others = (captions / f"splits/{split}.txt").read_text().splitlines(keepends=True)
    (captions / f"splits/{split}.txt").write_text(first)
    with open(captions / "splits/test.txt", "a") as test:
        test.writelines(others)
    with pytest.raises(UserError, match=f"^{captions}: 1 item in split {split}, and training needs 2; give it more"):
        world.train("xe-baseline", "xe", tmp_path / "xe.safetensors", SHORT, captions=captions)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_training_needs_items_to_learn_from_and_to_validate(world, tmp_path, split):
    captions = shutil.copytree(world.captions, tmp_path / "captions")
    with open(captions / "splits/test.txt", "a") as test:
        test.write((captions / f"splits/{split}.txt").read_text())
    (captions / f"splits/{split}.txt").write_text("")
    with pytest.raises(UserError, match=f"^{captions}: no item in split {split}, and training needs some; give items"):
        world.train("xe-baseline", "xe", tmp_path / "xe.safetensors", SHORT, captions=captions)
