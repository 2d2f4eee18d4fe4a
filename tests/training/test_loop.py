"""The training loop, on a learner whose validation scores are given in advance."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

from captionrl.config import XEPhase
from captionrl.device import pick_device
from captionrl.errors import UserError
from captionrl.training.loop import ParameterGroups, Training
from captionrl.training.loop import train as train_loop
from captionrl.training.optimiser import make_optimiser

BATCHES = 4
PHASE = {"objective": "xe", "optimiser": "adam", "learning_rate": 0.1}


class Scripted:
    """One weight that every update moves, and the scores it is to get, one a validation."""

    batches = BATCHES
    metric = "score"

    def __init__(self, scores: Sequence[float], scale: float = 1.0) -> None:
        self.module: nn.Module = nn.Linear(1, 1, bias=False)
        self.scores, self.scale = list(scores), scale
        self.batches_seen: list[tuple[int, int]] = []
        self.validated: list[float] = []  # the weight at each validation
        self.modes: set[tuple[str, bool, bool]] = set()

    def parameter_groups(self) -> ParameterGroups:
        return [(list(self.module.parameters()), 1.0)]

    def loss(self, epoch: int, index: int) -> tuple[torch.Tensor, dict[str, float]]:
        self.modes.add(("loss", self.module.training, torch.is_grad_enabled()))
        self.batches_seen.append((epoch, index))
        return self.scale * self.module.weight.sum(), {"loss": float(len(self.batches_seen))}

    def validate(self) -> dict[str, float]:
        self.modes.add(("validate", self.module.training, torch.is_grad_enabled()))
        self.validated.append(self.module.weight.item())
        return {"score": self.scores[len(self.validated) - 1], "other": -1.0}


@pytest.fixture
def train(tmp_path):
    """Train a learner with a phase's `settings`; its history."""

    def train(learner: Scripted, **settings: Any) -> list[dict[str, Any]]:
        phase = XEPhase(**PHASE | settings)
        return train_loop(learner, phase, tmp_path, seed=1, title="test")

    return train


def rates(history: list[dict[str, Any]], kind: str) -> list[float]:
    return [row["learning_rate"] for row in history if row["kind"] == kind]


@pytest.mark.parametrize(
    ("scores", "best"), [([1, 2, 5, 4, 3], 2), ([9, 2, 5, 4, 3], 0), ([1, 2, 3, 4, 5], 4), ([1, 5, 2, 5, 5], 1)]
)
def test_the_weights_that_scored_best_are_left_in_the_module(train, scores, best):
    learner = Scripted(scores)
    train(learner, epochs=4)
    assert len(set(learner.validated)) == 5
    assert learner.module.weight.item() == learner.validated[best]


def test_every_batch_of_every_epoch_is_seen_once_in_order(train):
    learner = Scripted([0] * 4)
    train(learner, epochs=2.5)
    assert learner.batches_seen == [divmod(update, BATCHES) for update in range(10)]


@pytest.mark.parametrize(
    ("epochs", "every", "updates"),
    [(2, 1, [0, 4, 8]), (1, 0.5, [0, 2, 4]), (1.5, 1, [0, 4, 6]), (0.3, 0.01, [0, 1, 2])],
)
def test_validation_comes_first_and_last_and_every_so_often(train, epochs, every, updates):
    history = train(Scripted([0] * 9), epochs=epochs, validate_every=every)
    rows = [row for row in history if row["kind"] == "validation"]
    assert [row["update"] for row in rows] == updates
    assert [row["epoch"] for row in rows] == [update / BATCHES for update in updates]
    assert rows[0] | {"seconds": 0} == {
        "kind": "validation", "update": 0, "epoch": 0, "learning_rate": 0.1, "seconds": 0, "score": 0, "other": -1
    }  # fmt: skip


def test_learning_is_in_training_mode_and_validating_is_not(train):
    learner = Scripted([0] * 3)
    train(learner, epochs=2)
    assert learner.modes == {("loss", True, True), ("validate", False, False)}


@pytest.mark.parametrize(
    ("scores", "wait", "validations"),
    [([0, 5, 4, 5, 3, 9], 3, 5), ([0, 5, 4, 6, 5, 5, 9], 2, 6), ([9, 1, 2, 3], 2, 3), ([0, 1, 2, 3, 4], 1, 5)],
)
def test_a_phase_ends_after_so_many_validations_without_a_new_best(tmp_path, scores, wait, validations):
    """A tie is none; and it stays ended when it is resumed."""
    phase = XEPhase(**PHASE, epochs=len(scores) - 1, early_stopping=wait)
    learner = Scripted(scores)
    for _ in range(2):
        history = train_loop(learner, phase, tmp_path, seed=1, title="test")
        assert [row["score"] for row in history if row["kind"] == "validation"] == scores[:validations]
        assert len(learner.batches_seen) == BATCHES * (validations - 1)
        assert learner.module.weight.item() == learner.validated[scores.index(max(scores[:validations]))]


