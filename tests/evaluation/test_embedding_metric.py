"""The metric Embedding: the cosine of a picture and a caption, as a checkpoint's embedding sees both."""

import sys

import numpy as np
import pytest
import torch
from tiny import World, tiny_world, write_features

from captionrl import cli
from captionrl.datasets.corpus import split_hash
from captionrl.errors import UserError
from captionrl.evaluation.embedding import evaluate_embedding
from captionrl.evaluation.results import Result, read_scores
from captionrl.files import sha256, write_json
from captionrl.text.vocabulary import EOS
from captionrl.training.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return tiny_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def reward_model(world):
    return world.untrained(
        world.root / "reward-model.safetensors", run="reward-model", phase="embedding", model="actor-critic"
    )


@pytest.fixture(scope="module")
def captions(world):
    """Of different lengths, with a word that the vocabulary lacks, without any word; not in the ids' order."""
    texts = ["a man lifts a ball .", "the", "", "a zebra kicks", "the box is with a dog", "a a a", "robot ."]
    return dict(zip(reversed([item.id for item in world.load()[0].items["test"]]), texts, strict=True))


def by_hand(world, reward_model, item, text):
    """Mean frame and last state, mapped linearly, and the cosine of both, in numpy but for the LSTM."""
    embedding = load_checkpoint(reward_model)[0].similarity
    _, vocabulary, store = world.load()
    frames = store.read(item).astype(np.float64)
    if len(frames) > 5:  # max_frames
        frames = frames[((np.arange(5) + 0.5) * len(frames) / 5).astype(int)]
    tokens = torch.tensor([[*vocabulary.encode(text.split()), EOS]])
    with torch.no_grad():
        _, (state, _) = embedding.lstm(embedding.words(tokens))
        picture, caption = (
            vector @ linear.weight.double().numpy().T + linear.bias.double().numpy()
            for vector, linear in (
                (frames.mean(0), embedding.picture),
                (state[0, 0].double().numpy(), embedding.caption),
            )
        )
    return picture @ caption / np.linalg.norm(picture) / np.linalg.norm(caption)


def test_it_is_the_cosine_of_picture_and_caption(world, reward_model, captions):
    result = evaluate_embedding(reward_model, world.features, captions)
    expected = {item: 100 * by_hand(world, reward_model, item, text) for item, text in captions.items()}
    assert result.items == pytest.approx(expected, abs=1e-3)
    assert result.value == pytest.approx(np.mean(list(expected.values())), abs=1e-3)
    assert np.ptp(list(expected.values())) > 10


def test_its_statistics_are_rows_of_items_sorted_by_id(world, reward_model, captions):
    result = evaluate_embedding(reward_model, world.features, captions)
    assert list(result.items) == sorted(captions)
    assert (100 * result.statistics[:, 0]).tolist() == pytest.approx(list(result.items.values()))
    assert result.statistics[:, 1].tolist() == [1] * 7


def test_its_signature_names_the_judge_and_the_items(world, reward_model, captions):
    signature = evaluate_embedding(reward_model, world.features, captions).signature
    fields = ["Embedding", f"model:{sha256(reward_model)[:12]}", "items:7", f"split:{split_hash(captions)[:8]}"]
    assert signature.split("|")[:-1] == fields
    assert signature.split("|")[-1].startswith("version:")


def test_a_judge_without_an_embedding_is_refused(world, captions, tmp_path):
    path = world.untrained(tmp_path / "xe.safetensors")
    with pytest.raises(UserError, match=r"xe.safetensors: a captioner without an embedding \(attention\); give one of"):
        evaluate_embedding(path, world.features, captions)


def test_features_that_the_judge_was_not_trained_on_are_refused(world, reward_model, captions, tmp_path):
    write_features(tmp_path / "f.h5", list(captions), weights_sha256="1" * 64)
    with pytest.raises(UserError, match="features of another backbone"):
        evaluate_embedding(reward_model, tmp_path / "f.h5", captions)


def test_the_command_writes_it_beside_the_other_metrics(world, reward_model, captions, tmp_path, monkeypatch):
    words = Result("CIDEr-D", 1.0, dict.fromkeys(sorted(captions), 1.0), np.ones((7, 2)), "CIDEr-D|…")
    monkeypatch.setattr("captionrl.evaluation.score_run.evaluate_systems", lambda *_, **__: [{"CIDEr-D": words}])
    system = world.untrained(tmp_path / "xe.safetensors")
    facts = {"seed": 1, "hours": 0.5, "slurm_job": None, "code": "v", "commit": "c", "command": "captionrl train"}
    facts |= {"config": {"run": {"visual_input": False}}}
    write_json(system.with_suffix(".json"), facts)
    write_json(tmp_path / "predictions.json", captions)
    arguments = ["evaluate", "--predictions", tmp_path / "predictions.json", "--checkpoint", system]
    arguments += ["--captions", world.captions, "--out", tmp_path / "scores.json"]
    for extra, metrics in (([], {"CIDEr-D"}), (["--embedding", reward_model, "--features", world.features], None)):
        monkeypatch.setattr(sys, "argv", ["captionrl", *map(str, [*arguments, *extra])])
        cli.main()
        results, _ = read_scores(tmp_path / "scores.json")
        assert results.keys() == (metrics or {"CIDEr-D", "Embedding"})
    assert results["Embedding"].items == evaluate_embedding(reward_model, world.features, captions).items


@pytest.mark.parametrize("option", ["--embedding", "--features"])
def test_one_of_embedding_and_features_alone_is_refused(option, monkeypatch, capsys):
    files = ["--predictions", "p", "--checkpoint", "c", "--captions", "d", "--out", "o"]
    monkeypatch.setattr(sys, "argv", ["captionrl", "evaluate", *files, option, "x"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "--embedding and --features: one needs the other; give both" in capsys.readouterr().err
