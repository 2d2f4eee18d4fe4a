import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_paper
from toy import POLICIES, sizes_for

from captionrl.errors import UserError
from captionrl.models import build_module
from captionrl.text.vocabulary import EOS, Vocabulary
from captionrl.training.checkpoint import load_checkpoint, save_checkpoint
from captionrl.training.data import FeatureBatches


@pytest.mark.parametrize("model", POLICIES)
def test_a_loaded_checkpoint_has_the_saved_ones_logits_and_card(world, tmp_path, model):
    _, vocabulary, store = world.load()
    metadata = world.metadata(model=model)
    torch.manual_seed(1)
    policy = build_module(model, store.dim, len(vocabulary), sizes_for(model, metadata.sizes), metadata.backbone).eval()
    save_checkpoint(tmp_path / "a.safetensors", policy, metadata)
    loaded, loaded_card = load_checkpoint(tmp_path / "a.safetensors")
    assert loaded_card == metadata
    assert not loaded.training
    features = FeatureBatches(store, 5, torch.device("cpu")).batch(store.items)
    tokens = torch.randint(4, len(vocabulary), (len(store), 4)).index_fill(1, torch.tensor([3]), EOS)
    logits = [each.teacher_forcing(tokens, each.encode(features)) for each in (policy, loaded)]
    assert logits[0].std() > 0
    assert torch.equal(*logits)
    save_checkpoint(tmp_path / "again.safetensors", loaded, loaded_card)
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "a.safetensors").read_bytes()


def test_the_card_has_the_vocabulary_and_the_corpus_settings(world):
    _, vocabulary, _ = world.load()
    metadata = world.metadata()
    assert metadata.vocabulary == Vocabulary(vocabulary.words)
    assert metadata.corpus_settings == tiny_paper().corpora[metadata.corpus]


def test_what_is_no_checkpoint_is_refused(world, tmp_path):
    path = world.untrained(tmp_path / "a.safetensors")
    whole, weights, metadata = path.read_bytes(), load_file(path), asdict(world.metadata())

    def with_metadata(metadata: dict[str, str] | None) -> bytes:
        save_file(weights, tmp_path / "b.safetensors", metadata)
        return (tmp_path / "b.safetensors").read_bytes()

    def with_card(**changes: object) -> bytes:
        return with_metadata({"captionrl": json.dumps(metadata | changes)})

    load_checkpoint(path)
    damages = {
        "empty": b"",
        "text": b"not a checkpoint at all",
        "zeros": bytes(1000),
        "cut": whole[: len(whole) // 2],
        "cut by one": whole[:-1],
        "no metadata": with_metadata(None),
        "another program's": with_metadata({"format": "pt"}),
        "card no JSON": with_metadata({"captionrl": "{"}),
        "card a list": with_metadata({"captionrl": "[1]"}),
        "field missing": with_metadata({"captionrl": json.dumps({k: metadata[k] for k in metadata if k != "seed"})}),
        "field unknown": with_card(colour="red"),
        "model unknown": with_card(model="transformer"),
        "sizes of others": with_card(sizes=metadata["sizes"] | {"decoder": 5}),
        "sizes unknown": with_card(sizes={"width": 5}),
        "words missing": with_card(words=metadata["words"][:-1]),
        "width of others": with_card(features=7),
        "width beyond reason": with_card(features=10**9),
        "sizes beyond reason": with_card(sizes=metadata["sizes"] | {"decoder": 10**5}),
        "a number as text": with_card(fps="fast"),
        "a rate below zero": with_card(fps=-3.0),
        "a rate that is no number": with_card(fps=float("nan")),
        "a rate beyond all numbers": with_card(fps=float("inf")),
        "settings missing": with_card(settings={"max_frames": 5}),
        "settings no mapping": with_card(settings=[]),
        "half a character": with_card(words=[*metadata["words"][:-1], "\ud800"]),
        "words twice": with_card(words=[*metadata["words"][:-1], metadata["words"][-2]]),
        "captions beyond reason": with_card(settings=metadata["settings"] | {"max_words": 2 * 10**7}),
        "clips beyond reason": with_card(settings=metadata["settings"] | {"max_frames": 10_001}),
        "a seed of a hundred bits": with_card(seed=2**100),
        "fps not a number": with_card(fps=float("nan")),
        "width below zero": with_card(features=-1),
        "half a character in a name": with_card(backbone="\ud800"),
        "card nested deep": with_metadata({"captionrl": "[" * 100_000}),
    }
    for name, content in damages.items():
        path.write_bytes(content)
        with pytest.raises(UserError) as raised:
            load_checkpoint(path)
        message = str(raised.value)
        assert message.startswith(f"{path}: not a "), name
        assert message.endswith("; train it again"), name
        assert "\n" not in message, name


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(UserError, match=r"a\.safetensors: no such file"):
        load_checkpoint(tmp_path / "a.safetensors")


def test_a_directory_is_no_checkpoint(tmp_path):
    with pytest.raises(UserError, match=str(tmp_path)):
        load_checkpoint(tmp_path)


def test_a_failed_save_keeps_the_old_checkpoint(world, tmp_path):
    path = world.untrained(tmp_path / "a.safetensors")
    before = path.read_bytes()
    policy, metadata = load_checkpoint(path)
    with pytest.raises(TypeError):
        save_checkpoint(path, policy, replace(metadata, run={1}))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
