import json

import pytest
import torch
from tiny import World, tiny_world, write_features

from captionrl.datasets.corpus import Corpus, Item
from captionrl.datasets.prepare import prepare
from captionrl.decoding.beam import beam_search
from captionrl.decoding.distribution import log_probabilities
from captionrl.decoding.lookahead import look_ahead
from captionrl.decoding.rerank import nearest
from captionrl.errors import UserError
from captionrl.evaluation import predict as module
from captionrl.evaluation.predict import predict, predict_sets
from captionrl.text.vocabulary import SPECIALS, UNK
from captionrl.training.checkpoint import load_checkpoint
from captionrl.training.data import FeatureBatches

BEAM = 3


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return tiny_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def checkpoint(world):
    """Random weights that say something else of every clip."""
    return world.untrained(world.root / "a.safetensors")


@pytest.fixture
def captions_of(world, checkpoint, tmp_path):
    """The captions that `predict` writes, with `changes` of what it is given."""

    def captions_of(**changes):
        files = {"checkpoint": checkpoint, "captions": world.captions, "features": world.features}
        settings = {"out": tmp_path / "out.json", "split": "test", "beam": BEAM, "device": "cpu"}
        predict(**files | settings | changes)
        return json.loads((tmp_path / "out.json").read_text())

    return captions_of


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_item_of_the_split_gets_a_caption(captions_of, world, split):
    written = captions_of(split=split)
    assert list(written) == sorted(item.id for item in world.load()[0].items[split])
    assert all(isinstance(caption, str) for caption in written.values())
    assert not set(SPECIALS) & {word for caption in written.values() for word in caption.split()}
    assert len(set(written.values())) > 1


def test_a_split_without_items_cannot_be_captioned(world, checkpoint, tmp_path):
    captions = tmp_path / "captions"
    items = [Item("a", "train", None)]
    prepare(Corpus("toy", items, {"a": ["a man"]}, "by hand"), captions, min_count=1)
    with pytest.raises(UserError, match=f"^{captions}: no item in split test, and captioning it needs some"):
        predict(checkpoint, captions, world.features, tmp_path / "p.json", split="test", beam=1, device="cpu")


def test_features_of_another_corpus_caption_nothing(checkpoint, tmp_path, world):
    captions = tmp_path / "captions"
    prepare(Corpus("toy", [Item("a", "test", None)], {"a": ["a man"]}, "by hand"), captions, min_count=1)
    with pytest.raises(UserError, match=rf"^{world.features}: has features of none of the items to caption; extract"):
        predict(checkpoint, captions, world.features, tmp_path / "p.json", split="test", beam=1, device="cpu")
    assert not (tmp_path / "p.json").exists()


@pytest.mark.parametrize("beam", [1, BEAM])
def test_captions_are_the_best_of_beam_search(captions_of, world, checkpoint, beam):
    captions, _, store = world.load()
    policy, metadata = load_checkpoint(checkpoint)
    clips = FeatureBatches(store, metadata.settings["max_frames"], torch.device("cpu"))
    expected = {}
    for item in (item.id for item in captions.items["test"]):
        tokens, _ = beam_search(policy, policy.encode(clips.batch([item])), metadata.settings["max_words"] + 1, beam)
        expected[item] = " ".join(metadata.vocabulary.decode(tokens[0, 0].tolist()))
    assert captions_of(beam=beam) == expected


def test_the_width_of_the_beam_matters(captions_of):
    assert captions_of(beam=1) != captions_of(beam=8)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_size_of_batches_does_not_matter(captions_of, monkeypatch, batch):
    whole = captions_of(split="train")
    monkeypatch.setattr(module, "BATCH", batch)
    assert captions_of(split="train") == whole


def test_captions_are_no_longer_than_the_checkpoints_corpus_allows(captions_of, world, tmp_path):
    settings = world.metadata().settings | {"max_words": 2}
    written = captions_of(checkpoint=world.untrained(tmp_path / "short.safetensors", settings=settings))
    assert max(len(caption.split()) for caption in written.values()) == 3  # a caption may be cut before its </s>


def test_without_visual_input_all_clips_have_the_same_caption(captions_of, world, tmp_path):
    written = captions_of(checkpoint=world.untrained(tmp_path / "no-visual-input.safetensors", visual_input=False))
    assert len(set(written.values())) == 1


def test_features_of_another_backbone_are_refused(captions_of, world, tmp_path):
    other = tmp_path / "other.h5"
    write_features(other, world.load()[2].items, weights_sha256="1" * 64)
    with pytest.raises(UserError, match=r"other\.h5: features of another backbone or rate than .*a\.safetensors"):
        captions_of(features=other)
    assert not (tmp_path / "out.json").exists()


