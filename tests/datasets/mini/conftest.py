"""The mini world on disk: its whole annotation without clips, and tiny copies with clips."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from captionrl.datasets.mini import write

TINY = {
    "msrvtt-mini": (4, 2, 2),
    "charades-mini": (6, 2),
    "imagenet-mini": 30,
    "coco-mini": (4, 2, 2, 2),
    "tgif-mini": (4, 2, 2),
}


@dataclass(frozen=True)
class Annotated:
    """A mini data set of full size whose media were not rendered: by their stem, the scene and the frame rate."""

    raw: Path
    scenes: dict[str, Any]
    rates: dict[str, Any]


def annotate(name: str, raw: Path) -> Annotated:
    media: list[tuple[Any, ...]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "_write_media", lambda raw, write, wanted, workers, unit: media.extend(wanted))
        write.write_world(name, raw, version="test")
    rates = {path.stem: rate for _, path, *rest in media for rate in rest}
    return Annotated(raw, {path.stem: scene for scene, path, *_ in media}, rates)


@pytest.fixture(scope="session")
def msrvtt(tmp_path_factory: pytest.TempPathFactory) -> Annotated:
    return annotate("msrvtt-mini", tmp_path_factory.mktemp("msrvtt-mini"))


@pytest.fixture(scope="session")
def charades(tmp_path_factory: pytest.TempPathFactory) -> Annotated:
    return annotate("charades-mini", tmp_path_factory.mktemp("charades-mini"))


@pytest.fixture(scope="session")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Annotated:
    return annotate("coco-mini", tmp_path_factory.mktemp("coco-mini"))


@pytest.fixture(scope="session")
def tgif(tmp_path_factory: pytest.TempPathFactory) -> Annotated:
    return annotate("tgif-mini", tmp_path_factory.mktemp("tgif-mini"))


@pytest.fixture
def tiny_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    """write_world writes tiny data sets."""
    monkeypatch.setattr(write, "write_msrvtt", partial(write.write_msrvtt, sizes=TINY["msrvtt-mini"], captions=3))
    monkeypatch.setattr(write, "write_charades", partial(write.write_charades, sizes=TINY["charades-mini"]))
    monkeypatch.setattr(write, "write_imagenet", partial(write.write_imagenet, size=TINY["imagenet-mini"]))
    monkeypatch.setattr(write, "write_coco", partial(write.write_coco, sizes=TINY["coco-mini"], unseen=3))
    monkeypatch.setattr(write, "write_tgif", partial(write.write_tgif, sizes=TINY["tgif-mini"]))
