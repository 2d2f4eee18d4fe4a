"""What all learners of captioners share."""

import torch
from torch import Tensor, nn

from captionrl.config import Phase
from captionrl.decoding.rollout import Rollout, greedy
from captionrl.models import Policy
from captionrl.rewards import CiderD
from captionrl.text.punctuation import PUNCTUATION
from captionrl.training.data import EVALUATION_BATCH, CaptionPairs, Data
from captionrl.training.loop import ParameterGroups

EXAMPLES = 4  # captions shown at a validation


class CaptionLearner:
    """The policy, its data, and CIDEr-D of greedy captions on validation items."""

    metric = "val_cider"
    examples: dict[str, str]

    def __init__(self, policy: Policy, data: Data, phase: Phase, seed: int) -> None:
        assert data.clips is not None
        self.policy, self.clips, self.device = policy.to(data.device), data.clips, data.device
        self.module: nn.Module = nn.ModuleDict({"policy": self.policy})
        self.vocabulary = data.vocabulary
        self.max_tokens = data.max_words + 1  # </s>
        self.pairs = CaptionPairs(data, "train", phase.batch, seed)
        self.batches = len(self.pairs)
        self.validation_items = [item.id for item in data.captions.items["val"]]
        references = {item: data.captions.tokens[item] for item in self.validation_items}
        self.cider = CiderD.from_captions(references, vocabulary=data.vocabulary.words, skip=PUNCTUATION)

    def parameter_groups(self) -> ParameterGroups:
        return [(list(self.module.parameters()), 1.0)]

    def validate(self) -> dict[str, float]:
        scores = []
        self.examples = {}
        for items in chunks(self.validation_items, EVALUATION_BATCH):
            rollout = self.greedy(items)
            scores.append(self.score(rollout, items))
            for item, tokens in zip(items[: EXAMPLES - len(self.examples)], rollout.tokens.tolist(), strict=False):
                self.examples[item] = " ".join(self.vocabulary.decode(tokens))
        return {CaptionLearner.metric: 100 * torch.cat(scores).mean().item()}

    def greedy(self, items: list[str]) -> Rollout:
        """Greedy captions of items, padded to the longest."""
        return greedy(self.policy, self.policy.encode(self.clips.batch(items)), self.max_tokens)

    def score(self, rollout: Rollout, items: list[str]) -> Tensor:
        """CIDEr-D [B], as the tables have it: </s> and punctuation out, document frequencies of validation items."""
        return self.cider.score(rollout.tokens, rollout.lengths, items)


def chunks(items: list[str], size: int) -> list[list[str]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
