"""The one training loop: every phase of every run, and the mini backbone, goes through `train`.

It can be killed at any instant. Its state lies in a directory whose name is a hash of all that determines the result,
so the same command finds it again, and goes on to weights that are bit-equal on a CPU (same machine, same number of
threads).
"""

import io
import math
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from captionrl.config import Phase
from captionrl.errors import UserError
from captionrl.files import atomic, read_bytes, sweep
from captionrl.interrupt import Interrupted, stop_flag
from captionrl.progress import progress
from captionrl.training.diagnostics import fall
from captionrl.training.optimiser import ParameterGroups, Plateau, make_optimiser, share_of_rate
from captionrl.training.records import LiveHistory

LOG_ROWS = 10  # rows of training statistics between two validations
SAVING = 0.01  # the share of the time that may go into saving the state: what KILL costs is a hundred times a save
SELDOM = 600.0  # seconds between two saves at most, however long one takes


class Learner(Protocol):
    """What a phase trains: a module, a loss on each batch, and a validation score."""

    module: nn.Module  # all that is trained
    batches: int  # in an epoch
    metric: str  # the score that training maximises

    def parameter_groups(self) -> ParameterGroups:
        """All parameters of the module, in groups, each with its share of the phase's learning rate."""

    def loss(self, epoch: int, index: int) -> tuple[Tensor, dict[str, float]]:
        """The loss of batch `index` of `epoch`, and statistics to log."""

    def validate(self) -> dict[str, float]:
        """Scores on validation items."""


@runtime_checkable
class WritesCaptions(Protocol):
    """A learner that shows what it writes."""

    examples: dict[str, str]  # captions of a few validation items, as the last validation found them


@dataclass
class Progress:
    """What a training is besides tensors."""

    update: int = 0
    seconds: float = 0.0  # of training, over all attempts
    best: float = -math.inf
    best_update: int = 0


