"""How well a value network predicts the rewards of captions, against predictors without picture or words."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from captionrl.config import ActorCriticPhase, MixedRewardPhase, ValuePhase
from captionrl.decoding.rollout import sample
from captionrl.errors import UserError
from captionrl.evaluation.aggregate import Array, aggregate
from captionrl.evaluation.bootstrap import interval, paired
from captionrl.evaluation.predict import BATCH
from captionrl.evaluation.trained import Seed, open_seeds
from captionrl.files import read_json
from captionrl.models.actor_critic import WithValueAndReward
from captionrl.objectives.actor_critic import prefix_mask
from captionrl.training.learners.actor_critic import mixed_reward
from captionrl.training.learners.reinforce import reward_of

CAPTIONS_AN_ITEM = 5
SAMPLES = 2000  # bootstrap resamples
PREDICTORS = ("value network", "constant", "constant a length")
PHASES: dict[str, type[MixedRewardPhase]] = {"value": ValuePhase, "actor-critic": ActorCriticPhase}


@dataclass(frozen=True)
class Prefixes:
    """Of sampled captions, in flat arrays: of which item, how many words, the predicted value, the caption's reward."""

    item: NDArray[np.int64]
    words: NDArray[np.int64]  # so far, </s> counted
    value: Array
    reward: Array

    def squared_errors(self) -> dict[str, Array]:
        """Of the network, and of the two best predictors, on these very prefixes, of the predictors that see less."""
        of_length = np.bincount(self.words, self.reward) / np.maximum(1, np.bincount(self.words))
        predictions = (self.value, self.reward.mean(), of_length[self.words])
        return {name: (predicted - self.reward) ** 2 for name, predicted in zip(PREDICTORS, predictions, strict=True)}

    def over_items(self, numbers: Array, weights: Array) -> Array:
        """Statistics [items, 2] whose ratio of sums is the mean of `numbers`, or what they are of `weights`."""
        return np.column_stack([np.bincount(self.item, of).astype(np.float64) for of in (numbers, weights)])


def value_errors(checkpoints: list[Path], captions: Path, features: Path, split: str) -> dict[str, Any]:
    """The report on the value networks of a run's seeds, on captions that their own policies write of a split.

    The reward is that of the checkpoint's last phase.
    """
    seeds = [
        predicted_values(seed, rewarded_phase(seed.checkpoint), split)
        for seed in open_seeds(checkpoints, captions, features, split, WithValueAndReward, "a value network")  # type: ignore[type-abstract]
    ]
    items = len(np.unique(seeds[0].item))
    return {"split": split, "items": items, "captions": CAPTIONS_AN_ITEM * items, "seeds": len(seeds), **report(seeds)}


def rewarded_phase(checkpoint: Path) -> MixedRewardPhase:
    """The last phase of a checkpoint, from the file beside it, if it has a reward for a value network."""
    path = checkpoint.with_suffix(".json")
    try:
        phase = read_json(path)["config"]["phase"]
        if phase["objective"] not in PHASES:
            what = f"its last phase ({phase['objective']}) trains no value network"
            raise UserError(f"{checkpoint}: {what}; give one whose last phase is {' or '.join(PHASES)}")
        return PHASES[phase["objective"]].model_validate(phase)
    except (KeyError, TypeError, ValidationError):
        raise UserError(f"{path}: not written by this version of captionrl; train the checkpoint again") from None