@pytest.mark.parametrize(
    ("scores", "since"),
    [
        ([10, 8, 8, 8, 8, 8, 8, 8, 8], 1),
        ([10, 8, 9.5, 8, 8, 9.5, 8, 8, 8], 6),  # recovered in between
        ([10, 9.5, 9.1, 9, 9, 9, 9, 9, 9], None),  # by a tenth, not more
        ([10, 8, 8, 11, 11, 11, 11, 11, 11], None),  # for less than a quarter of the phase
        ([0, 0, 0, 0, 0, 0, 0, 0, 0], None),
    ],
)
def test_a_lasting_fall_below_the_start_is_said_once(train, capsys, scores, since):
    train(Scripted(scores), epochs=8)
    said = [line for line in capsys.readouterr().err.splitlines() if "Likely causes" in line]
    start = "test: score is 8.0, and since update {} has been more than a tenth below the start, 10.0. Likely causes: "
    assert len(said) == (since is not None)
    assert all(line.startswith(start.format(BATCHES * since)) for line in said)


def test_the_rate_halves_after_so_many_validations_without_a_new_best(train):
    scores = [0, 5, 4, 5, 5, 3, 6, 6, 6, 6, 7]  # a tie is no new best
    history = train(Scripted(scores), epochs=10, lr_schedule="plateau", lr_patience=3)
    halvings = [0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2]
    assert rates(history, "validation") == [0.1 / 2**n for n in halvings]


def test_the_rate_halves_again_after_as_many_more(train):
    history = train(Scripted([0, 5, 4, 4, 4, 4, 4]), epochs=6, lr_schedule="plateau", lr_patience=2)
    assert rates(history, "validation") == [0.1 / 2**n for n in (0, 0, 0, 1, 1, 2, 2)]


def test_the_score_before_the_first_update_is_a_best_too(train):
    """A phase that starts from a good checkpoint and falls behind it has no new best, even while it recovers."""
    history = train(Scripted([9, 1, 2, 3, 4]), epochs=4, lr_schedule="plateau", lr_patience=3)
    assert rates(history, "validation") == [0.1, 0.1, 0.1, 0.05, 0.05]


def test_without_halve_after_the_rate_stays(train):
    assert set(rates(train(Scripted([5] + [1] * 30), epochs=30), "validation")) == {0.1}


def test_an_annealed_rate_falls_linearly_to_zero(train):
    learner = Scripted([5, 1, 1])
    history = train(learner, epochs=2, lr_schedule="linear")
    assert rates(history, "train") == pytest.approx([0.1 * (1 - update / 8) for update in range(8)])


@pytest.mark.parametrize("every", [2, 0.5, 1.5])
def test_a_decaying_rate_falls_by_a_factor_after_every_so_many_epochs(train, every):
    history = train(Scripted([5] + [1] * 7), epochs=7, lr_schedule="step", lr_step={"factor": 0.9, "every": every})
    expected = [0.1 * 0.9 ** math.floor(update / BATCHES / every) for update in range(7 * BATCHES)]
    assert rates(history, "train") == pytest.approx(expected)
    assert len(set(expected)) > 3


def test_gradients_are_clipped_by_value(tmp_path):
    for scale, gradient in ((1e6, 2.0), (-1e6, -2.0), (0.5, 0.5)):
        learner = Scripted([0, 0], scale)
        training = Training(learner, XEPhase(**PHASE, epochs=1, clip=2), tmp_path, seed=1)
        training.step(log_every=1)
        assert learner.module.weight.grad.item() == gradient


def test_logged_statistics_are_means_since_the_last_row(train):
    learner = Scripted([0, 0])
    learner.batches = 40
    history = train(learner, epochs=1)  # ten rows between two validations
    rows = [row for row in history if row["kind"] == "train"]
    assert [row["update"] for row in rows] == list(range(4, 41, 4))
    assert [row["loss"] for row in rows] == [update - 1.5 for update in range(4, 41, 4)]


