"""The optimiser of a phase, and its learning rate: warm-up, schedules, plateaus."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from captionrl.config import Phase
from captionrl.training.eager import without_compiler

ParameterGroups = list[tuple[list[nn.Parameter], float]]  # each with its share of the phase's learning rate


def make_optimiser(module: nn.Module, groups: ParameterGroups, phase: Phase) -> torch.optim.Optimizer:
    """The phase's optimiser of these parameters of `module`, each group with its own rate.

    AdamW (Loshchilov and Hutter 2019) decays what has two or more axes and is no embedding's: the weights of linear,
    convolutional and recurrent layers. Biases, scales of norms and embeddings do not decay.
    """
    without_compiler()
    rates = [(parameters, phase.learning_rate * share) for parameters, share in groups]
    if phase.optimiser != "adamw":
        optimisers = {"adadelta": torch.optim.Adadelta, "adam": torch.optim.Adam}
        return optimisers[phase.optimiser]([{"params": parameters, "lr": rate} for parameters, rate in rates])
    embeddings = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    split: list[dict[str, Any]] = []
    for parameters, rate in rates:
        decay = [weight.dim() > 1 and id(weight) not in embeddings for weight in parameters]
        for wanted, amount in ((True, phase.weight_decay), (False, 0.0)):
            chosen = [weight for weight, decays in zip(parameters, decay, strict=True) if decays == wanted]
            split.append({"params": chosen, "lr": rate, "weight_decay": amount})
    return torch.optim.AdamW(split)


def share_of_rate(phase: Phase, update: int, epoch: float, total: int) -> float:
    """What warm-up and schedule leave of the learning rate at `update`, counted from 0, of `total`.

    `epoch`: updates an epoch. The warm-up's first update has the first step of the line from 0, not 0 itself.
    """
    share = 1.0
    if phase.lr_schedule == "linear":
        share = 1 - update / total
    elif phase.lr_schedule == "cosine":  # Loshchilov and Hutter 2017, one period
        share = (1 + math.cos(math.pi * update / total)) / 2
    elif phase.lr_schedule == "step" and (step := phase.lr_step):
        share = step.factor ** (update // (step.every * epoch))
    warm = phase.warmup * epoch
    return share * (update + 1) / warm if update + 1 < warm else share


@dataclass
class Plateau:
    """Halves the rate after `patience` validations without a new best."""

    patience: int | None
    best: float = -math.inf
    waited: int = 0  # validations since the best, or the last halving
    share: float = 1.0  # what is left of the rate

    def step(self, score: float) -> None:
        """After a validation."""
        if score > self.best:
            self.best, self.waited = score, 0
            return
        self.waited += 1
        if self.waited == self.patience:
            self.share, self.waited = self.share / 2, 0
