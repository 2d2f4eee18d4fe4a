"""Clips whose every frame tells its own time by its brightness, and weights for the mini backbone."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from captionrl.features.backbones import MiniResNet, save_mini

REAL_CLIPS = sorted((Path(__file__).parents[2].parent / "shared/data/msvd/clips").glob("*.avi"))
SECONDS_PER_LEVEL = 0.05  # brightness 10 + time / SECONDS_PER_LEVEL: clips up to 12 s


def write_clip(path: Path, times: Sequence[float], rate: Fraction | int = 30, size: tuple[int, int] = (64, 48)) -> Path:
    """A clip with frames shown from `times` (seconds), its k-th frame as bright as times[k] - times[0] says."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "0", "threads": "1"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        clock = Fraction(rate) if path.suffix == ".avi" else Fraction(90000)  # AVI knows no times, it counts frames
        stream.codec_context.time_base = 1 / clock
        for time in times:
            level = round(10 + (time - times[0]) / SECONDS_PER_LEVEL)
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), level, np.uint8), format="rgb24")
            frame.time_base = 1 / clock
            frame.pts = round(time * clock)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_noise(path: Path, seconds: float, rate: int = 15, seed: int = 0, **options: str) -> Path:
    """A clip that compresses badly, so that cutting the file cuts frames."""
    generator = np.random.default_rng(seed)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=rate, options={"threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(round(seconds * rate)):
            pixels = generator.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def clip() -> Callable[..., Path]:
    return write_clip


@pytest.fixture
def noise() -> Callable[..., Path]:
    return write_noise


@pytest.fixture(params=REAL_CLIPS or [None], ids=lambda path: path.stem if path else "absent")
def real_clip(request: pytest.FixtureRequest) -> Path:
    if request.param is None:
        pytest.skip("the real MSVD clips (../shared/data/msvd/clips) are not on this machine")
    return request.param


@pytest.fixture(scope="session")
def mini_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = MiniResNet({"actor": 5, "action": 7})
    for module in model.modules():  # statistics other than 0 and 1, else a lost one would not be missed
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    path = tmp_path_factory.mktemp("weights") / "mini.safetensors"
    save_mini(model, path)
    return path
