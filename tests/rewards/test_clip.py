"""CLIPScore by open_clip, on a tiny model of random weights."""

import sys

import pytest
import torch
from tiny_clip import tiny_clip
from torch.nn.functional import cosine_similarity
from toy import rewards_toy

from captionrl.config import ReinforcePhase
from captionrl.errors import UserError
from captionrl.features.batch import Features
from captionrl.features.torchvision_cpu import torchvision  # noqa: F401
from captionrl.files import sha256
from captionrl.rewards.reward import RewardBatch
from captionrl.rewards.weighted import reward_of

open_clip = pytest.importorskip("open_clip")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def toy():
    return rewards_toy()


def build(toy, weights, **features):
    facts = {"objective": "reinforce", "epochs": 1, "optimiser": "adam", "learning_rate": 0.1, "baseline": "none"}
    phase = ReinforcePhase(**facts, reward="CLIPScore", eos_in_reward=True, clip_weights=str(weights))
    features = {"backbone": "open_clip:tiny/random", "weights_sha256": sha256(weights), **features}
    return reward_of(phase, toy.policy, toy.captions, toy.vocabulary, "train", features)


@torch.no_grad()
def test_it_is_the_scaled_cosine_of_the_picture_and_the_caption_in_a_sentence(toy, model):
    clip, weights = model
    images = torch.rand(2, 3, 32, 32)
    pictures = clip.encode_image(images)
    clips = Features(pictures.unsqueeze(1), torch.ones(2, 1, dtype=torch.bool))
    given = toy.batch
    batch = RewardBatch(given.tokens, given.lengths, given.items, clips, given.vocabulary, given.rows)
    reward = build(toy, weights)
    scores = reward.score(batch).total
    texts = ["a dog runs", "a man plays a guitar", "dog", "a guitar ."]
    words = clip.encode_text(open_clip.get_tokenizer("tiny")([f"A photo depicts {text}" for text in texts]))
    cosines = cosine_similarity(pictures[given.rows], words)
    torch.testing.assert_close(scores, 2.5 * cosines.clamp(min=0), atol=1e-5, rtol=0)
    assert len(scores.unique()) > 1
    assert reward.maximum == 2.5
    opposite = RewardBatch(
        given.tokens, given.lengths, given.items, Features(-clips.frames, clips.mask), given.vocabulary, given.rows
    )
    assert (reward.score(opposite).total * scores == 0).all()


@torch.no_grad()
def test_several_frames_are_their_mean_and_padding_is_nothing(toy, model):
    frames = torch.randn(2, 3, 8)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    given, means = toy.batch, torch.stack([frames[0, :2].mean(0), frames[1].mean(0)]).unsqueeze(1)
    reward = build(toy, model[1])
    found = [
        reward.score(RewardBatch(given.tokens, given.lengths, given.items, clips, given.vocabulary, given.rows)).total
        for clips in (Features(frames, mask), Features(means, torch.ones(2, 1, dtype=torch.bool)))
    ]
    torch.testing.assert_close(*found)


@torch.no_grad()
def test_the_text_tower_has_the_activation_of_the_weights_tag(toy, model, monkeypatch):
    """OpenAI's weights were trained with QuickGELU, which their file does not say."""
    monkeypatch.setattr(open_clip.pretrained, "get_pretrained_cfg", lambda name, tag: {"quick_gelu": tag == "openai"})
    clips = Features(torch.randn(2, 1, 8), torch.ones(2, 1, dtype=torch.bool))
    given = toy.batch
    batch = RewardBatch(given.tokens, given.lengths, given.items, clips, given.vocabulary, given.rows)
    texts = open_clip.get_tokenizer("tiny")([f"A photo depicts {text}" for text in batch.texts])
    found = []
    for tag, quick in (("openai", True), ("random", False)):
        made = open_clip.create_model("tiny", pretrained=str(model[1]), force_quick_gelu=quick).eval()
        cosines = cosine_similarity(clips.frames[given.rows, 0], made.encode_text(texts))
        found.append(build(toy, model[1], backbone=f"open_clip:tiny/{tag}").score(batch).total)
        torch.testing.assert_close(found[-1], 2.5 * cosines.clamp(min=0), atol=1e-5, rtol=0)
    assert (found[0] - found[1]).abs().max() > 1e-4


def test_what_does_not_fit_is_named(toy, model, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="features of mini share no space with text; give the run a backbone open_clip"):
        build(toy, model[1], backbone="mini")
    with pytest.raises(UserError, match="features of open_clip:tiny/random@grid2 share no space with text"):
        build(toy, model[1], backbone="open_clip:tiny/random@grid2")
    with pytest.raises(UserError, match=r"tiny\.safetensors: not the weights that the features were extracted with"):
        build(toy, model[1], weights_sha256="0")
    with pytest.raises(UserError, match=r"the features have 6 numbers a frame, its text tower 8; give the image"):
        build(toy, model[1]).score(toy.batch)
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(UserError, match="CLIPScore: needs open_clip; pip install 'captionrl\\[clip\\]'"):
        build(toy, model[1]).score(toy.batch)