def test_features_at_another_rate_are_refused(captions_of, world, tmp_path):
    write_features(tmp_path / "other.h5", world.load()[2].items, fps=1.0)
    with pytest.raises(UserError, match=r"other\.h5"):
        captions_of(features=tmp_path / "other.h5")


def test_items_without_features_get_no_caption(captions_of, world, tmp_path):
    lost = world.load()[0].items["test"][0].id
    write_features(tmp_path / "some.h5", [item for item in world.load()[2].items if item != lost])
    written = captions_of(features=tmp_path / "some.h5")
    assert lost not in written
    assert len(written) == len(world.load()[0].items["test"]) - 1


def test_equal_inputs_give_equal_bytes(captions_of, tmp_path):
    captions_of()
    first = (tmp_path / "out.json").read_bytes()
    captions_of()
    assert (tmp_path / "out.json").read_bytes() == first


@pytest.fixture
def sets_of(world, checkpoint, tmp_path):
    """The sets that `predict_sets` writes, with `changes` of what it is given."""

    def sets_of(**changes):
        files = {"checkpoint": checkpoint, "captions": world.captions, "features": world.features}
        settings = {"out": tmp_path / "sets.json", "split": "test", "how": "sample", "size": 5, "device": "cpu"}
        predict_sets(**files | settings | changes)
        return json.loads((tmp_path / "sets.json").read_text())

    return sets_of


@pytest.mark.parametrize("how", ["sample", "beam-set"])
def test_every_item_gets_a_set_of_captions(sets_of, world, how):
    written = sets_of(how=how, size=4)
    assert list(written) == sorted(item.id for item in world.load()[0].items["test"])
    assert {len(texts) for texts in written.values()} == {4}
    assert not set(SPECIALS) & {word for texts in written.values() for text in texts for word in text.split()}


def test_a_beams_set_is_all_it_finds_best_first(sets_of, captions_of, world, checkpoint):
    captions, _, store = world.load()
    policy, metadata = load_checkpoint(checkpoint)
    clips = FeatureBatches(store, metadata.settings["max_frames"], torch.device("cpu"))
    expected = {}
    for item in (item.id for item in captions.items["test"]):
        tokens, scores = beam_search(policy, policy.encode(clips.batch([item])), metadata.settings["max_words"] + 1, 5)
        expected[item] = [" ".join(metadata.vocabulary.decode(row)) for row in tokens[0].tolist()]
        assert scores[0].tolist() == sorted(scores[0].tolist(), reverse=True)
    assert sets_of(how="beam-set") == expected
    assert {item: texts[0] for item, texts in expected.items()} == captions_of(beam=5)


def test_a_beams_captions_are_different_ones(sets_of):
    for texts in sets_of(how="beam-set").values():
        assert len(set(texts)) == 5


def test_samples_are_drawn_with_the_policys_probabilities(sets_of, world, tmp_path):
    """Of one clip, often enough: how often each first word comes, against the policy's own distribution."""
    checkpoint = world.untrained(tmp_path / "no-visual-input.safetensors", visual_input=False)
    policy, metadata = load_checkpoint(checkpoint)
    clips = FeatureBatches(world.load()[2], metadata.settings["max_frames"], torch.device("cpu"), visual_input=False)
    memory = policy.encode(clips.batch([world.load()[0].items["test"][0].id]))
    step = policy.step(memory.first_words(), policy.start(memory), memory)
    expected = log_probabilities(step.logits)[0].exp()
    texts = [text for texts in sets_of(checkpoint=checkpoint, size=600).values() for text in texts]
    for word, probability in zip(metadata.vocabulary.words[UNK + 1 :], expected[UNK + 1 :].tolist(), strict=True):
        share = sum(text.split()[:1] == [word] for text in texts) / len(texts)
        assert share == pytest.approx(probability, abs=4 * (probability / len(texts)) ** 0.5 + 1e-3)


def test_samples_depend_on_the_checkpoints_seed_alone(sets_of, world, checkpoint, tmp_path):
    torch.manual_seed(1)
    first = sets_of()
    torch.manual_seed(2)
    assert sets_of() == first
    assert sets_of(checkpoint=world.untrained(tmp_path / "two.safetensors", seed=2)) != first
    assert any(len(set(texts)) > 1 for texts in first.values())


