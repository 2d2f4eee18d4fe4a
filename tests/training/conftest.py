from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import BACKBONE, World, tiny_world
from toy import FEATURE, MAX_TOKENS

from captionrl.datasets.corpus import Item
from captionrl.datasets.prepared import Captions
from captionrl.features.store import FeatureStore, write_store
from captionrl.text.vocabulary import Vocabulary
from captionrl.training.data import Data, FeatureBatches


@contextmanager
def one_thread() -> Iterator[None]:
    """Equal bits need equal numbers of threads, and a process forked off several of torch's may hang."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return tiny_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def xe(world: World) -> Path:
    """The checkpoint of xe-baseline/xe, trained without interruption."""
    with one_thread():
        return world.train("xe-baseline", "xe", world.root / "xe/seed1.safetensors")


@pytest.fixture(scope="session")
def critic(world: World) -> Path:
    """The checkpoint of critic/critic."""
    with one_thread():
        return world.train("boundary-critic", "boundary-critic", world.root / "critic/seed1.safetensors", features=None)


@pytest.fixture(scope="session")
def warm(world: World, critic: Path) -> Path:
    """The checkpoint of hrl-16-warm/xe-warm."""
    with one_thread():
        return world.train("hrl-16-warm", "xe-warm", world.root / "warm/seed1.safetensors", start=critic)


@pytest.fixture
def four_pictures(tmp_path: Path) -> Data:
    """Of each picture, eight references, the same two of three words: 40 captions can be written."""
    references = {"picture0": "a b", "picture1": "b c", "picture2": "c a", "picture3": "a c"}
    pictures = [(item, 3 * np.eye(FEATURE)[row : row + 1]) for row, item in enumerate(references)]
    write_store(tmp_path / "store.h5", pictures, BACKBONE | {"dim": FEATURE})
    items = {split: [Item(item, split, None) for item in references] for split in ("train", "val")}
    tokens = {item: 8 * [text.split()] for item, text in references.items()}
    vocabulary = Vocabulary.build([text for texts in tokens.values() for text in texts], min_count=1)
    cpu = torch.device("cpu")
    clips = FeatureBatches(FeatureStore(tmp_path / "store.h5"), 5, cpu)
    return Data(Captions(items, {}, tokens), vocabulary, MAX_TOKENS - 1, cpu, clips)
