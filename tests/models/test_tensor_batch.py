from dataclasses import dataclass, fields

import pytest
import torch
from torch import Tensor
from toy import batch, toy_clips

from captionrl.models import TensorBatch
from captionrl.text.vocabulary import BOS


@dataclass(frozen=True)
class Inner(TensorBatch):
    flags: Tensor  # [B]
    absent: Tensor | None = None


@dataclass(frozen=True)
class Outer(TensorBatch):
    numbers: Tensor  # [B, 2]
    inner: Inner
    absent: Inner | None = None


def test_select_reorders_and_repeats_the_rows_of_every_tensor_nested_ones_too():
    numbers, flags = torch.arange(6).view(3, 2), torch.tensor([True, False, True])
    chosen = Outer(numbers, Inner(flags)).select(torch.tensor([2, 0, 0, 1]))
    assert chosen.numbers.tolist() == [[4, 5], [0, 1], [0, 1], [2, 3]]
    assert chosen.inner.flags.tolist() == [True, True, True, False]
    assert chosen.inner.absent is None
    assert chosen.absent is None


def test_select_leaves_the_original_alone():
    rows = Inner(torch.arange(3))
    rows.select(torch.tensor([2, 1])).flags.zero_()
    assert rows.flags.tolist() == [0, 1, 2]


def test_spread_undoes_select_and_leaves_zero_elsewhere():
    numbers, flags, rows = torch.arange(1, 7).view(3, 2), torch.tensor([True, False, True]), torch.tensor([2, 0])
    whole = Outer(numbers, Inner(flags, absent=numbers.double())).select(rows).scatter_rows(rows, 3)
    assert whole.numbers.tolist() == [[1, 2], [0, 0], [5, 6]]
    assert whole.inner.flags.tolist() == [True, False, True]
    assert whole.inner.absent.tolist() == [[1, 2], [0, 0], [5, 6]]
    assert (whole.numbers.dtype, whole.inner.flags.dtype) == (numbers.dtype, torch.bool)
    assert whole.absent is None


def test_first_keeps_the_first_rows():
    numbers, flags = torch.arange(6).view(3, 2), torch.tensor([True, False, True])
    kept = Outer(numbers, Inner(flags)).narrow(2)
    assert (kept.numbers.tolist(), kept.inner.flags.tolist()) == ([[0, 1], [2, 3]], [True, False])
    assert kept.numbers.data_ptr() == numbers.data_ptr()


def test_stack_undoes_unbinding_in_time():
    numbers, flags = torch.arange(24).view(3, 4, 2), torch.arange(12).view(3, 4) % 5 == 0
    steps = [Outer(numbers[:, time], Inner(flags[:, time])) for time in range(4)]
    whole = Outer.stack(steps)
    assert torch.equal(whole.numbers, numbers)
    assert torch.equal(whole.inner.flags, flags)
    assert whole.inner.flags.dtype == torch.bool
    assert whole.inner.absent is None
    assert whole.absent is None
    assert all(
        torch.equal(whole.map(lambda tensor, time=time: tensor[:, time]).numbers, step.numbers)
        for time, step in enumerate(steps)
    )


def test_what_every_captioner_shows_is_stacked_whole(policy):
    memory = policy.encode(batch(toy_clips(4, 2, 3)))
    state, steps = policy.start(memory), []
    for words in (memory.first_words(), torch.tensor([4, 5, 6]), torch.tensor([5, 5, 4])):
        step = policy.step(words, state, memory)
        state = step.state
        steps.append(step.extras)
    whole = type(steps[0]).stack(steps)
    for field in fields(whole):
        value = getattr(whole, field.name)
        if value is None:
            assert all(getattr(step, field.name) is None for step in steps)
        else:
            assert value.shape[:2] == (3, 3)
            assert all(torch.equal(value[:, time], getattr(step, field.name)) for time, step in enumerate(steps))


def test_memory_state_and_extras_of_every_captioner_are_reordered_whole(policy):
    memory = policy.encode(batch(toy_clips(4, 2, 3)))
    step = policy.step(memory.first_words(), policy.start(memory), memory)
    rows = torch.tensor([2, 0, 2])
    for whole in (memory, step.state, step.extras):
        chosen = whole.select(rows)
        for field in fields(whole):
            value = getattr(whole, field.name)
            if value is None:
                assert getattr(chosen, field.name) is None
                continue
            several = value if isinstance(value, tuple) else (value,)
            found = getattr(chosen, field.name) if isinstance(value, tuple) else (getattr(chosen, field.name),)
            for whole_tensor, chosen_tensor in zip(several, found, strict=True):
                assert len(whole_tensor) == 3  # a leading batch axis
                assert torch.equal(chosen_tensor, whole_tensor[rows])


def test_stepping_selected_rows_equals_selecting_stepped_rows(policy):
    memory, rows, words = policy.encode(batch(toy_clips(4, 2, 3))), torch.tensor([2, 0, 2]), torch.tensor([4, 5, 6])
    before = policy.step(memory.first_words(), policy.start(memory), memory).state
    after = policy.step(words, before, memory)
    chosen = policy.step(words[rows], before.select(rows), memory.select(rows))
    torch.testing.assert_close(chosen.logits, after.logits[rows])
    torch.testing.assert_close(vars(chosen.state), vars(after.state.select(rows)))


@pytest.mark.parametrize("rows", [Inner(torch.zeros(3)), Outer(torch.zeros(3, 2), Inner(torch.zeros(3)))])
def test_first_words_begin_every_row(rows):
    assert rows.first_words().tolist() == [BOS] * 3


@dataclass(frozen=True)
class NestedFirst(TensorBatch):
    inner: Inner
    numbers: Tensor


def test_first_words_when_the_first_field_is_nested():
    assert NestedFirst(Inner(torch.zeros(3)), torch.zeros(3)).first_words().tolist() == [BOS] * 3


@dataclass(frozen=True)
class Several(TensorBatch):
    parts: tuple[Tensor, ...]  # [B, 2], [B]


def test_tuples_are_reordered_and_stacked_tensor_by_tensor():
    numbers, flags = torch.arange(24).view(3, 4, 2), torch.arange(12).view(3, 4) % 5 == 0
    steps = [Several((numbers[:, time], flags[:, time])) for time in range(4)]
    whole = Several.stack(steps)
    assert torch.equal(whole.parts[0], numbers)
    assert torch.equal(whole.parts[1], flags)
    chosen = whole.select(torch.tensor([2, 0]))
    assert torch.equal(chosen.parts[0], numbers[[2, 0]])
    assert torch.equal(chosen.parts[1], flags[[2, 0]])
    assert whole.first_words().tolist() == [BOS] * 3