def test_a_stages_captions_are_the_best_that_its_words_make(world, captions_of, tmp_path):
    checkpoint = world.untrained(tmp_path / "stages.safetensors", model="stack-cap")
    stages = [captions_of(checkpoint=checkpoint, stage=stage) for stage in (0, 1, 2)]
    assert stages[2] == captions_of(checkpoint=checkpoint)
    policy, metadata = load_checkpoint(checkpoint)
    _, _, store = world.load()
    clips = FeatureBatches(store, metadata.corpus_settings.max_frames, torch.device("cpu"))
    with torch.inference_mode():
        memory = policy.encode(clips.batch(list(stages[0])))
        for stage, captions in enumerate(stages):
            start = policy.start_stages(memory, [stage] * len(captions))
            tokens, _ = beam_search(policy, memory, metadata.corpus_settings.max_words + 1, BEAM, start)
            assert list(captions.values()) == [
                " ".join(metadata.vocabulary.decode(row)) for row in tokens[:, 0].tolist()
            ]
    assert stages[0] != stages[1] != stages[2]


THREE = "has stages 0 to 2; give one of them"


@pytest.mark.parametrize(
    ("model", "stage", "has"),
    [("stack-cap", 3, THREE), ("stack-cap", -1, THREE), ("attention", 1, "has none; leave it out")],
)
def test_a_stage_that_is_not_there_is_named(world, captions_of, tmp_path, model, stage, has):
    checkpoint = world.untrained(tmp_path / "stages.safetensors", model=model)
    with pytest.raises(UserError, match=f"stages.safetensors: --stage {stage}: the model {has}"):
        captions_of(checkpoint=checkpoint, stage=stage)


@pytest.fixture(scope="module")
def actor_critic(world):
    """A checkpoint with a value network, of random weights too."""
    return world.untrained(world.root / "actor_critic.safetensors", model="actor-critic")


def test_looking_ahead_with_all_the_weight_on_the_log_probability_writes_a_beam_searchs_file(
    captions_of, actor_critic, tmp_path
):
    captions_of(checkpoint=actor_critic)
    beam = (tmp_path / "out.json").read_bytes()
    captions_of(checkpoint=actor_critic, look_ahead=1.0)
    assert (tmp_path / "out.json").read_bytes() == beam


@pytest.mark.parametrize("weight", [0.0, 0.03])
def test_look_ahead_captions_are_the_best_for_the_items_own_values(captions_of, world, actor_critic, weight):
    written = captions_of(checkpoint=actor_critic, look_ahead=weight)
    policy, metadata = load_checkpoint(actor_critic)
    clips = FeatureBatches(world.load()[2], metadata.corpus_settings.max_frames, torch.device("cpu"))
    for item, caption in written.items():
        features = clips.batch([item])
        memory, expected = policy.encode(features), policy.value.start(features)
        most = metadata.corpus_settings.max_words + 1
        tokens, _ = look_ahead(policy, memory, policy.value, expected, most, BEAM, weight)
        assert caption == " ".join(metadata.vocabulary.decode(tokens[0, 0].tolist()))
    assert written != captions_of(checkpoint=actor_critic)


def test_without_a_value_network_nothing_can_look_ahead(captions_of):
    with pytest.raises(UserError, match=r"a\.safetensors: --look-ahead: the model has no value network; leave it out"):
        captions_of(look_ahead=0.5)


def test_reranked_captions_are_those_of_the_beam_with_the_highest_reward(captions_of, world, actor_critic):
    written = captions_of(checkpoint=actor_critic, rerank=True)
    policy, metadata = load_checkpoint(actor_critic)
    clips = FeatureBatches(world.load()[2], metadata.corpus_settings.max_frames, torch.device("cpu"))
    for item, caption in written.items():
        features = clips.batch([item])
        tokens, _ = beam_search(policy, policy.encode(features), metadata.corpus_settings.max_words + 1, BEAM)
        rewards = [policy.similarity(features, row.unsqueeze(0)).item() for row in tokens[0]]
        best = tokens[0, rewards.index(max(rewards))]
        assert caption == " ".join(metadata.vocabulary.decode(best.tolist()))
    assert written != captions_of(checkpoint=actor_critic)


def test_an_empty_place_of_the_beam_is_never_the_nearest():
    tokens, scores = torch.tensor([[[4, 2], [0, 0]]]), torch.tensor([[-1.0, -torch.inf]])
    directions = {4: [0.0, 1.0], 0: [1.0, 0.0]}
    found = nearest(
        torch.tensor([[1.0, 0.0]]), lambda rows: torch.tensor([directions[int(row[0])] for row in rows]), tokens, scores
    )
    assert found.tolist() == [[[4, 2]]]


def test_without_an_embedding_nothing_can_be_reranked(captions_of):
    with pytest.raises(UserError, match=r"--rerank: the model has no image-text embedding; leave it out"):
        captions_of(rerank=True)
