"""Every captioner keeps the decoder protocol, and each check of it finds what it is about."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from toy import MAX_TOKENS, batch, toy_clips, toy_policy

from captionrl import config
from captionrl.config import Sizes
from captionrl.decoding.beam import beam_search
from captionrl.decoding.lookahead import look_ahead
from captionrl.decoding.rollout import greedy, sample
from captionrl.errors import UserError
from captionrl.models import Extras, Policy, TensorBatch
from captionrl.models.layers import mean_frame
from captionrl.objectives.xe import xe_loss
from captionrl.testing import CAPTIONS, CHECKS, check_model, toy_model
from captionrl.text.vocabulary import EOS, PAD


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_captioner_keeps_the_protocol(policy, check):
    check(policy)


@dataclass(frozen=True)
class State(TensorBatch):
    hidden: torch.Tensor  # [B, H]


class Plain(Policy[State, State]):
    """A captioner of a few lines, of a user's own; those below break one rule each."""

    class Sizes(Sizes):
        width: int = 8
        dropout: float = 0.1

    def __init__(self, features, vocabulary, sizes):
        super().__init__()
        self.project = torch.nn.Linear(features, sizes.width)
        self.embedding = torch.nn.Embedding(vocabulary, sizes.width)
        self.cell = torch.nn.GRUCell(sizes.width, sizes.width)
        self.head = torch.nn.Sequential(torch.nn.Dropout(sizes.dropout), torch.nn.Linear(sizes.width, vocabulary))

    def encode(self, features):
        return State(self.project(mean_frame(features.frames, features.mask)))

    def start(self, memory):
        return memory

    def advance(self, embedded, state, memory):
        hidden = self.cell(embedded, state.hidden)
        return Extras(hidden), State(hidden)


class ReadsPadding(Plain):
    def encode(self, features):
        return State(self.project(features.frames.mean(1)))


class SeesCompanions(Plain):
    def advance(self, embedded, state, memory):
        return super().advance(embedded - embedded.mean(0), state, memory)


class Counts(Plain):
    """Its words depend on how often it has been called, which beam search cannot re-order."""

    def start(self, memory):
        self.position = 0
        return memory

    def advance(self, embedded, state, memory):
        self.position += 1
        return super().advance(embedded * self.position ** len(embedded), state, memory)


@dataclass(frozen=True)
class NumberedState(State):
    position: int = 0


class NumberInState(Plain):
    def start(self, memory):
        return NumberedState(memory.hidden)


@dataclass(frozen=True)
class Prefix(State):
    words: torch.Tensor  # [B, t]


class GrowingExtras(Plain):
    def start(self, memory):
        return Prefix(memory.hidden, memory.hidden.new_zeros(len(memory.hidden), 0))

    def advance(self, embedded, state, memory):
        extras, after = super().advance(embedded, state, memory)
        words = torch.cat([state.words, embedded[:, :1]], 1)
        return Extras(extras.hidden, words), Prefix(after.hidden, words)


class Random(Plain):
    def advance(self, embedded, state, memory):
        return super().advance(embedded + torch.randn_like(embedded), state, memory)


class AheadOfItself(Plain):
    def teacher_forced_hidden(self, tokens, memory, boundaries=None):
        hidden, places = super().teacher_forced_hidden(tokens, memory, boundaries)
        return hidden, places.flip(0)


class KeepsSomethingBeside(Plain):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.beside = torch.randn(8, dtype=torch.float64)

    def advance(self, embedded, state, memory):
        return super().advance(embedded + self.beside.to(embedded), state, memory)


