"""Sequence-level exploration raises reward and diversity where all captions can be enumerated; alpha = 1 is SLL."""

import time

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tiny import BACKBONE
from torch.testing import assert_close
from toy import FEATURE, MAX_TOKENS, every_caption, rewarded, sizes_for, word_log_probs

from captionrl.config import ReinforcePhase
from captionrl.config.phases import ExplorationPhase
from captionrl.datasets.corpus import Item
from captionrl.datasets.prepared import Captions
from captionrl.decoding.rollout import sample
from captionrl.features.store import FeatureStore, write_store
from captionrl.models import build_module
from captionrl.objectives.exploration import pairwise_distances
from captionrl.objectives.reinforce import entropy_bonus
from captionrl.text.vocabulary import Vocabulary
from captionrl.training.data import Data, FeatureBatches
from captionrl.training.learners.exploration import ExplorationLearner
from captionrl.training.learners.reinforce import ReinforceLearner
from captionrl.training.loop import Training

CPU = torch.device("cpu")
SIZES = {"projection": 4, "decoder": 16, "attention": 4, "embedding": 16, "dropout": 0, "init": 0.3}
REFERENCES = {"clip0": "a b", "clip1": "b c", "clip2": "c a", "clip3": "a c"}
SETTINGS = {
    "epochs": 1, "batch": 16, "optimiser": "adam", "learning_rate": 0.01, "eos_in_reward": True,
}  # fmt: skip
SLE = SETTINGS | {"objective": "sle", "alpha": 0.75, "samples": 5, "diversity_baseline": "mean"}


@pytest.fixture
def make(tmp_path):
    """A learner of four clips, the reference of each two of three words: 40 captions can be written."""
    arrays = [(item, np.full((3, FEATURE), 5 * np.eye(FEATURE)[row])) for row, item in enumerate(REFERENCES)]
    write_store(tmp_path / "store.h5", arrays, BACKBONE | {"dim": FEATURE})
    clips = FeatureBatches(FeatureStore(tmp_path / "store.h5"), 5, CPU)
    items = {split: [Item(item, split, None) for item in REFERENCES] for split in ("train", "val")}

    def build(model="pooled", references=REFERENCES, **changes):
        tokens = {item: 4 * [text.split()] for item, text in references.items()}
        vocabulary = Vocabulary.build([text for texts in tokens.values() for text in texts], min_count=1)
        data = Data(Captions(items, {}, tokens), vocabulary, MAX_TOKENS - 1, CPU, clips)
        torch.manual_seed(1)
        policy = build_module(model, FEATURE, len(vocabulary), sizes_for(model, SIZES))
        if changes.get("objective") == "reinforce":
            return ReinforceLearner(policy, data, ReinforcePhase(**SETTINGS | changes), seed=1)
        return ExplorationLearner(policy, data, ExplorationPhase(**SLE | changes), seed=1)

    return build


@torch.no_grad()
def expected(learner) -> tuple[float, float]:
    """The exact mean reward of a sampled caption, and the exact mean distance between two, over the clips."""
    captions, policy = every_caption(), learner.policy.eval()
    distance = pairwise_distances(learner.bleu, captions[None], learner.no_words)[0].float()
    memory, rewards, distances = policy.encode(learner.clips.batch(list(REFERENCES))), [], []
    for row, item in enumerate(REFERENCES):
        p = word_log_probs(policy, memory.select(torch.full((len(captions),), row)), captions).sum(1).exp()
        rewards.append(p @ rewarded(learner, captions, [item] * len(captions)))
        distances.append(p @ distance @ p)
    return torch.stack(rewards).mean().item(), torch.stack(distances).mean().item()


def train(learner, directory, updates):
    training = Training(learner, learner.phase, directory, seed=1)
    return [training.step(log_every=1) for _ in range(updates)]


@pytest.mark.parametrize("baseline", ["mean", "leave-one-out"])
@pytest.mark.parametrize("model", ["pooled", "pooled-attention"])
def test_with_alpha_1_the_reward_rises(make, tmp_path, model, baseline):
    learner = make(model, alpha=1.0, diversity_baseline=baseline)
    reward, _ = expected(learner)
    train(learner, tmp_path, 100)
    assert expected(learner)[0] > 2 * reward


@pytest.mark.parametrize("baseline", ["mean", "leave-one-out"])
def test_with_alpha_0_samples_grow_apart(make, tmp_path, baseline):
    learner = make(alpha=1.0)
    train(learner, tmp_path / "before", 80)  # a policy that has narrowed
    learner.phase = ExplorationPhase(**SLE | {"alpha": 0.0, "diversity_baseline": baseline})
    _, distance = expected(learner)
    stats = train(learner, tmp_path / "after", 80)
    assert distance < 0.5
    assert expected(learner)[1] > 1.5 * distance
    assert stats[-1]["distance"] > stats[0]["distance"]


