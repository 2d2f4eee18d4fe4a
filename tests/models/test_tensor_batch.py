from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

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
