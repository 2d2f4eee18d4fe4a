"""HRL's phases: the critic first, then worker and manager together, then in turns."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import CORPUS, World, tiny_paper
from torch import Tensor

from captionrl.config import HRLPhase
from captionrl.datasets.segment import segment
from captionrl.datasets.segments import write_segments
from captionrl.errors import UserError
from captionrl.models.hrl import HRL
from captionrl.rewards import Bleu
from captionrl.training.checkpoint import load_checkpoint
from captionrl.training.data import Data, FeatureBatches
from captionrl.training.learners import hrl as learners
from captionrl.training.learners.hrl import HRLLearner
from captionrl.training.loop import Training


def rows(checkpoint: Path, kind: str) -> list[dict]:
    lines = checkpoint.with_suffix(".metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


def weights(policy: HRL, part: str) -> dict[str, Tensor]:
    """A copy of the manager's, the critic's or the worker's weights."""

    def owner(name: str) -> str:
        first = name.split(".")[0]
        return first if first in ("manager", "boundary_critic") else "worker"

    return {name: tensor.clone() for name, tensor in policy.state_dict().items() if owner(name) == part}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> list[str]:
    return [name for name in before if not torch.equal(before[name], after[name])]


def phase_with(**changes: object) -> HRLPhase:
    phase = tiny_paper({"phases": {"hrl": changes}}).phase_of("hrl", CORPUS)
    assert isinstance(phase, HRLPhase)
    return phase


def learner_of(world: World, warm: Path, phase: HRLPhase) -> HRLLearner:
    policy, metadata = load_checkpoint(warm)
    captions, vocabulary, store = world.load()
    cpu = torch.device("cpu")
    data = Data(captions, vocabulary, metadata.corpus_settings.max_words, cpu, FeatureBatches(store, 5, cpu))
    return HRLLearner(policy, data, phase, seed=1)


class TestTurns:
    PHASE = phase_with(worker_updates=2, manager_updates=1, baseline_warmup=0, optimiser="adam")

    def test_each_changes_only_in_its_own_turn_and_the_critic_never(self, world, warm, tmp_path):
        learner = learner_of(world, warm, self.PHASE)
        training = Training(learner, self.PHASE, tmp_path, seed=1)
        critic = weights(learner.policy, "boundary_critic")
        for update in range(9):  # Adam's momentum of the last turn must not move anything in the next
            before = {part: weights(learner.policy, part) for part in ("worker", "manager")}
            training.step(log_every=100)
            moved = {part: changed(before[part], weights(learner.policy, part)) for part in before}
            if update % 3 < 2:
                assert moved["manager"] == []
                assert len(moved["worker"]) == len(before["worker"])
            else:
                assert moved["worker"] == []
                assert len(moved["manager"]) == len(before["manager"])
            assert changed(critic, weights(learner.policy, "boundary_critic")) == []

    def test_in_the_baselines_warm_up_nothing_but_they_learn(self, world, warm, tmp_path):
        phase = self.PHASE.model_copy(update={"baseline_warmup": 6})
        learner = learner_of(world, warm, phase)
        training = Training(learner, phase, tmp_path, seed=1)
        before = {name: tensor.clone() for name, tensor in learner.module.state_dict().items()}
        for _ in range(6):
            training.step(log_every=100)
        moved = changed(before, learner.module.state_dict())
        assert moved
        assert {name.split(".")[0] for name in moved} == {"worker_baseline", "manager_baseline"}

    def test_the_manager_has_its_own_share_of_the_learning_rate(self, world, warm, tmp_path):
        phase = self.PHASE.model_copy(update={"manager_rate": 0.25, "lr_schedule": "linear", "learning_rate": 0.01})
        learner = learner_of(world, warm, phase)
        training = Training(learner, phase, tmp_path, seed=1)
        groups = training.optimiser.param_groups
        assert [group["lr"] for group in groups] == pytest.approx([0.01, 0.0025])
        assert {id(p) for p in groups[1]["params"]} == {id(p) for p in learner.policy.manager.parameters()}
        everything = [p for group in groups for p in group["params"]]
        assert len(everything) == len({id(p) for p in everything}) == len(list(learner.module.parameters()))
        for _ in range(2):
            training.step(log_every=100)
        left = 1 - 1 / training.total
        assert [group["lr"] for group in groups] == pytest.approx([0.01 * left, 0.0025 * left])

    def test_the_worker_explores_no_goals_and_the_manager_no_words(self, world, warm, monkeypatch):
        learner = learner_of(world, warm, self.PHASE)
        asked = []
        for name in ("sample", "greedy"):
            original = getattr(learners, name)

            def recorded(policy, memory, most, state=None, name=name, original=original):
                asked.append((name, state is not None and state.noise is not None))
                return original(policy, memory, most, *([] if state is None else [state]))

            monkeypatch.setattr(learners, name, recorded)
        learner.module.train()
        for index in range(3):
            learner.loss(0, index)
        assert asked == [("sample", False), ("sample", False), ("greedy", True)]

    def test_noise_falls_from_its_first_to_its_last_scale(self, world, warm, monkeypatch):
        phase = self.PHASE.model_copy(update={"noise": 0.8, "noise_end": 0.2, "epochs": 4, "worker_updates": 1})
        learner = learner_of(world, warm, phase)
        spreads = []
        start = learner.policy.start

        def recorded(memory, noise=None, detach_segments=False):
            if noise is not None:
                spreads.append(noise.std().item())
            return start(memory, noise)

        monkeypatch.setattr(learner.policy, "start", recorded)
        assert learner.updates == 24
        updates = (1, 13, 23)  # of the manager's
        for update in updates:
            learner.loss(*divmod(update, learner.batches))
        assert spreads == pytest.approx([0.8 - 0.6 * update / 24 for update in updates], rel=0.1)


