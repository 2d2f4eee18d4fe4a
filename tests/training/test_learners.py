"""Cross-entropy learns captions by heart; REINFORCE raises the reward where all captions can be enumerated."""

import json
import time

import numpy as np
import pytest
import torch
from tiny import BACKBONE
from toy import FEATURE, MAX_TOKENS, every_caption, rewarded, word_log_probs

from captionrl.config import ProjectionSizes, ReinforcePhase
from captionrl.datasets.corpus import Item
from captionrl.datasets.prepared import Captions
from captionrl.features.store import FeatureStore, write_store
from captionrl.models import build_module
from captionrl.objectives.reinforce import policy_gradient_loss
from captionrl.objectives.xe import xe_loss
from captionrl.text.vocabulary import Vocabulary
from captionrl.training.data import Data, FeatureBatches
from captionrl.training.learners import reinforce
from captionrl.training.learners import xe as learners
from captionrl.training.learners.reinforce import ReinforceLearner
from captionrl.training.loop import Training

CPU = torch.device("cpu")
SIZES = ProjectionSizes(projection=16, decoder=16, embedding=16, dropout=0, init=0.3)
REFERENCES = {"clip0": "a b", "clip1": "b c", "clip2": "c a", "clip3": "a c"}


def test_cross_entropy_learns_the_captions_by_heart(world, tmp_path):
    xe = {"epochs": 16, "validate_every": 16, "learning_rate": 0.03, "scheduled_sampling": {"max_probability": 0}}
    sizes = {"dropout": 0, "decoder": 32, "init": 0.3}
    out = world.train("xe-baseline", "xe", tmp_path / "a.safetensors", {"sizes": sizes, "phases": {"xe": xe}})
    rows = [json.loads(line) for line in out.with_suffix(".metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if row["kind"] == "train"]
    assert losses[0] > 1.5
    assert losses[-1] < losses[0] / 2


@pytest.fixture
def learner(tmp_path, request):
    """Four clips, the reference of each two of three words: 40 captions can be written."""
    arrays = [(item, np.full((3, FEATURE), 5 * np.eye(FEATURE)[row])) for row, item in enumerate(REFERENCES)]
    write_store(tmp_path / "store.h5", arrays, BACKBONE | {"dim": FEATURE})
    tokens = {item: 16 * [text.split()] for item, text in REFERENCES.items()}  # so that a batch has 64 samples
    items = {split: [Item(item, split, None) for item in REFERENCES] for split in ("train", "val")}
    phase = ReinforcePhase(
        objective="reinforce", epochs=1, batch=64, optimiser="adam", learning_rate=0.01, baseline=request.param,
        samples=4 if request.param == "leave-one-out" else 1, eos_in_reward=True,
    )  # fmt: skip
    vocabulary = Vocabulary.build([text for texts in tokens.values() for text in texts], min_count=1)
    clips = FeatureBatches(FeatureStore(tmp_path / "store.h5"), 5, CPU)
    torch.manual_seed(1)
    policy = build_module("mean-pooling", FEATURE, len(vocabulary), SIZES)
    data = Data(Captions(items, {}, tokens), vocabulary, MAX_TOKENS - 1, CPU, clips)
    return ReinforceLearner(policy, data, phase, seed=1)


def rewards(learner: ReinforceLearner) -> torch.Tensor:
    """Of every caption that can be written [C], for each clip: [4, C]."""
    captions = every_caption()
    return torch.stack([rewarded(learner, captions, [item] * len(captions)) for item in learner.validation_items])


@torch.no_grad()
def expected_reward(learner: ReinforceLearner) -> float:
    """The exact mean reward of a sampled caption."""
    captions, policy = every_caption(), learner.policy.eval()
    memory = policy.encode(learner.clips.batch(learner.validation_items))
    log_p = [word_log_probs(policy, memory.select(torch.full((len(captions),), row)), captions) for row in range(4)]
    probabilities = torch.stack(log_p).sum(-1).exp()
    torch.testing.assert_close(probabilities.sum(1), torch.ones(4))
    return (probabilities * rewards(learner)).sum(1).mean().item()


@torch.no_grad()
def greedy_reward(learner: ReinforceLearner) -> float:
    learner.policy.eval()
    rollout = learner.greedy(list(REFERENCES))
    return rewarded(learner, rollout.tokens, list(REFERENCES)).mean().item()


@pytest.mark.parametrize("learner", ["none"], indirect=True)
@pytest.mark.parametrize("size", [1, 3, 4])
def test_every_validation_item_counts_alike_however_large_its_batch(learner, size, monkeypatch):
    monkeypatch.setattr("captionrl.training.learners.captioner.EVALUATION_BATCH", size)
    scores = {item: float(number) for number, item in enumerate(learner.validation_items)}
    monkeypatch.setattr(learner, "score", lambda _, items: torch.tensor([scores[item] for item in items]))
    learner.policy.eval()
    assert learner.validate()[learner.metric] == 100 * sum(scores.values()) / 4


@pytest.mark.parametrize("learner", ["linear", "greedy", "leave-one-out", "none"], indirect=True)
def test_reinforce_raises_the_reward_of_sampled_and_of_greedy_captions(learner, tmp_path):
    before, greedy_before = expected_reward(learner), greedy_reward(learner)
    training = Training(learner, learner.phase, tmp_path, seed=1)
    for _ in range(100):
        training.step(log_every=1)
    assert expected_reward(learner) > 2 * before
    assert greedy_reward(learner) > 2 * greedy_before


@pytest.mark.parametrize("learner", ["greedy", "linear"], indirect=True)
def test_the_log_says_what_share_of_a_step_goes_into_rewards(learner, tmp_path, monkeypatch):
    score, calls = learner.reward.score, []

    def slow(*arguments):
        calls.append(time.sleep(0.1))
        return score(*arguments)

    monkeypatch.setattr(learner.reward, "score", slow)
    training = Training(learner, learner.phase, tmp_path, seed=1)
    for _ in range(3):
        calls.clear()
        began = time.perf_counter()
        share = training.step(log_every=1)["reward_share"]
        assert 0.1 * len(calls) / (time.perf_counter() - began) <= share < 1
    assert training.history[-1]["reward_share"] == share


@pytest.mark.parametrize("learner", ["linear"], indirect=True)
def test_the_linear_baseline_learns_beside_the_policy(learner, tmp_path):
    names = {name.split(".")[0] for name in learner.module.state_dict()}
    assert names == {"policy", "baseline"}
    training = Training(learner, learner.phase, tmp_path, seed=1)
    errors = []
    for group in training.optimiser.param_groups:
        group["lr"] = 1e-2
    for parameter in learner.policy.parameters():
        parameter.requires_grad_(False)
    for _ in range(150):
        errors.append(training.step(log_every=1)["baseline_error"])
    assert sum(errors[-10:]) < 0.8 * sum(errors[:10])


@pytest.mark.parametrize("learner", ["leave-one-out"], indirect=True)
def test_the_samples_of_a_clip_are_each_others_baseline(learner, monkeypatch):
    """And have one encoding."""
    seen = {}

    def recorded(rollout, advantage):
        seen.update(rollout=rollout, advantage=advantage)
        return policy_gradient_loss(rollout, advantage)

    monkeypatch.setattr(reinforce, "policy_gradient_loss", recorded)
    encoded, encode = [], learner.policy.encode
    monkeypatch.setattr(learner.policy, "encode", lambda clips: encoded.append(clips) or encode(clips))
    learner.loss(0, 0)
    items, _ = learner.pairs.batch(0, 0)
    assert [len(clips.frames) for clips in encoded] == [len(items)]
    rollout = seen["rollout"]
    earned = rewarded(learner, rollout.tokens, [item for item in items for _ in range(4)]).view(-1, 4)
    others = torch.stack([earned[:, [k for k in range(4) if k != j]].mean(1) for j in range(4)], 1)
    expected = (earned - others).view(-1, 1).expand_as(seen["advantage"])
    torch.testing.assert_close(seen["advantage"], expected.to(seen["advantage"]))
    assert expected.abs().max() > 0.1


@pytest.mark.parametrize("learner", ["greedy"], indirect=True)
def test_a_greedy_baseline_leaves_the_policy_learning(learner):
    learner.policy.train()
    learner.loss(0, 0)
    assert all(module.training for module in learner.policy.modules())


def test_scheduled_sampling_follows_the_epochs(world, tmp_path, monkeypatch):
    shares: list[float] = []

    def recorded(policy, features, tokens, sampling_probability, boundaries):
        shares.append(sampling_probability)
        return xe_loss(policy, features, tokens)

    monkeypatch.setattr(learners, "xe_loss", recorded)
    sampling = {"start": 1, "per_epoch": 0.125, "max_probability": 0.25}
    xe = {"epochs": 5, "validate_every": 5, "batch": 22, "scheduled_sampling": sampling}  # of two batches each
    world.train("xe-baseline", "xe", tmp_path / "a.safetensors", {"phases": {"xe": xe}})
    assert shares == [0, 0, 0, 0, 0.125, 0.125, 0.25, 0.25, 0.25, 0.25]
