"""Batches: items' features as a policy reads them, and captions as token ids."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from captionrl.datasets.prepare import Captions
from captionrl.features.store import FeatureStore
from captionrl.models.policy import Features
from captionrl.text.vocabulary import EOS, PAD, Vocabulary

CACHE_BYTES = 2**30  # a store's arrays are kept in memory up to this


class Clips:
    """The features of items, at most `max_frames` each, in padded batches on `device`.

    A longer clip is thinned to `max_frames` frames, evenly over its whole length: cutting its tail off would hide how
    it ends. `blind` shows one zero frame for every item, so that neither picture nor length tells anything.
    """

    def __init__(self, store: FeatureStore, max_frames: int, device: torch.device, *, blind: bool = False) -> None:
        self.store, self.max_frames, self.device, self.blind = store, max_frames, device, blind
        self._cache: dict[str, np.ndarray] = {}
        self._cached = 0

    def batch(self, items: Sequence[str]) -> Features:
        """The features of `items`: frames [B, N, D] float32 and mask [B, N], N the longest of them."""
        arrays = [self._read(item) for item in items]
        longest = max(len(array) for array in arrays)
        frames = np.zeros((len(items), longest, self.store.dim), dtype=np.float32)
        mask = np.zeros((len(items), longest), dtype=bool)
        for row, array in enumerate(arrays):
            frames[row, : len(array)] = array
            mask[row, : len(array)] = True
        return Features(torch.from_numpy(frames).to(self.device), torch.from_numpy(mask).to(self.device))

    def _read(self, item: str) -> np.ndarray:
        if self.blind:
            return np.zeros((1, self.store.dim), dtype=np.float16)
        if item in self._cache:
            return self._cache[item]
        array = thin(self.store.read(item), self.max_frames)
        if self._cached + array.nbytes <= CACHE_BYTES:
            self._cache[item] = array
            self._cached += array.nbytes
        return array


def thin(frames: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of `frames` [N, ...], evenly spaced: the middles of `most` equal stretches."""
    if len(frames) <= most:
        return frames
    return frames[((np.arange(most) + 0.5) * len(frames) / most).astype(int)]


def with_features(captions: Captions, store: FeatureStore) -> Captions:
    """The captions of the items that have features: all, unless the user allowed some videos to fail."""
    kept = {split: [item for item in items if item.id in store] for split, items in captions.items.items()}
    return replace(captions, items=kept)


class CaptionPairs:
    """All (item, caption) pairs of a split; an epoch is one pass over them in an order of its own."""

    def __init__(self, captions: Captions, split: str, vocabulary: Vocabulary, max_words: int, batch: int, seed: int):
        pairs = [(item.id, tokens) for item in captions.items[split] for tokens in captions.tokens[item.id]]
        self.items = [item for item, _ in pairs]
        self.tokens = [[*vocabulary.encode(tokens)[:max_words], EOS] for _, tokens in pairs]
        self.batch_size, self.seed = batch, seed
        self._order: tuple[int, Tensor] | None = None

    def __len__(self) -> int:
        """Batches an epoch."""
        return -(-len(self.items) // self.batch_size)

    def batch(self, epoch: int, index: int) -> tuple[list[str], Tensor]:
        """Item ids [B] and tokens [B, T] (</s> included, PAD beyond) of batch `index` of `epoch`."""
        if self._order is None or self._order[0] != epoch:  # a pure function of seed and epoch: nothing to save
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._order = epoch, torch.randperm(len(self.items), generator=generator)
        chosen = self._order[1][index * self.batch_size : (index + 1) * self.batch_size].tolist()
        return [self.items[i] for i in chosen], pad([self.tokens[i] for i in chosen])


def pad(captions: Sequence[Sequence[int]]) -> Tensor:
    """Token ids of captions as one tensor [B, T], PAD beyond each."""
    longest = max(len(caption) for caption in captions)
    return torch.tensor([[*caption, *[PAD] * (longest - len(caption))] for caption in captions])