def test_the_reward_is_the_one_that_is_named(world, warm):
    learner = learner_of(world, warm, phase_with(reward="BLEU-4"))
    (reward,) = learner.reward.rewards
    assert isinstance(reward.metric, Bleu)
    learner.module.train()
    loss, statistics = learner.loss(0, 0)
    loss.backward()
    assert 0 < statistics["sample_reward"] < 1


def test_the_critic_learns_the_boundaries(critic):
    scores = [row["boundary_f1"] for row in rows(critic, "validation")]
    assert max(scores) > 90 > scores[0]


def test_hrl_starts_around_the_critic_and_keeps_it_to_the_end(world, critic, warm, tmp_path):
    out = world.train("hrl-16", "hrl", tmp_path / "hrl.safetensors", start=warm)
    trained = load_file(critic)
    for checkpoint in (warm, out):
        inside = load_file(checkpoint)
        assert all(torch.equal(inside[f"boundary_critic.{name}"], tensor) for name, tensor in trained.items())
    kinds = {key for row in rows(out, "train") for key in row}
    assert {"sample_reward", "reward_with_noise", "segments", "worker_loss", "manager_loss"} <= kinds


def test_true_boundaries_can_hold_under_teacher_forcing(world, critic, tmp_path):
    truth = {"phases": {"xe-warm": {"boundaries": "truth", "scheduled_sampling": {"max_probability": 0}, "epochs": 1}}}
    ours = {
        "phases": {"xe-warm": {"boundaries": "predicted", "scheduled_sampling": {"max_probability": 0}, "epochs": 1}}
    }
    every_word = segment(world.load()[0].tokens, "shallow")
    for captions in every_word.boundary.values():
        captions[:] = [[True] * len(caption) for caption in captions]
    write_segments(tmp_path / "every_word.parquet", every_word)
    files = [
        world.train(
            "hrl-16-warm", "xe-warm", tmp_path / f"{name}.safetensors", overrides,
            start=critic, segments=tmp_path / "every_word.parquet",
        )
        for name, overrides in (("truth", truth), ("critic", ours))
    ]  # fmt: skip
    assert rows(files[0], "train")[-1]["loss"] != rows(files[1], "train")[-1]["loss"]
    with pytest.raises(UserError, match="cannot be trained without --segments"):
        world.train("hrl-16-warm", "xe-warm", tmp_path / "a.safetensors", truth, start=critic, segments=None)


def test_what_a_phase_cannot_do_without_is_named(world, critic, tmp_path):
    with pytest.raises(UserError, match=r"boundary-critic/boundary-critic: cannot be trained without --segments"):
        world.train("boundary-critic", "boundary-critic", tmp_path / "a.safetensors", segments=None, features=None)
    with pytest.raises(UserError, match=r"xe-baseline/xe: cannot be trained without --features"):
        world.train("xe-baseline", "xe", tmp_path / "a.safetensors", features=None)


def test_hrl_starts_from_a_critic_of_its_own_words_and_width_only(world, critic, tmp_path):
    wider = {"corpora": {"msrvtt": {"sizes": {"boundary_critic": 9}}}}
    with pytest.raises(UserError, match=r"seed1\.safetensors: another model or vocabulary"):
        world.train("hrl-16-warm", "xe-warm", tmp_path / "a.safetensors", wider, start=critic)


def test_a_critic_writes_no_captions(critic):
    with pytest.raises(UserError, match="boundary critic, which writes no captions"):
        load_checkpoint(critic)
