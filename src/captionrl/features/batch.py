"""Batches of clips' features, and what all records of batches share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

from captionrl.text.vocabulary import BOS


@dataclass(frozen=True)
class TensorBatch:
    """A record of tensors (or of tuples of them, further records, or None) that share a leading batch axis.

    Derived dataclasses are frozen. A plain number has no rows: make it a tensor [B], or read it off a shape.
    """

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        def apply(value: Any) -> Any:
            if value is None:
                return None
            if isinstance(value, tuple):
                return tuple(map(apply, value))
            return value.map(function) if isinstance(value, TensorBatch) else function(value)

        return replace(self, **{field.name: apply(getattr(self, field.name)) for field in fields(self)})

    def first_words(self) -> Tensor:
        """<s> for every row: tokens [B] on the device of these tensors."""
        tensor = next(value for field in fields(self) if (value := getattr(self, field.name)) is not None)
        tensor = tensor[0] if isinstance(tensor, tuple) else tensor
        if isinstance(tensor, TensorBatch):
            return tensor.first_words()
        return torch.full((len(tensor),), BOS, device=tensor.device)

    def select(self, rows: Tensor) -> Self:
        """The rows with these indices [N], in this order; indices may repeat."""
        return self.map(lambda tensor: tensor.index_select(0, rows))

    def narrow(self, number: int) -> Self:
        """The first rows; no copy."""
        return self.map(lambda tensor: tensor[:number])

    def scatter_rows(self, rows: Tensor, batch: int) -> Self:
        """A batch that has these rows at the places `rows` [N], and zero (False) in all others."""
        return self.map(lambda tensor: tensor.new_zeros(batch, *tensor.shape[1:]).index_copy(0, rows, tensor))

    @classmethod
    def stack(cls, steps: Sequence[Self]) -> Self:
        """Records of consecutive steps [B, ...] as one record with a second axis, time [B, T, ...]."""
        first = steps[0]

        def apply(values: list[Any]) -> Any:
            if values[0] is None:
                return None
            if isinstance(values[0], tuple):
                return tuple(apply(list(column)) for column in zip(*values, strict=True))
            return values[0].stack(values) if isinstance(values[0], TensorBatch) else torch.stack(values, 1)

        return replace(
            first, **{field.name: apply([getattr(step, field.name) for step in steps]) for field in fields(first)}
        )


@dataclass(frozen=True)
class Features(TensorBatch):
    """A batch of clips as their frames' features; padding is zero and masked."""

    frames: Tensor  # [B, N, D] float32; of a policy with a CNN uint8 [B, N, S, S, 3], RGB
    mask: Tensor  # [B, N] bool, True where there is a frame
