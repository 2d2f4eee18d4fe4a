"""The rewards that YAML names: one, `reward: CIDEr-D`, or a sum, `reward: {CIDEr-D: 0.8, "module:name": 0.2}`."""

import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from captionrl.dotted import is_dotted

REWARDS = {  # MODULE:NAME of what makes each from a RewardData
    "CIDEr-D": "captionrl.rewards.cider:cider_d",
    "CIDEr": "captionrl.rewards.cider:cider",
    "BLEU-1": "captionrl.rewards.bleu:bleu_1",
    "BLEU-2": "captionrl.rewards.bleu:bleu_2",
    "BLEU-3": "captionrl.rewards.bleu:bleu_3",
    "BLEU-4": "captionrl.rewards.bleu:bleu_4",
    "ROUGE-L": "captionrl.rewards.rouge:rouge_l",
    "METEOR": "captionrl.rewards.meteor:MeteorReward",
    "embedding": "captionrl.rewards.embedding:EmbeddingReward",
    "CLIPScore": "captionrl.rewards.clip:ClipScoreReward",
}


def _weights(value: Any) -> tuple[tuple[str, float], ...]:
    """A name, or weights by name, as pairs of both."""
    match value:
        case str():
            pairs = [(value, 1.0)]
        case Mapping():
            pairs = list(value.items())
        case [[str(), _], *_]:  # pairs already
            pairs = list(value)
        case _:
            raise ValueError(f"give the name of a reward, or weights by name, not {value!r}")
    found = []
    for name, given in pairs:
        if name not in REWARDS and not is_dotted(str(name)):
            spelt = {known.lower(): known for known in REWARDS}
            close = get_close_matches(str(name).lower(), spelt, n=1)
            others = f"there are {', '.join(REWARDS)}, and MODULE:NAME of your own"
            raise ValueError(
                f"no reward is called {name!r}; {f'did you mean {spelt[close[0]]!r}?' if close else others}"
            )
        try:
            weight = math.nan if isinstance(given, bool) else float(given)  # to YAML 1e-3 is a text
        except (TypeError, ValueError):
            weight = math.nan
        if not math.isfinite(weight):
            raise ValueError(f"the weight of {name} is {given!r}; give a finite number")
        found.append((name, weight))
    if not any(weight for _, weight in found):
        raise ValueError("all weights are 0; give one that is not")
    return tuple(found)


def _shortest(pairs: tuple[tuple[str, float], ...]) -> str | dict[str, float]:
    """As YAML has them."""
    return pairs[0][0] if [weight for _, weight in pairs] == [1] else dict(pairs)


# A mapping is laid over another key by key (`overlay`). These pairs are replaced as a whole.
Weights = Annotated[
    tuple[tuple[str, float], ...],
    BeforeValidator(_weights),
    PlainSerializer(_shortest, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "object", "minProperties": 1, "additionalProperties": {"type": "number"}},
            ]
        }
    ),
]
