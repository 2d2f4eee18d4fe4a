from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny import World, tiny_world


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Equal bits need equal numbers of threads, and a process forked off several of torch's may hang."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return tiny_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def xe(world: World) -> Path:
    """The checkpoint of xe-baseline/xe, trained without interruption."""
    torch.set_num_threads(1)
    return world.train("xe-baseline", "xe", world.root / "xe/seed1.safetensors")


@pytest.fixture(scope="session")
def critic(world: World) -> Path:
    """The checkpoint of critic/critic."""
    torch.set_num_threads(1)
    return world.train("critic", "critic", world.root / "critic/seed1.safetensors", features=None)


@pytest.fixture(scope="session")
def warm(world: World, critic: Path) -> Path:
    """The checkpoint of hrl-16-warm/xe-warm."""
    torch.set_num_threads(1)
    return world.train("hrl-16-warm", "xe-warm", world.root / "warm/seed1.safetensors", start=critic)
