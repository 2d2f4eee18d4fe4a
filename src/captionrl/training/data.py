"""Batches: items' features as a policy reads them, and captions as token ids."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from captionrl.config.backbones import FRAMES
from captionrl.datasets.attributes import Attributes
from captionrl.datasets.prepared import Captions
from captionrl.errors import UserError
from captionrl.features.batch import Features
from captionrl.features.frames import unpack
from captionrl.features.store import FeatureStore, sample_uniformly
from captionrl.text.vocabulary import EOS, PAD, Vocabulary

EVALUATION_BATCH = 128
CACHE_BYTES = 2**30  # a store's arrays are kept in memory up to this


class FeatureBatches:
    """The features of items, at most `max_frames` each, in padded batches on `device`.

    A frame is one vector, or where the store has a grid, as many as that has cells, one after the other.

    A longer clip is sampled uniformly, `max_frames` frames over its whole length: cutting its tail off would hide how
    it ends. Without `visual_input` every item is one zero frame: neither picture nor length has information.
    """

    dtype: type = np.float32

    def __init__(
        self, store: FeatureStore, max_frames: int, device: torch.device, *, visual_input: bool = True
    ) -> None:
        self.store, self.max_frames, self.device, self.visual_input = store, max_frames, device, visual_input
        self._cache: dict[str, np.ndarray] = {}
        self._cached = 0

    def batch(self, items: Sequence[str]) -> Features:
        """The features of `items`: frames [B, N, D] of `dtype` and mask [B, N] bool, N the longest of them."""
        arrays = [self._read(item) for item in items]
        longest = max(len(array) for array in arrays)
        frames = np.zeros((len(items), longest, *arrays[0].shape[1:]), dtype=self.dtype)
        mask = np.zeros((len(items), longest), dtype=bool)
        for row, array in enumerate(arrays):
            frames[row, : len(array)] = array
            mask[row, : len(array)] = True
        return Features(torch.from_numpy(frames).to(self.device), torch.from_numpy(mask).to(self.device))

    def _read(self, item: str) -> np.ndarray:
        if not self.visual_input:
            return np.zeros((1, self.store.dim), dtype=np.float16)
        if item in self._cache:
            return self._cache[item]
        cells = max(1, self.store.grid**2)  # of a frame
        frames = self.store.read(item).reshape(-1, cells, self.store.dim)
        return self._keep(item, sample_uniformly(frames, self.max_frames).reshape(-1, self.store.dim))

    def _keep(self, item: str, array: np.ndarray) -> np.ndarray:
        if self._cached + array.nbytes <= CACHE_BYTES:
            self._cache[item] = array
            self._cached += array.nbytes
        return array


class FrameBatches(FeatureBatches):
    """Clips as their frames themselves, uint8 [B, N, S, S, 3], which threads read ahead (features/frames.py).

    Without `visual_input` every item is one black frame.
    """

    dtype = np.uint8

    def __init__(
        self, store: FeatureStore, max_frames: int, device: torch.device, *, visual_input: bool = True
    ) -> None:
        super().__init__(store, max_frames, device, visual_input=visual_input)
        self._pool = ThreadPoolExecutor(torch.get_num_threads(), thread_name_prefix="frames")
        self._coming: dict[str, Future[np.ndarray]] = {}

    def prefetch(self, items: Sequence[str]) -> None:
        """Begin to read what the next batch will be of."""
        for item in items if self.visual_input else ():
            if item not in self._cache and item not in self._coming:
                self._coming[item] = self._pool.submit(self._decode, item)

    def _read(self, item: str) -> np.ndarray:
        if not self.visual_input:
            side = self._side
            return np.zeros((1, side, side, 3), np.uint8)
        if item in self._cache:
            return self._cache[item]
        coming = self._coming.pop(item, None)
        return self._keep(item, coming.result() if coming else self._decode(item))

    def _decode(self, item: str) -> np.ndarray:
        return sample_uniformly(unpack(self.store.read(item)), self.max_frames)

    @cached_property
    def _side(self) -> int:
        return self._decode(self.store.items[0]).shape[1]


def clips_of(
    store: FeatureStore, max_frames: int, device: torch.device, *, visual_input: bool = True
) -> FeatureBatches:
    """The clips of a store: of features, or of frames themselves."""
    kind = FrameBatches if str(store.attributes["backbone"]).endswith(FRAMES) else FeatureBatches
    return kind(store, max_frames, device, visual_input=visual_input)


def pad_features(clips: Sequence[Tensor]) -> Features:
    """Clips [N, D] of their own lengths as one batch."""
    lengths = torch.tensor([len(clip) for clip in clips], device=clips[0].device)
    frames = pad_sequence(list(clips), batch_first=True)
    return Features(frames, torch.arange(frames.shape[1], device=frames.device) < lengths.unsqueeze(1))


def with_features(captions: Captions, store: FeatureStore, *needed: str) -> Captions:
    """The captions of the items that have features: all, unless the user allowed some videos to fail.

    Raises UserError where none of a split that is `needed` has any.
    """
    kept = {split: [item for item in items if item.id in store] for split, items in captions.items.items()}
    for split in needed:
        if captions.items[split] and not kept[split]:
            raise UserError(f"{store.path}: has features of no item in split {split}; extract those of this corpus")
    return replace(captions, items=kept)


@dataclass(frozen=True)
class Data:
    """What learners learn from: a prepared corpus, and of its clips and segments what a phase needs."""

    captions: Captions
    vocabulary: Vocabulary
    max_words: int  # of a caption, </s> not counted
    device: torch.device
    clips: FeatureBatches | None = None
    boundaries: dict[str, list[list[bool]]] | None = None  # as of the captions' tokens: True ends a segment
    attributes: Attributes | None = None  # those that are predicted


class CaptionPairs:
    """All (item, caption) pairs of a split; an epoch is one pass over them in an order of its own."""

    def __init__(self, data: Data, split: str, batch: int, seed: int):
        captions, most = data.captions, data.max_words
        pairs = [(item.id, words) for item in captions.items[split] for words in captions.tokens[item.id]]
        self.items = [item for item, _ in pairs]
        self.tokens = [caption_tokens(data.vocabulary, words, most) for _, words in pairs]
        if data.boundaries is not None:
            ends = (bits for item in captions.items[split] for bits in data.boundaries[item.id])
            self.ends = [[*bits, False][: len(kept)] for bits, kept in zip(ends, self.tokens, strict=True)]
        self.batch_size, self.seed = batch, seed
        self._order: tuple[int, Tensor] | None = None

    def __len__(self) -> int:
        """Batches an epoch."""
        return -(-len(self.items) // self.batch_size)

    def batch(self, epoch: int, index: int) -> tuple[list[str], Tensor]:
        """Item ids [B] and tokens [B, T] (</s> included where not cut, PAD beyond) of batch `index` of `epoch`."""
        chosen = self._chosen(epoch, index)
        return [self.items[i] for i in chosen], pad([self.tokens[i] for i in chosen])

    def boundaries(self, epoch: int, index: int) -> Tensor:
        """Bool [B, T] beside the tokens of the same batch: a segment ends at this word; False at </s> and padding."""
        return pad([self.ends[i] for i in self._chosen(epoch, index)]).bool()

    def _chosen(self, epoch: int, index: int) -> list[int]:
        if self._order is None or self._order[0] != epoch:  # a pure function of seed and epoch: nothing to save
            generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**63)  # seeds of any length
            self._order = epoch, torch.randperm(len(self.items), generator=generator)
        return self._order[1][index * self.batch_size : (index + 1) * self.batch_size].tolist()


def caption_tokens(vocabulary: Vocabulary, words: Sequence[str], max_words: int) -> list[int]:
    """The token ids of a caption and </s>; a longer one is cut, and has no </s>: it does not end there."""
    return [*vocabulary.encode(words), EOS][: max_words + (len(words) <= max_words)]


def pad(captions: Sequence[Sequence[int]]) -> Tensor:
    """Token ids (or 0 and 1) of captions as one tensor [B, T], PAD (0) beyond each."""
    longest = max(len(caption) for caption in captions)
    return torch.tensor([[*caption, *[PAD] * (longest - len(caption))] for caption in captions])