def train(
    learner: Learner,
    phase: Phase,
    state: Path,
    *,
    seed: int,
    title: str,
    saving: float = SAVING,
    half: torch.dtype | None = None,
) -> list[dict[str, Any]]:
    """Train `learner.module` and leave in it the weights that scored best; return the history, a dict a row.

    `state` is the directory that the training can be resumed from, `saving` the share of the time that saving may take.
    With `half`, such as bfloat16, losses are computed in it where torch holds that safe (autocast); validation is not.
    Raises Interrupted, with everything saved, on TERM or INT.
    """
    run = Training(learner, phase, state, seed, half)
    total = run.total
    interval = max(1, round(phase.validate_every * run.updates))
    next_save = time.monotonic()  # when to save next
    items = phase.batch * phase.gradient_accumulation_steps
    bar = progress(total=total, initial=run.progress.update, title=title, unit="item", unit_scale=items)
    live = LiveHistory(state, run.history, title=title, total=total, metric=learner.metric)
    with closing(live), bar, stop_flag() as stopped:
        run.seen = live.add
        if run.progress.update == 0:
            run.validate()
        while not run.done:
            statistics = run.step(log_every=max(1, interval // LOG_ROWS))
            bar.update()
            if run.progress.update % interval == 0 or run.progress.update == total:
                scores = run.validate()
                bar.set_postfix({**statistics, **scores}, refresh=False)
                if warning := fall(run.history, learner.metric, total):
                    bar.write(f"{title}: {warning}", file=sys.stderr)
            if stopped or time.monotonic() >= next_save:
                next_save = time.monotonic() + min(run.save() / saving, SELDOM)
            if stopped:
                raise Interrupted
    run.save()
    learner.module.load_state_dict(run.best_weights)
    return run.history


class Training:
    """The state of a training, restored from `directory` where there is one, and its two moves: step and validate."""

    def __init__(
        self, learner: Learner, phase: Phase, directory: Path, seed: int, half: torch.dtype | None = None
    ) -> None:
        self.learner, self.phase, self.directory, self.half = learner, phase, directory, half
        torch.manual_seed(seed)
        self.optimiser = make_optimiser(learner.module, learner.parameter_groups(), phase)
        self._rates = [group["lr"] for group in self.optimiser.param_groups]  # as the phase has them
        self.plateau = Plateau(phase.lr_patience) if phase.lr_schedule == "plateau" else None
        self.updates = learner.batches / phase.gradient_accumulation_steps  # an epoch
        self.total = math.ceil(phase.epochs * self.updates)
        self._set_rates(0)
        self.device = next(learner.module.parameters()).device.type
        self.progress = Progress()
        self.best_weights = _copy(learner.module.state_dict())
        self.history: list[dict[str, Any]] = []
        self._sums: dict[str, list[float]] = {}  # of statistics since the last logged row: sum, number
        self._restore()
        self.seen: Callable[[dict[str, Any]], None] | None = None  # is given each row of the history as it is made

    @property
    def done(self) -> bool:
        """Whether all updates are made, or validation has found no new best for as long as the phase waits."""
        best, wait = self.progress.best_update, self.phase.early_stopping
        waited = sum(row["kind"] == "validation" and row["update"] > best for row in self.history)
        return self.progress.update >= self.total or (wait is not None and waited >= wait)

    def step(self, log_every: int) -> dict[str, float]:
        """One update of the weights; the statistics of its last batch."""
        began = time.monotonic()
        progress = self.progress
        self._set_rates(progress.update)
        self.learner.module.train()
        self.optimiser.zero_grad(set_to_none=True)
        stats = []
        for part in range(self.phase.gradient_accumulation_steps):
            epoch, index = divmod(progress.update * self.phase.gradient_accumulation_steps + part, self.learner.batches)
            with torch.autocast(self.device, self.half, enabled=self.half is not None):
                loss, statistics = self.learner.loss(epoch, index)
            if not loss.isfinite():
                where, fix = f"update {progress.update + 1}", "lower learning_rate, or set clip, of this phase"
                what = f"the loss is {loss.item()}, the training has diverged"
                raise UserError(f"{where}: {what}; {fix} in papers/*/*.yaml")
            (loss / self.phase.gradient_accumulation_steps).backward()
            stats.append(statistics)
        if self.phase.clip is not None:
            nn.utils.clip_grad_value_(self.learner.module.parameters(), self.phase.clip)
        if self.phase.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.learner.module.parameters(), self.phase.clip_norm)
        self.optimiser.step()
        progress.update += 1
        took = time.monotonic() - began
        progress.seconds += took
        for statistics in stats:
            if "reward_seconds" in statistics:
                statistics["reward_share"] = statistics.pop("reward_seconds") * len(stats) / took
            for name, value in statistics.items():  # not every batch has all of them: HRL's parts learn in turns
                total, number = self._sums.get(name, [0.0, 0])
                self._sums[name] = [total + value, number + 1]
        if progress.update % log_every == 0:
            self._log("train", {name: total / number for name, (total, number) in self._sums.items()})
            self._sums = {}
        return stats[-1]

    def validate(self) -> dict[str, float]:
        """Score the weights, remember them if they are the best so far, and let the schedule see the score."""
        began = time.monotonic()
        self.learner.module.eval()
        with torch.no_grad():
            scores = self.learner.validate()
        score = scores[self.learner.metric]
        if score > self.progress.best:
            self.progress.best, self.progress.best_update = score, self.progress.update
            self.best_weights = _copy(self.learner.module.state_dict())
        if self.plateau:
            self.plateau.step(score)
            self._set_rates(max(0, self.progress.update - 1))
        self.progress.seconds += time.monotonic() - began
        if isinstance(self.learner, WritesCaptions):
            self._add({"kind": "captions", "update": self.progress.update, "captions": self.learner.examples})
        self._log("validation", scores)
        return scores

    def _set_rates(self, update: int) -> None:
        """Set the learning rates of an update, counted from 0: what warm-up, schedule and plateaus leave of them."""
        share = share_of_rate(self.phase, update, self.updates, self.total)
        if self.plateau:
            share *= self.plateau.share
        for group, rate in zip(self.optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate * share

    def _log(self, kind: str, numbers: dict[str, float]) -> None:
        self._add(
            {
                "kind": kind,
                "update": self.progress.update,
                "epoch": self.progress.update / self.updates,
                "learning_rate": self.optimiser.param_groups[0]["lr"],
                "seconds": round(self.progress.seconds, 3),
                **numbers,
            }
        )

    def _add(self, row: dict[str, Any]) -> None:
        self.history.append(row)
        if self.seen:
            self.seen(row)

    def save(self) -> float:
        """Write the whole state, in one instant; return the seconds it took."""
        began = time.monotonic()
        state = {
            "module": self.learner.module.state_dict(),
            "best_weights": self.best_weights,
            "optimiser": self.optimiser.state_dict(),
            "plateau": vars(self.plateau) if self.plateau else None,
            "progress": vars(self.progress),
            "history": self.history,
            "sums": self._sums,
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state() if self.device == "cuda" else None,
        }
        buffer = io.BytesIO()  # torch writes to memory: it would hide what a disk complains of
        torch.save(state, buffer)
        with atomic(self.directory / "state.pt") as temporary:
            temporary.write_bytes(buffer.getbuffer())
        return time.monotonic() - began

    def _restore(self) -> None:
        path = self.directory / "state.pt"
        sweep(self.directory)
        if not path.exists():
            return
        content = io.BytesIO(read_bytes(path))
        try:
            self._take(torch.load(content, weights_only=True, map_location="cpu"))
        except (MemoryError, torch.OutOfMemoryError):  # says nothing of the file
            raise
        except Exception as error:  # whatever torch makes of a damaged file, and we of what is in it
            reason = (str(error) or "it is empty").splitlines()[0]
            raise UserError(f"{path}: not a whole state ({reason}); remove {self.directory} to train anew") from None

    def _take(self, state: dict[str, Any]) -> None:
        self.learner.module.load_state_dict(state["module"])
        self.best_weights = state["best_weights"]
        self.optimiser.load_state_dict(state["optimiser"])
        if self.plateau:
            self.plateau = Plateau(**state["plateau"])
        self.progress = Progress(**state["progress"])
        self.history, self._sums = state["history"], state["sums"]
        torch.set_rng_state(state["rng"])
        if state["cuda_rng"] is not None:
            torch.cuda.set_rng_state(state["cuda_rng"])


def _copy(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in weights.items()}
