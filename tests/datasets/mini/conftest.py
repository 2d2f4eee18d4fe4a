"""The mini world on disk: its whole annotation without clips, and tiny copies with clips."""

from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import pytest

from captionrl.datasets.mini import write
from captionrl.datasets.mini.world import Scene

TINY = {"msrvtt-mini": (4, 2, 2), "charades-mini": (6, 2), "imagenet-mini": 30}


@dataclass(frozen=True)
class Annotated:
    """A mini data set of full size whose clips were not rendered, and the scene of each item."""

    raw: Path
    scenes: dict[str, Scene]
    rates: dict[str, Fraction]


def annotate(name: str, raw: Path) -> Annotated:
    clips: list[tuple[Scene, Path, Fraction]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "_write_clips", lambda wanted, workers: clips.extend(wanted))
        write.write_world(name, raw, version="test")
    return Annotated(raw, {path.stem: scene for scene, path, _ in clips}, {path.stem: rate for _, path, rate in clips})


@pytest.fixture(scope="session")
def msrvtt(tmp_path_factory: pytest.TempPathFactory) -> Annotated:
    return annotate("msrvtt-mini", tmp_path_factory.mktemp("msrvtt-mini"))


@pytest.fixture(scope="session")
def charades(tmp_path_factory: pytest.TempPathFactory) -> Annotated:
    return annotate("charades-mini", tmp_path_factory.mktemp("charades-mini"))


@pytest.fixture
def tiny_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    """write_world writes tiny data sets."""
    monkeypatch.setattr(write, "write_msrvtt", partial(write.write_msrvtt, sizes=TINY["msrvtt-mini"], captions=3))
    monkeypatch.setattr(write, "write_charades", partial(write.write_charades, sizes=TINY["charades-mini"]))
    monkeypatch.setattr(write, "write_imagenet", partial(write.write_imagenet, size=TINY["imagenet-mini"]))
