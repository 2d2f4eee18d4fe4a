"""HRL's phases: the critic first, then worker and manager together, then in turns."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import CORPUS, World, tiny_paper
from torch import Tensor
from toy import rewarded

from captionrl.config import HRLPhase
from captionrl.datasets.segment import segment
from captionrl.datasets.segments import write_segments
from captionrl.decoding.rollout import greedy
from captionrl.errors import UserError
from captionrl.models.hrl import HRL
from captionrl.objectives.hrl import worker_loss
from captionrl.rewards import Bleu
from captionrl.training.checkpoint import load_beside, load_checkpoint, save_checkpoint
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

    def test_in_the_warm_up_of_each_part_its_baseline_learns_alone(self, world, warm, tmp_path):
        """Turns of a part are counted: with 3, the worker learns from update 4 on, the manager from update 11 on."""
        phase = self.PHASE.model_copy(update={"baseline_warmup": 3})
        learner = learner_of(world, warm, phase)
        training = Training(learner, phase, tmp_path, seed=1)
        learning = []
        for update in range(12):
            part = "manager" if update % 3 == 2 else "worker"
            before = {name: tensor.clone() for name, tensor in learner.module.state_dict().items()}
            training.step(log_every=100)
            moved = {name.split(".")[0] for name in changed(before, learner.module.state_dict())}
            assert moved - {"policy"} == {f"{part}_baseline"}
            learning.append("policy" in moved)
        manager = [False, False, False, True]
        worker = [False, False, False, True, True, True, True, True]
        assert learning[2::3] == manager
        assert [each for update, each in enumerate(learning) if update % 3 < 2] == worker

    def test_in_the_warm_up_the_optimiser_learns_nothing_of_the_policy(self, world, warm, tmp_path):
        """No moments: gradients of zero would leave Adam's second ones too small for the first steps afterwards."""
        phase = self.PHASE.model_copy(update={"baseline_warmup": 3})
        learner = learner_of(world, warm, phase)
        training = Training(learner, phase, tmp_path, seed=1)
        for _ in range(3):
            training.step(log_every=100)
        assert all(parameter.grad is None for parameter in learner.policy.parameters())
        assert not any(parameter in training.optimiser.state for parameter in learner.policy.parameters())
        assert all(parameter in training.optimiser.state for parameter in learner.baselines.parameters())

    def test_manager_and_baselines_have_their_own_shares_of_the_learning_rate(self, world, warm, tmp_path):
        changes = {"manager_rate": 0.25, "baseline_rate": 25, "lr_schedule": "linear", "learning_rate": 0.01}
        phase = self.PHASE.model_copy(update=changes)
        learner = learner_of(world, warm, phase)
        training = Training(learner, phase, tmp_path, seed=1)
        groups = training.optimiser.param_groups
        assert [group["lr"] for group in groups] == pytest.approx([0.01, 0.0025, 0.25])
        assert {id(p) for p in groups[1]["params"]} == {id(p) for p in learner.policy.manager.parameters()}
        baselines = [*learner.worker_baseline.parameters(), *learner.manager_baseline.parameters()]
        assert {id(p) for p in groups[2]["params"]} == {id(p) for p in baselines}
        everything = [p for group in groups for p in group["params"]]
        assert len(everything) == len({id(p) for p in everything}) == len(list(learner.module.parameters()))
        for _ in range(2):
            training.step(log_every=100)
        left = 1 - 1 / training.total
        assert [group["lr"] for group in groups] == pytest.approx([0.01 * left, 0.0025 * left, 0.25 * left])

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

    def test_either_part_may_learn_alone(self, world, warm, tmp_path):
        for part, changes in (("worker", {"manager_updates": 0}), ("manager", {"worker_updates": 0})):
            phase = self.PHASE.model_copy(update={**changes, "baseline_warmup": 1})
            learner = learner_of(world, warm, phase)
            training = Training(learner, phase, tmp_path / part, seed=1)
            before = {each: weights(learner.policy, each) for each in ("worker", "manager")}
            for _ in range(2):
                training.step(log_every=100)
            assert [each for each in before if changed(before[each], weights(learner.policy, each))] == [part]

    def test_that_nobody_learns_is_an_error(self):
        with pytest.raises(UserError, match="worker_updates, manager_updates: with both 0 nobody learns; set one of"):
            phase_with(worker_updates=0, manager_updates=0)

    def noise_of_update(self, learner: HRLLearner, monkeypatch) -> tuple[Tensor, dict[str, float]]:
        """The noise of the manager's first update after this seed, and the update's statistics."""
        found, start = [], learner.policy.start

        def recorded(memory, noise=None, detach_segments=False):
            found.append(noise)
            return start(memory, noise, detach_segments)

        monkeypatch.setattr(learner.policy, "start", recorded)
        learner.module.train()
        torch.manual_seed(3)
        _, statistics = learner.loss(0, 2)
        return found[-1], statistics

    @pytest.mark.parametrize("noise", [0.5, 2.0])
    def test_noise_is_in_standard_deviations_of_the_goals_or_in_absolute_numbers(self, world, warm, monkeypatch, noise):
        drawn = {}
        for scale in ("absolute", "goals"):
            changes = {"noise": noise, "noise_end": noise, "noise_scale": scale}
            learner = learner_of(world, warm, self.PHASE.model_copy(update=changes))
            with torch.no_grad():
                learner.policy.manager.goal.weight *= 300  # this warm start has about the same goals for all clips
            drawn[scale], statistics = self.noise_of_update(learner, monkeypatch)
        torch.manual_seed(3)
        assert torch.equal(drawn["absolute"], noise * torch.randn(drawn["absolute"].shape))
        learner.policy.eval()
        memory = learner.policy.encode(learner.clips.batch(learner.pairs.batch(0, 2)[0]))
        goals = greedy(learner.policy, memory, 1).extras.goal[:, 0]
        std = (goals - goals.mean(0)).square().mean(0).sqrt().mean()  # of the first goals over clips
        assert std > 0.01
        assert statistics["goal_std"] == pytest.approx(std.item())
        torch.testing.assert_close(drawn["goals"], drawn["absolute"] * std)

    def test_a_batch_of_one_clip_has_no_spread_of_goals_and_so_no_noise(self, world, warm, monkeypatch):
        phase = self.PHASE.model_copy(update={"noise_scale": "goals", "batch": 1})
        noise, statistics = self.noise_of_update(learner_of(world, warm, phase), monkeypatch)
        assert (noise == 0).all()
        assert statistics["goal_std"] == 0

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