def test_half_of_each_ends_between_reward_alone_and_diversity_alone(make, tmp_path):
    found = []
    for alpha in (0.0, 0.5, 1.0):
        learner = make(alpha=alpha, diversity_baseline="leave-one-out")
        train(learner, tmp_path / str(alpha), 120)
        found.append(expected(learner))
    rewards, distances = zip(*found, strict=True)
    assert rewards[0] + 1 < rewards[1] < rewards[2] - 1
    assert distances[0] > distances[1] > distances[2] + 0.3


@pytest.mark.parametrize(
    ("reward", "unit", "scale"), [("CIDEr-D", None, 10), ("BLEU-4", None, 1), ("CIDEr-D", 2.5, 2.5)]
)
def test_with_alpha_1_its_loss_is_that_of_self_critical_reinforcement_over_its_samples_with_the_reward_in_0_to_1(
    make, reward, unit, scale
):
    sle = make(alpha=1.0, reward=reward, reward_scale=unit)
    sll = make(objective="reinforce", baseline="greedy", reward=reward)
    items, _ = sle.pairs.batch(0, 0)
    sll.pairs.batch = lambda epoch, index: ([item for item in items for _ in range(5)], None)
    losses = []
    for learner in (sle, sll):
        torch.manual_seed(7)
        loss, _ = learner.loss(0, 0)
        loss.backward()
        losses.append(loss)
    assert losses[1] != 0
    assert_close(losses[0] * scale, losses[1])
    gradients = [[parameter.grad for parameter in learner.policy.parameters()] for learner in (sle, sll)]
    assert_close([gradient * scale for gradient in gradients[0]], gradients[1])


def test_it_says_how_good_and_how_far_apart_its_samples_are(make):
    learner = make()
    learner.policy.train()
    _, stats = learner.loss(0, 0)
    assert {
        "loss",
        "sample_reward",
        "greedy_reward",
        "distance",
        "precision_weight",
        "diversity_weight",
    } <= stats.keys()
    assert 0 < stats["distance"] < 1
    assert 0 <= stats["sample_reward"] <= 10  # on the metric's own scale, as in other phases
    assert all(module.training for module in learner.policy.modules())


@pytest.mark.parametrize("counted", [False, True])
def test_punctuation_is_no_diversity_unless_it_is_part_of_the_reward(make, counted):
    learner = make(references=REFERENCES | {"clip0": "a , b"}, punctuation_in_reward=counted)
    comma = learner.vocabulary.words.index(",")
    assert (comma in learner.no_words) != counted


def test_time_for_distances_counts_as_time_for_rewards(make, tmp_path, monkeypatch):
    learner = make()
    score = learner.bleu.score

    def slow(*arguments):
        time.sleep(0.2)
        return score(*arguments)

    monkeypatch.setattr(learner.bleu, "score", slow)
    began = time.perf_counter()
    (stats,) = train(learner, tmp_path, 1)
    assert 0.2 / (time.perf_counter() - began) <= stats["reward_share"] < 1


def test_the_entropy_bonus_has_its_weight_in_the_loss_of_reinforcement(make):
    losses = []
    for weight in (0.0, 0.25):
        learner = make(objective="reinforce", baseline="greedy", entropy=weight)
        torch.manual_seed(7)
        losses.append(learner.loss(0, 0)[0])
    torch.manual_seed(7)
    memory = learner.policy.encode(learner.clips.batch(learner.pairs.batch(0, 0)[0]))
    bonus = entropy_bonus(sample(learner.policy, memory, learner.max_tokens, entropy_gradient=True))
    assert bonus > 1
    assert_close(losses[0] - losses[1], 0.25 * bonus)


def test_an_entropy_bonus_widens_the_policy(make, tmp_path):
    entropies = []
    for weight in (0.0, 2.0):
        learner = make(objective="reinforce", baseline="greedy", entropy=weight)
        entropies.append(train(learner, tmp_path / str(weight), 80)[-1]["entropy"])
    assert entropies[1] > entropies[0] + 0.2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 1}, "greater than or equal to 2"),
        ({"samples": 2}, "mean leaves nothing of two samples; set leave-one-out, or samples: 3"),
        ({"alpha": 1.5}, "less than or equal to 1"),
        ({"diversity_baseline": "none"}, "'mean' or 'leave-one-out'"),
        ({"reward_scale": 0}, "greater than 0"),
    ],
)
def test_mistakes_are_named(change, message):
    with pytest.raises(ValidationError, match=message):
        ExplorationPhase(**SLE | change)
