"""Rewards at every stage of Stack-Cap: its loss by hand, and that stages get better by it."""

from unittest import mock

import numpy as np
import pytest
import torch
from tiny import BACKBONE
from torch.testing import assert_close
from toy import FEATURE, MAX_TOKENS, every_caption, rewarded

from captionrl.config import StackCapSizes, StagewisePhase
from captionrl.datasets.corpus import Item
from captionrl.datasets.prepared import Captions
from captionrl.decoding.distribution import log_probabilities
from captionrl.decoding.rollout import greedy, sample
from captionrl.features.store import FeatureStore, write_store
from captionrl.models import build_module
from captionrl.models.policy import shift
from captionrl.text.vocabulary import Vocabulary
from captionrl.training.data import Data, FeatureBatches
from captionrl.training.learners import stagewise
from captionrl.training.learners.stagewise import StagewiseLearner
from captionrl.training.loop import Training

CPU = torch.device("cpu")
SIZES = StackCapSizes(decoder=12, attention=4, embedding=12, dropout=0, init=0.3)
REFERENCES = {"picture0": "a b", "picture1": "b c", "picture2": "c a", "picture3": "a c"}
PHASE = StagewisePhase(
    objective="stagewise", epochs=1, batch=8, optimiser="adam", learning_rate=0.01, eos_in_reward=True
)


@pytest.fixture
def learner(tmp_path):
    return learner_of(tmp_path, PHASE)


def learner_of(tmp_path, phase):
    """Of four pictures of four regions, the reference of each two of three words."""
    regions = [(item, np.outer(np.arange(1, 5), 3 * np.eye(FEATURE)[row])) for row, item in enumerate(REFERENCES)]
    write_store(tmp_path / "store.h5", regions, BACKBONE | {"dim": FEATURE})
    clips = FeatureBatches(FeatureStore(tmp_path / "store.h5"), 5, CPU)
    items = {split: [Item(item, split, None) for item in REFERENCES] for split in ("train", "val")}
    tokens = {item: 4 * [text.split()] for item, text in REFERENCES.items()}
    vocabulary = Vocabulary.build([text for texts in tokens.values() for text in texts], min_count=1)
    data = Data(Captions(items, {}, tokens), vocabulary, MAX_TOKENS - 1, CPU, clips)
    torch.manual_seed(1)
    return StagewiseLearner(build_module("stack-cap", FEATURE, len(vocabulary), SIZES), data, phase, seed=1)


def stage_log_probs(learner, memory, tokens, stage):
    """The log-probabilities [B] of captions [B, T] as a stage's words, by stepping."""
    state, total = learner.policy.start_stages(memory, [stage] * len(tokens)), 0.0
    for before, word in zip(shift(tokens).unbind(1), tokens.unbind(1), strict=True):
        step = learner.policy.step(before, state, memory)
        state = step.state
        total = total + log_probabilities(step.logits).gather(1, word[:, None])[:, 0].masked_fill(word == 0, 0)
    return total


@torch.no_grad()
def expected_rewards(learner):
    """The exact mean reward of a caption that each stage samples."""
    captions, means = every_caption(), []
    memory = learner.policy.encode(learner.clips.batch(list(REFERENCES)))
    for stage in range(3):
        found = []
        for row, item in enumerate(REFERENCES):
            own = memory.select(torch.full((len(captions),), row))
            p = stage_log_probs(learner, own, captions, stage).exp()
            rewards = rewarded(learner, captions, [item] * len(captions))
            found.append(p @ rewards.to(p))
        means.append(torch.stack(found).mean().item())
    return means


def test_its_loss_is_that_of_its_captions_their_rewards_and_those_of_greedy_and_coarser_ones(learner):
    rollouts = []

    def recorded(how):
        def roll_out(*arguments):
            rollouts.append(how(*arguments))
            return rollouts[-1]

        return roll_out

    with (
        mock.patch.object(stagewise, "sample", recorded(sample)),
        mock.patch.object(stagewise, "greedy", recorded(greedy)),
    ):
        loss, stats = learner.loss(0, 0)
    items, _ = learner.pairs.batch(0, 0)
    coarse, best, fine = (rollout.tokens for rollout in rollouts)
    assert (len(coarse), len(best), len(fine)) == (8, 16, 16)
    memory = learner.policy.encode(learner.clips.batch(items))

    def reward(captions):
        return rewarded(learner, captions, items)

    expected, before = 0.0, reward(coarse)
    for stage in (1, 2):
        own = fine[stage - 1 :: 2]
        assert_close(
            stage_log_probs(learner, memory, best[stage - 1 :: 2], stage).detach(),
            rollouts[1].log_probs[stage - 1 :: 2].sum(1),
        )
        advantage = (reward(own) - reward(best[stage - 1 :: 2])) + (reward(own) - before)  # eq. 15
        expected = expected - (advantage * stage_log_probs(learner, memory, own, stage)).mean()
        before = reward(own)
        assert stats[f"stage{stage}_reward"] == pytest.approx(before.mean().item())
    assert_close(loss, expected.to(loss))
    assert loss != 0


def test_a_phase_may_take_one_bracket_of_the_reward_alone(tmp_path):
    losses = {}
    for relative_to in ("both", "greedy", "stage-before"):
        learner = learner_of(tmp_path, PHASE.model_copy(update={"relative_to": relative_to}))
        torch.manual_seed(7)  # the same captions
        losses[relative_to] = learner.loss(0, 0)[0].item()
    assert losses["both"] == pytest.approx(losses["greedy"] + losses["stage-before"])
    assert len(set(losses.values())) == 3


def test_what_the_coarse_stage_says_is_not_taught_but_how_it_serves_the_fine_ones_is(learner):
    learner.loss(0, 0)[0].backward()
    words = learner.policy.heads[0][-1].weight.grad
    assert words is None or (words == 0).all()
    assert learner.policy.coarse.weight_ih.grad.abs().max() > 0


def test_fine_stages_earn_more_by_it(learner, tmp_path):
    before = expected_rewards(learner)
    training = Training(learner, PHASE, tmp_path, seed=1)
    for _ in range(120):
        training.step(log_every=1)
    after = expected_rewards(learner)
    assert after[1] > 2 * before[1]
    assert after[2] > 2 * before[2]


def test_greedy_captions_are_written_without_dropout_and_samples_with_it(learner):
    modes = []

    def asked(how):
        return lambda policy, *arguments: modes.append((how.__name__, policy.training)) or how(policy, *arguments)

    learner.policy.train()
    with mock.patch.object(stagewise, "sample", asked(sample)), mock.patch.object(stagewise, "greedy", asked(greedy)):
        learner.loss(0, 0)
    assert modes == [("sample", True), ("greedy", False), ("sample", True)]
    assert learner.policy.training
