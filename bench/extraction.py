"""Feature extraction against the work-conserving bound: all cores busy with nothing but decoding and the backbone."""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from timing import Row, report

from captionrl.features.backbones import Backbone, MiniResNet, load_backbone, save_mini
from captionrl.features.extract import extract
from captionrl.features.torchvision_cpu import torchvision
from captionrl.features.video import sample_frames

FPS = 3.0
CORES = len(os.sched_getaffinity(0))


def measure(least: float, scale: str, clips: Path) -> list[Row]:
    media = sorted(path for path in clips.iterdir() if path.suffix in (".avi", ".mp4", ".gif"))
    names = ["mini", "resnet152"] if scale == "paper" else ["mini"]
    with tempfile.TemporaryDirectory() as folder:
        return [row(backbone(name, Path(folder)), media, Path(folder), least) for name in names]


def backbone(name: str, folder: Path) -> Backbone:
    """With random weights, which change no time, but residual branches of zero: features would overflow."""
    torch.manual_seed(1)
    path = folder / f"{name}.safetensors"
    if name == "mini":
        save_mini(MiniResNet({"shape": 2}), path)
    else:
        path = path.with_suffix(".pth")
        torch.save(torchvision.models.resnet152(zero_init_residual=True).state_dict(), path)
    return load_backbone(name, path)


def row(backbone: Backbone, media: list[Path], folder: Path, least: float) -> Row:
    frames: list[torch.Tensor] = []

    def decode() -> None:
        frames.clear()
        for path in media:
            images = [image for _, image in sample_frames(path, FPS, backbone.resize)]
            frames.append(torch.from_numpy(np.stack(images)))

    def forward() -> None:
        for clip in frames:
            backbone.forward(clip)

    def everything() -> None:
        state = folder / "state" / str(time.perf_counter_ns())
        items = [(f"{path.stem}-{turn}", path) for turn in range(turns) for path in media]
        extract(items, backbone, folder / "out.h5", folder / "out.json", state=state, code_version="", fps=FPS)

    decoding = alone(decode, least)
    number = sum(map(len, frames))
    computing = alone(forward, least)
    bound = CORES * number / (decoding + computing)
    turns = max(4, round(least / ((decoding + computing) / CORES)))  # with few clips, the last one decides
    began = time.perf_counter()
    everything()
    reached = turns * number / (time.perf_counter() - began)
    what = (
        f"extraction, backbone {backbone.name}; bound: {CORES} cores, each frame {1e3 * decoding / number:.2f} ms of "
        f"decoding and {1e3 * computing / number:.2f} ms of the backbone on one core"
    )
    return Row(
        what, f"{reached:.0f} frames/s", f"{bound:.0f} frames/s", reached / bound, "≥ 0.9 x", reached >= 0.9 * bound
    )


def alone(call: Callable[[], None], least: float) -> float:
    """The seconds that a call takes on one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    call()
    taken: list[float] = []
    began = time.perf_counter()
    while not taken or time.perf_counter() - began < least:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    torch.set_num_threads(threads)
    return float(np.median(taken))


if __name__ == "__main__":
    report(measure, __doc__, "real clips: .avi, .mp4 or .gif files")