class TestSamples:
    """Several captions of each clip in the worker's updates."""

    @pytest.fixture(params=["linear", "leave-one-out"])
    def learner(self, request, world, warm) -> HRLLearner:
        return learner_of(world, warm, phase_with(samples=3, baseline=request.param, baseline_warmup=1))

    def test_a_clip_is_encoded_once_and_each_caption_is_rewarded_by_its_own_clips_captions(self, learner, monkeypatch):
        encoded, given = [], []
        encode = learner.policy.encode
        monkeypatch.setattr(learner.policy, "encode", lambda clips: encoded.append(len(clips.frames)) or encode(clips))

        def recorded(rollout, rewards, baseline, discount, samples):
            given.append((rollout, rewards))
            return worker_loss(rollout, rewards, baseline, discount, samples)

        monkeypatch.setattr(learners, "worker_loss", recorded)
        learner.module.train()
        _, statistics = learner.loss(0, 1)
        ((rollout, deltas),) = given
        items = learner.pairs.batch(0, 1)[0]
        assert encoded == [8]
        assert len(rollout.tokens) == 3 * 8
        alone = [rewarded(learner, rollout.tokens[row : row + 1], [items[row // 3]]) for row in range(24)]
        torch.testing.assert_close(deltas.sum(1), torch.cat(alone), atol=1e-5, rtol=1e-5)
        assert statistics["sample_reward"] == pytest.approx(torch.cat(alone).mean().item(), abs=1e-5)

    def test_samples_that_are_each_others_baseline_need_no_warm_up(self, learner, tmp_path):
        linear = learner.phase.baseline == "linear"
        training = Training(learner, learner.phase, tmp_path, seed=1)
        before = weights(learner.policy, "worker")
        training.step(log_every=100)
        assert bool(changed(before, weights(learner.policy, "worker"))) == (not linear)
        assert ("worker_baseline" in learner.module) == linear

    def test_one_sample_cannot_leave_itself_out(self):
        with pytest.raises(UserError, match="baseline: leave-one-out is the mean return of a clip's other samples"):
            phase_with(baseline="leave-one-out")


@pytest.mark.parametrize(("part", "turn"), [("worker", 0), ("manager", 2)])
def test_the_log_says_how_much_of_the_returns_baselines_explain(world, warm, monkeypatch, part, turn):
    """Over all words of the worker's captions, and the first word of each of the manager's segments."""
    learner, found = learner_of(world, warm, TestTurns.PHASE), []
    for baseline in learner.baselines.values():
        torch.nn.init.normal_(baseline.regressor.weight)
    original = getattr(learners, f"{part}_loss")

    def recorded(rollout, *given):
        learned = original(rollout, *given)
        found.extend([rollout, learned.expected.detach(), learned.returns])
        return learned

    monkeypatch.setattr(learners, f"{part}_loss", recorded)
    learner.module.train()
    _, statistics = learner.loss(0, turn)
    rollout, expected, returns = found
    places = rollout.mask if part == "worker" else rollout.extras.segment_start
    error, spread = (returns - expected)[places].square().mean().item(), returns[places].numpy().var()
    assert statistics[f"{part}_baseline_explained"] == pytest.approx(1 - error / spread, rel=1e-4)


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


def test_the_next_phase_goes_on_with_the_baselines(world, warm, tmp_path):
    trained = {
        f"{part}_baseline.regressor.{name}": torch.rand(shape)
        for part, width in (("worker", 16), ("manager", 6))
        for name, shape in (("weight", (1, width)), ("bias", (1,)))
    }
    first = tmp_path / "first.safetensors"
    save_checkpoint(first, *load_checkpoint(warm), trained)
    still = {"phases": {"hrl": {"learning_rate": 1e-30, "epochs": 0.1}}}
    beside = load_beside(world.train("hrl-16", "hrl", tmp_path / "next.safetensors", still, start=first))
    assert beside.keys() == trained.keys()
    assert all(torch.equal(beside[name], tensor) for name, tensor in trained.items())
    assert not load_beside(warm)


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