@torch.inference_mode()
def predicted_values(seed: Seed[WithValueAndReward], phase: MixedRewardPhase, split: str) -> Prefixes:
    """All prefixes of captions sampled of every item, seeded with the checkpoint's own seed."""
    policy, metadata, ids = seed.policy, seed.metadata, seed.items
    metric = reward_of(phase, seed.captions, metadata.words, split)
    found: list[tuple[Tensor, ...]] = []
    with torch.random.fork_rng([]):
        torch.manual_seed(metadata.seed)
        for first in range(0, len(ids), BATCH):
            rows = torch.arange(first, min(first + BATCH, len(ids))).repeat_interleave(CAPTIONS_AN_ITEM)
            features = seed.clips.batch([ids[row] for row in rows])
            rollout = sample(policy, policy.encode(features), metadata.corpus_settings.max_words + 1)
            reward, _ = mixed_reward(
                policy, phase, metric, features, rollout.tokens, rollout.lengths, [ids[row] for row in rows]
            )
            there = prefix_mask(rollout.lengths, rollout.tokens.shape[1])
            caption, words = there.nonzero(as_tuple=True)
            value = policy.value(features, rollout.tokens)[there]
            found.append((rows[caption], words, value, reward[caption]))
    items, lengths, values, rewards = (torch.cat(parts) for parts in zip(*found, strict=True))
    return Prefixes(items.numpy(), lengths.numpy(), values.double().numpy(), rewards.double().numpy())


def report(seeds: list[Prefixes]) -> dict[str, Any]:
    """Of each predictor the mean squared error, and the share of the variance, in per cent, that it explains.

    Both are means over seeds, with 95 % intervals over seeds and items; `p` is the paired bootstrap's for an error and
    that of the network. `lengths` takes the seeds together.
    """
    errors = [seed.squared_errors() for seed in seeds]
    found: dict[str, Any] = {"prefixes": sum(len(seed.item) for seed in seeds)}
    means = {
        name: [seed.over_items(of[name], np.ones_like(of[name])) for seed, of in zip(seeds, errors, strict=True)]
        for name in PREDICTORS
    }
    for name in PREDICTORS:
        gained = [of["constant"] - of[name] for of in errors]
        shares = [seed.over_items(gain, of["constant"]) for seed, gain, of in zip(seeds, gained, errors, strict=True)]
        error = {key: number / 100 for key, number in _numbers(means[name]).items()}  # aggregate's is times 100
        found[name] = {"error": error, "explained_variance": _numbers(shares)}
        if name != "value network":
            found[name]["p"] = paired("error", means[name], means["value network"], SAMPLES)
    return found | {"lengths": _by_length(seeds, errors)}


def _numbers(statistics: list[Array]) -> dict[str, float]:
    low, high = interval("error", statistics, SAMPLES)
    value = float(np.mean([aggregate("error", rows.sum(0)) for rows in statistics]))
    return {"value": value, "low": low, "high": high}


def _by_length(seeds: list[Prefixes], errors: list[dict[str, Array]]) -> list[dict[str, float]]:
    words = np.concatenate([seed.words for seed in seeds])
    counts = np.bincount(words)
    columns = {
        name: np.bincount(words, np.concatenate([of[name] for of in errors])) / np.maximum(1, counts)
        for name in ("value network", "constant a length")
    }
    return [
        {"words": length, "prefixes": int(count), **{name: float(column[length]) for name, column in columns.items()}}
        for length, count in enumerate(counts)
    ]


def render(report: dict[str, Any]) -> str:
    """A report as plain text."""
    lines = []
    for name in PREDICTORS:
        error, share = report[name]["error"], report[name]["explained_variance"]
        against = f", p = {report[name]['p']:.4f}" if "p" in report[name] else ""
        lines.append(
            f"{name:<18} squared error {error['value']:.4f} [{error['low']:.4f}, {error['high']:.4f}], explains"
            f" {share['value']:.1f} % [{share['low']:.1f}, {share['high']:.1f}]{against}"
        )
    lines += ["", "words so far    prefixes  value network  constant a length"]
    for row in report["lengths"]:
        errors = f"{row['value network']:>15.4f}{row['constant a length']:>19.4f}"
        lines.append(f"{row['words']:>12}{row['prefixes']:>12}{errors}")
    seeds = f", {report['seeds']} seeds" if report["seeds"] > 1 else ""
    what = f"{CAPTIONS_AN_ITEM} sampled captions of each of {report['items']} {report['split']} items{seeds}"
    return "\n".join([*lines, "", f"{what}; p: paired bootstrap, against the value network"])