def test_a_training_that_diverges_says_where_and_what_to_mend(train):
    learner = Scripted([0, 0])
    learner.batches, learner.scale = 3, float("nan")
    with pytest.raises(UserError, match=r"update 1: the loss is nan, .* lower learning_rate"):
        train(learner, epochs=1)


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, [1, 2, 3, 4, 4]), (60.0, [1, 4])])
def test_a_hundredth_of_the_time_may_go_into_saving(train, monkeypatch, seconds, expected):
    saves: list[int] = []
    monkeypatch.setattr(Training, "save", lambda self: saves.append(self.progress.update) or seconds)
    train(Scripted([0] * 9), epochs=1)
    assert saves == expected


def test_the_cpu_has_as_many_threads_as_the_rule_says(monkeypatch):
    for variable, expected in (("2", 2), ("1", 1), ("", 1)):
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
        assert pick_device("cpu") == torch.device("cpu")
        assert torch.get_num_threads() == expected


def test_the_norm_of_all_gradients_is_clipped_after_their_values(tmp_path):
    for scale, settings, gradient in ((1e6, {"clip_norm": 3}, 3.0), (1e6, {"clip": 2, "clip_norm": 3}, 2.0)):
        learner = Scripted([0, 0], scale)
        Training(learner, XEPhase(**PHASE, epochs=1, **settings), tmp_path, seed=1).step(log_every=1)
        assert learner.module.weight.grad.item() == pytest.approx(gradient, rel=1e-5)


SCHEDULES = {
    "constant": ({}, lambda update: 1),
    "linear": ({}, lambda update: 1 - update / 16),
    "cosine": ({}, lambda update: (1 + math.cos(math.pi * update / 16)) / 2),
    "step": ({"lr_step": {"factor": 0.5, "every": 1}}, lambda update: 0.5 ** (update // BATCHES)),
    # Validations after 0, 4, 8, 12 updates, of which the first is the best:
    "plateau": ({"lr_patience": 1}, lambda update: 0.5 ** (update // BATCHES)),
}


@pytest.mark.parametrize("warmup", [0, 0.1, 0.5, 1.5, 9])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warm_up_multiplies_every_schedule_by_a_line_from_zero(train, schedule, warmup):
    settings, share = SCHEDULES[schedule]
    history = train(Scripted([5, 1, 1, 1, 1]), epochs=4, lr_schedule=schedule, warmup=warmup, **settings)
    updates = warmup * BATCHES
    warm = [min(1, (update + 1) / updates) if updates else 1 for update in range(16)]
    assert rates(history, "train") == pytest.approx([0.1 * share(u) * warm[u] for u in range(16)])
    assert rates(history, "validation")[0] == pytest.approx(0.1 * warm[0])


def test_a_weight_decays_by_adamw_alone(tmp_path):
    """Decoupled: by learning rate times weight decay, whatever the gradient."""
    after = []
    for decay in (0, 0.5):
        learner = Scripted([0, 0])
        learner.module.weight.data.fill_(2.0)
        phase = XEPhase(**PHASE | {"optimiser": "adamw"}, epochs=1, weight_decay=decay)
        Training(learner, phase, tmp_path, seed=1).step(log_every=1)
        after.append(learner.module.weight.item())
    assert after[0] - after[1] == pytest.approx(0.1 * 0.5 * 2)


def test_adamw_decays_matrices_and_kernels_but_no_embeddings_biases_and_norms():
    module = nn.ModuleDict(
        {
            "words": nn.Embedding(5, 4),
            "linear": nn.Linear(4, 4),
            "norm": nn.LayerNorm(4),
            "conv": nn.Conv1d(4, 4, 3),
            "lstm": nn.LSTM(4, 4),
        }
    )
    module["tied"] = nn.Linear(4, 5)
    module["tied"].weight = module["words"].weight
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    half = len(names) // 2
    groups = [(list(module.parameters())[:half], 1.0), (list(module.parameters())[half:], 0.1)]
    phase = XEPhase(**PHASE | {"optimiser": "adamw"}, epochs=1, weight_decay=0.5)
    optimiser = make_optimiser(module, groups, phase)
    found = [(names[id(p)], g["weight_decay"], g["lr"]) for g in optimiser.param_groups for p in g["params"]]
    assert {name for name, decay, _ in found if decay == 0.5} == {
        "linear.weight",
        "conv.weight",
        "lstm.weight_ih_l0",
        "lstm.weight_hh_l0",
    }
    assert sorted(name for name, *_ in found) == sorted(names.values())  # each once
    expected = {names[id(p)]: 0.1 * share for parameters, share in groups for p in parameters}
    assert {name: rate for name, _, rate in found} == pytest.approx(expected)


def test_only_adamw_takes_a_weight_decay():
    with pytest.raises(ValueError, match="weight_decay: only adamw has it; set optimiser: adamw, or take it out"):
        XEPhase(**PHASE, epochs=1, weight_decay=0.1)