class Tied(Plain):
    """Its words' vectors are read and written by."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.head[-1].weight = self.embedding.weight


class Squashed(Plain):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.head.append(torch.nn.Tanh())


def test_sharpened_the_logits_of_every_stage_are_divided(policy):
    memory = policy.encode(batch(toy_clips(4, 2)))
    tokens = torch.tensor([[4, 5, EOS], [6, EOS, PAD]])
    hidden, _ = policy.teacher_forced_hidden(tokens, memory)
    before = policy.predictions(hidden)
    policy.sharpen(0.5)
    assert len(before) == policy.decoder_stages
    for old, new in zip(before, policy.predictions(hidden), strict=True):
        torch.testing.assert_close(new, 2 * old)


@pytest.mark.parametrize("model", [Tied, Squashed])
def test_logits_that_cannot_be_divided_without_side_effects_are_refused(model):
    with pytest.raises(UserError, match=f"the logits of {model.__name__} do not come from a linear layer of their own"):
        model(3, 7, Plain.Sizes()).sharpen(0.5)


def faults(model, **sizes):
    return {what: fault for what, fault in check_model(f"{__name__}:{model}", sizes) if fault}


def test_a_captioner_of_a_few_lines_passes():
    assert faults("Plain") == faults("Plain", width=5) == {}


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("ReadsPadding", "padding and companions change nothing"),
        ("ReadsPadding", "padded frames are not read"),
        ("SeesCompanions", "padding and companions change nothing"),
        ("SeesCompanions", "rows may be reordered"),
        ("SeesCompanions", "every word of a batch counts as it does alone"),
        ("Counts", "a beam that is wide enough equals exhaustive search"),
        ("NumberInState", "records are of tensors that rows select"),
        ("GrowingExtras", "extras keep their shape"),
        ("Random", "evaluation is deterministic"),
        ("AheadOfItself", "stepping equals teacher forcing"),
        ("AheadOfItself", "rollouts have the probabilities of teacher forcing"),
        ("KeepsSomethingBeside", "weights are all that a checkpoint needs"),
    ],
)
def test_a_broken_rule_is_found(model, found):
    assert found in faults(model)


def test_a_fault_names_the_line_of_the_users_own_code(monkeypatch):
    monkeypatch.chdir(Path(__file__).parent)
    monkeypatch.setattr(Plain, "advance", lambda self, embedded, state, memory: 1 / 0)
    line = 1 + next(row for row, text in enumerate(Path(__file__).read_text().splitlines()) if "1 / 0" in text)
    fault = faults("Plain")["rows may be reordered"]
    assert fault == f"ZeroDivisionError at {__file__}:{line}: division by zero"


@pytest.mark.parametrize(
    ("model", "sizes", "message"),
    [
        ("transformer", {}, "transformer: no model is called so; give the MODULE:NAME of one of yours"),
        ("absent_module:T", {}, "absent_module:T: no module absent_module; write absent_module.py in"),
        (f"{__name__}:State", {}, "test_protocol:State: is no Policy; derive the class from captionrl.models.Policy"),
        (f"{__name__}:Plain", {"widht": 3}, "--sizes.widht: unknown key; did you mean 'width'?"),
        ("boundary-critic", {"init": 1}, "boundary-critic: writes no captions; give a captioner"),
    ],
)
def test_what_cannot_be_checked_is_said_in_one_line(model, sizes, message):
    with pytest.raises(UserError) as raised:
        list(check_model(model, sizes))
    assert str(raised.value).startswith(message)


def test_the_command_prints_a_line_a_check_and_fails_if_one_does(command_line):
    status, printed, _ = command_line("check-model", f"{__name__}:Plain", "--sizes", '{"width": 4}')
    assert (status, printed.count("ok      ")) == (0, len(CHECKS) + 1)
    status, printed, _ = command_line("check-model", f"{__name__}:Random")
    assert status == 1
    assert "FAILED  evaluation is deterministic: AssertionError at " in printed


class NoValue:
    """A value network that expects nothing."""

    def step(self, tokens, state):
        return State(tokens.to(torch.float64).unsqueeze(1))

    def value(self, state):
        return state.hidden[:, 0] * 0


def refuse_no_rows(policy):
    """Let `policy` and all its layers raise when they are given no rows."""

    def check(_, tensors):
        assert all(len(tensor) for tensor in tensors if isinstance(tensor, torch.Tensor) and tensor.dim())

    advance = policy.advance

    def checked(embedded, state, memory):
        assert len(embedded) > 0
        return advance(embedded, state, memory)

    policy.advance = checked
    for module in policy.modules():
        module.register_forward_pre_hook(check)
    return policy


def test_no_step_is_ever_about_no_rows(policy):
    """Neither in training, where captions leave a batch as they end, nor in decoding."""
    refuse_no_rows(policy)
    features = batch(toy_clips(4, 1, 3))
    padded = torch.nn.functional.pad(CAPTIONS, (0, 3), value=PAD)
    for sampling_probability in (0.0, 1.0):
        xe_loss(policy, features, padded, sampling_probability)
    memory = policy.encode(features)
    policy.teacher_forcing(padded, memory)
    for _ in range(10):
        sample(policy, memory, 6)
    greedy(policy, memory, 6)
    for width in (1, 3):
        beam_search(policy, memory, 6, width)
        look_ahead(policy, memory, NoValue(), State(torch.zeros(3, 1)), MAX_TOKENS, width, 0.5)


@pytest.mark.parametrize("model", ["attention", "hrl", "stack-cap"])
def test_no_step_is_about_no_rows_when_all_captions_end_at_once(model):
    policy = refuse_no_rows(toy_policy(model))
    for head in getattr(policy, "heads", [policy.head]):
        head[-1].bias.data[EOS] += 100
    memory = policy.encode(batch(toy_clips(4, 1, 3)))
    assert {sample(policy, memory, 6).tokens.shape[1], greedy(policy, memory, 6).tokens.shape[1]} == {1}
    beam_search(policy, memory, 6, 1)


def test_a_toy_of_a_users_model_has_no_constant_weights():
    policy = toy_model(f"{__name__}:Plain", {}, 1)
    assert all(weight.unique().numel() == weight.numel() for weight in policy.parameters())
    assert isinstance(config.model_spec(f"{__name__}:Plain").sizes(), Plain.Sizes)
