"""METEOR as a reward, by its own jar: one Java process for the whole training, which answers caption by caption."""

from functools import cached_property

import torch
from torch import Tensor

from captionrl.rewards.reward import RewardBatch, RewardData
from captionrl.text.java import JavaProcess
from captionrl.text.meteor import METEOR_JAR, pruned_paraphrases, score_line, stdio_options


class MeteorReward:
    """METEOR 1.5 of whole captions, 0 to 1, as pycocoevalcap gives it for single sentences.

    It reads text: </s> is no word of it, whatever `eos_in_reward` says.
    """

    maximum = 1.0

    def __init__(self, data: RewardData) -> None:
        self._skip = data.skip
        self._references = {
            item: [self._stripped(tokens) for tokens in captions] for item, captions in data.references.items()
        }

    def score(self, batch: RewardBatch) -> Tensor:
        if not batch.items:
            return torch.zeros(0, dtype=torch.float64, device=batch.tokens.device)
        statistics = []
        for item, text in zip(batch.items, batch.texts, strict=True):
            statistics += self._jar.ask(score_line(self._references[item], self._stripped(text.split(" "))))
        *scores, _ = self._jar.ask(" ||| ".join(["EVAL", *statistics]), answers=len(statistics) + 1)  # the corpus' last
        return torch.tensor([float(score) for score in scores], dtype=torch.float64, device=batch.tokens.device)

    def _stripped(self, tokens: list[str]) -> str:
        return " ".join(token for token in tokens if token not in self._skip)

    @cached_property
    def _jar(self) -> JavaProcess:
        table = pruned_paraphrases(text for texts in self._references.values() for text in texts)
        return JavaProcess(METEOR_JAR, "Meteor", stdio_options(table), timeout=60)
