"""A reward of a user's own, MODULE:NAME: a function of a batch, or a class that is made once a training."""

import math
from collections.abc import Callable
from functools import partial
from inspect import isclass
from typing import Any

import torch
from torch import Tensor

from captionrl.dotted import failure, load_object
from captionrl.errors import UserError
from captionrl.rewards.reward import RewardBatch, RewardData


class UserReward:
    """Calls the user's code, and checks what it gives: a finite number a caption.

    A function is called with each `RewardBatch`. A class is called once with a `RewardData`; what it makes has
    `score(batch)` and perhaps `prefix_scores(batch)`. Either may have a number `maximum`.

    Raises UserError, which names the user's file and line, where the code fails or gives anything else.
    """

    def __init__(self, path: str, data: RewardData) -> None:
        self.path = path
        own = load_object(path)
        if isclass(own):
            own = self._call(own, data)
        score = getattr(own, "score", own)
        if not callable(score):
            raise UserError(f"{path}: is a {type(own).__name__}; give a function of a batch, or a class with `score`")
        self.maximum: float | None = getattr(own, "maximum", None)
        if self.maximum is not None and not (type(self.maximum) in (int, float) and math.isfinite(self.maximum)):
            raise UserError(f"{path}: its maximum is {self.maximum!r}; give a finite number, or none")
        self.score = partial(self._checked, score, False)
        if hasattr(own, "prefix_scores"):
            self.prefix_scores = partial(self._checked, own.prefix_scores, True)

    def _checked(self, function: Callable[[RewardBatch], Any], every_word: bool, batch: RewardBatch) -> Tensor:
        found = self._call(function, batch)
        wanted = batch.tokens.shape if every_word else batch.lengths.shape
        if not isinstance(found, Tensor) or found.shape != wanted:
            what = f"shape {list(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
            axes = "[captions, words]" if every_word else "[captions]"
            raise UserError(f"{self.path}: gives {what}, not a tensor {axes}, here of shape {list(wanted)}")
        if every_word:  # what stands beyond a caption's end means nothing
            places = torch.arange(found.shape[1], device=found.device)
            found = found.masked_fill(places >= batch.lengths.to(found.device).unsqueeze(1), 0)
        if not found.isfinite().all():
            row = int((~found.isfinite()).view(len(found), -1).any(1).nonzero()[0])
            raise UserError(f"{self.path}: gives {found[row].tolist()} for {batch.texts[row]!r}; give finite numbers")
        return found.to(batch.tokens.device)

    def _call(self, function: Callable[[Any], Any], argument: Any) -> Any:
        try:
            return function(argument)
        except UserError:
            raise
        except Exception as error:  # a user's code may raise anything
            raise UserError(f"{self.path}: {failure(error, self.path)}") from error
