"""Batches: clips' features, and captions in an order of their own every epoch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import DIM, write_features

from captionrl.datasets.corpus import Item
from captionrl.datasets.prepared import Captions
from captionrl.errors import UserError
from captionrl.features.store import FeatureStore
from captionrl.text.vocabulary import EOS, PAD, UNK, Vocabulary
from captionrl.training.data import CaptionPairs, Data, FeatureBatches, pad, sample_uniformly, with_features

CPU = torch.device("cpu")
VOCABULARY = Vocabulary.build([["a", "man", "runs", "home"]], min_count=1)


@pytest.fixture
def store(tmp_path):
    """Clips of 2 to 8 frames."""
    write_features(tmp_path / "store.h5", [f"clip{index}" for index in range(9)])
    return FeatureStore(tmp_path / "store.h5")


@pytest.mark.parametrize("most", [1, 2, 5, 16, 50])
def test_a_thinned_clip_is_the_middles_of_as_many_equal_stretches(most):
    for length in range(most + 1, 4 * most + 3):
        chosen = sample_uniformly(np.arange(length), most)
        assert chosen.tolist() == [(2 * stretch + 1) * length // (2 * most) for stretch in range(most)]
        assert set(np.diff(chosen)) <= {length // most, length // most + 1}  # evenly, in order
        assert chosen[0] < length / most  # neither the first stretch nor the last goes unseen
        assert chosen[-1] >= length - length / most


def test_a_short_clip_keeps_all_its_frames():
    for length in range(1, 6):
        assert sample_uniformly(np.arange(length), 5).tolist() == list(range(length))


def test_batches_are_padded_with_zeros_and_masked(store):
    items = store.items
    features = FeatureBatches(store, max_frames=5, device=CPU).batch(items)
    arrays = [sample_uniformly(store.read(item), 5) for item in items]
    assert {len(array) for array in arrays} > {2, 5}
    assert features.frames.shape == (9, 5, DIM)
    assert features.frames.dtype == torch.float32
    assert features.mask.sum(1).tolist() == [len(array) for array in arrays]
    for row, array in enumerate(arrays):
        assert np.array_equal(features.frames[row, : len(array)].numpy(), array.astype(np.float32))
        assert features.mask[row, : len(array)].all()
        assert not features.frames[row, len(array) :].any()


def test_a_batch_is_as_long_as_its_longest_clip(store):
    short = [item for item in store.items if len(store.read(item)) == 2]
    assert FeatureBatches(store, max_frames=5, device=CPU).batch(short).frames.shape[1] == 2


@pytest.mark.parametrize("room", [0, 60, 2**30])
def test_what_is_kept_in_memory_changes_nothing(store, monkeypatch, room):
    monkeypatch.setattr("captionrl.training.data.CACHE_BYTES", room)
    clips = FeatureBatches(store, max_frames=5, device=CPU)
    first, again = clips.batch(store.items), clips.batch(store.items)
    assert torch.equal(first.frames, again.frames)
    assert torch.equal(first.frames, FeatureBatches(store, max_frames=5, device=CPU).batch(store.items).frames)
    assert clips._cached <= room


def test_without_visual_input_a_clip_is_one_zero_frame_whatever_it_shows(store, monkeypatch):
    monkeypatch.setattr(FeatureStore, "read", lambda *_: pytest.fail("looked"))
    features = FeatureBatches(store, max_frames=5, device=CPU, visual_input=False).batch(store.items)
    assert torch.equal(features.frames, torch.zeros(9, 1, DIM))
    assert torch.equal(features.mask, torch.ones(9, 1, dtype=torch.bool))


def test_items_without_features_are_dropped_from_their_splits(store):
    items = {"train": ["clip0", "gone", "clip1"], "val": ["lost"], "test": ["clip2"]}
    captions = Captions({split: [Item(id, split, None) for id in ids] for split, ids in items.items()}, {}, {})
    kept = with_features(captions, store).items
    assert {split: [item.id for item in kept[split]] for split in kept} == {
        "train": ["clip0", "clip1"], "val": [], "test": ["clip2"]
    }  # fmt: skip
    assert len(captions.items["train"]) == 3
    assert with_features(captions, store, "train", "test").items == kept
    with pytest.raises(UserError, match=rf"^{store.path}: has features of no item in split val; extract those of this"):
        with_features(captions, store, "val")


def corpus(*captions: str) -> Captions:
    """One training item a caption, but for the last two, which share one; and a validation item."""
    texts = {f"clip{index}": [caption.split()] for index, caption in enumerate(captions[:-1])}
    texts[f"clip{len(captions) - 2}"].append(captions[-1].split())
    items = {"train": [Item(id, "train", None) for id in texts], "val": [Item("other", "val", None)], "test": []}
    return Captions(items, {}, {**texts, "other": [["home"]]})


def pairs(captions: Captions, batch: int = 2, seed: int = 1, max_words: int = 3) -> CaptionPairs:
    return CaptionPairs(data_of(captions, max_words), "train", batch, seed)


def data_of(captions: Captions, max_words: int = 3) -> Data:
    return Data(captions, VOCABULARY, max_words, torch.device("cpu"))


def epoch(source: CaptionPairs, number: int) -> list[tuple[str, tuple[int, ...]]]:
    """All pairs of an epoch in their order, without padding."""
    read = []
    for index in range(len(source)):
        items, tokens = source.batch(number, index)
        assert len(items) == len(tokens) <= source.batch_size
        read += [(item, tuple(row[row != PAD].tolist())) for item, row in zip(items, tokens, strict=True)]
    return read


SIX = corpus("a man", "man runs", "a", "home", "runs home", "a man runs")


@pytest.mark.parametrize(("batch", "batches"), [(1, 6), (2, 3), (4, 2), (6, 1), (100, 1)])
def test_an_epoch_is_every_pair_of_the_split_once(batch, batches):
    source = pairs(SIX, batch)
    assert len(source) == batches
    a, man, runs, home = (VOCABULARY.encode([word])[0] for word in ("a", "man", "runs", "home"))
    expected = [("clip0", (a, man, EOS)), ("clip1", (man, runs, EOS)), ("clip2", (a, EOS)), ("clip3", (home, EOS))]
    expected += [("clip4", (runs, home, EOS)), ("clip4", (a, man, runs, EOS))]
    for number in range(3):
        assert sorted(epoch(source, number)) == sorted(expected)


def test_every_epoch_and_every_seed_has_an_order_of_its_own():
    orders = [tuple(epoch(pairs(SIX, seed=seed), number)) for seed in (1, 2) for number in range(3)]
    assert len(set(orders)) == 6


def test_a_seed_may_be_as_long_as_one_likes():
    orders = [tuple(epoch(pairs(SIX, seed=seed), number)) for seed in (10**17, 2**63 - 1) for number in range(3)]
    assert len(set(orders)) == 6


def test_a_batch_depends_on_no_batch_before_it():
    """So a resumed training sees what it would have seen."""
    whole = [pairs(SIX).batch(number, index) for number in (0, 1) for index in range(3)]
    resumed = pairs(SIX)
    for place in (4, 1, 5, 0):
        items, tokens = resumed.batch(*divmod(place, 3))
        assert items == whole[place][0]
        assert torch.equal(tokens, whole[place][1])


def test_long_captions_are_cut_and_do_not_end_there():
    captions = corpus("a man runs home a man", "a man runs home", "a man runs")
    words = tuple(VOCABULARY.encode(["a", "man", "runs"]))
    assert sorted(tokens for _, tokens in epoch(pairs(captions, batch=3), 0)) == [words, words, (*words, EOS)]
    boundaries = {item: [[True] * len(text) for text in texts] for item, texts in captions.tokens.items()}
    source = CaptionPairs(replace(data_of(captions), boundaries=boundaries), "train", 3, seed=1)
    (_, tokens), ends = source.batch(0, 0), source.boundaries(0, 0)
    assert torch.equal(ends, tokens > EOS)


def test_unknown_words_are_unk():
    assert ("clip0", (UNK, EOS)) in epoch(pairs(corpus("yak", "a", "a")), 0)


def test_captions_are_padded_beyond_their_end():
    assert pad([[4, EOS], [4, 5, EOS], [EOS]]).tolist() == [[4, EOS, PAD], [4, 5, EOS], [EOS, PAD, PAD]]
