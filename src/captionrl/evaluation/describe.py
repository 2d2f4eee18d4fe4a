"""Captions with their segments and attention."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from captionrl.decoding.beam import beam_search
from captionrl.models import Features, Policy, shift
from captionrl.models.hrl import HRLExtras
from captionrl.models.policy import Extras
from captionrl.models.stackcap import StageExtras
from captionrl.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Description:
    """A clip's caption of T words, read from N places: its frames, or where features have a grid all their cells."""

    words: list[str]  # without </s>
    log_probability: float  # of the caption, its </s> included where it has one
    segments: list[list[str]] | None = None  # HRL: the words that each goal covers; together they are `words`
    attention: np.ndarray | None = None  # [T, N] weights over the places, a row a word (HRL: the worker's); sums are 1
    manager_attention: np.ndarray | None = None  # [T, N] likewise, HRL's manager's; held within a segment
    stage_attention: np.ndarray | None = None  # [F, T, N] likewise, of every fine stage of Stack-Cap

    @property
    def text(self) -> str:
        """The words as one line, segments separated by ` | `."""
        return " | ".join(" ".join(segment) for segment in self.segments or [self.words])

    def over_frames(self, frames: int) -> "Description":
        """The same with its attention [T, frames] over whole frames: the sum over the cells of each."""

        def summed(attention: np.ndarray | None) -> np.ndarray | None:
            if attention is None:
                return None
            words, places = attention.shape
            return attention.reshape(words, frames, places // frames).sum(-1)

        return replace(self, attention=summed(self.attention), manager_attention=summed(self.manager_attention))

    def segment_attention(self) -> np.ndarray | None:
        """The mean of the attention over each segment's words [S, N]; without segments, over each word."""
        return self._by_segment(self.attention)

    def segment_manager_attention(self) -> np.ndarray | None:
        """The manager's attention [S, N] as it sets each segment's goal."""
        return self._by_segment(self.manager_attention)

    def _by_segment(self, attention: np.ndarray | None) -> np.ndarray | None:
        if attention is None or not self.segments:
            return attention
        ends = np.cumsum([len(segment) for segment in self.segments])
        return np.stack([rows.mean(0) for rows in np.split(attention, ends[:-1])])


@torch.inference_mode()
def describe(
    policy: Policy,
    vocabulary: Vocabulary,
    features: Features,
    max_tokens: int,
    beam: int,
    stage: int | None = None,
    *,
    length_normalised: bool = False,
) -> list[Description]:
    """The best caption that beam search finds for each clip, and what the policy shows while it writes that caption.

    `features` are a batch on the policy's device; `max_tokens` counts </s>; `stage` is whose words, if not the last's.
    """
    memory = policy.encode(features)
    start = policy.start_stages(memory, [policy.decoder_stages - 1 if stage is None else stage] * len(features.frames))
    found, scores = beam_search(policy, memory, max_tokens, beam, start, length_normalised=length_normalised)
    tokens = found[:, 0]
    state, steps = start, []
    for words in shift(tokens).unbind(1):  # once more through the best captions, to see what beam search has seen
        step = policy.step(words, state, memory)
        steps.append(step.extras)
        state = step.state
    extras = type(steps[0]).stack(steps)
    captions = [vocabulary.decode(row) for row in tokens.tolist()]
    return [
        _description(words, extras, row, features.mask[row], float(scores[row, 0]))
        for row, words in enumerate(captions)
    ]


def _description(words: list[str], extras: Extras, row: int, mask: Tensor, log_probability: float) -> Description:
    def weights(attention: Tensor) -> np.ndarray:
        return attention[row, : len(words), mask].cpu().numpy()

    found = Description(words, log_probability)
    if extras.attention is not None:
        found = replace(found, attention=weights(extras.attention))
    if isinstance(extras, StageExtras):
        return replace(found, stage_attention=np.stack([weights(fine) for fine in extras.attentions.unbind(2)]))
    if not isinstance(extras, HRLExtras):
        return found
    segment_start = extras.segment_start[row, : len(words)].nonzero().flatten().tolist()
    segments = [words[first:end] for first, end in pairwise([*segment_start, len(words)])]
    return replace(found, segments=segments, manager_attention=weights(extras.manager_attention))
