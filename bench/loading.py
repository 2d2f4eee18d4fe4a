"""Reading training batches from a feature store of MSR-VTT's size, against what the fastest training step consumes."""

import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from timing import Row, in_turns, report
from world import DEVICE, VOCABULARY, Batch

from captionrl.config import load_paper
from captionrl.features.store import ATTRIBUTES, FeatureStore, write_store
from captionrl.models import Policy, build_module
from captionrl.objectives.xe import xe_loss
from captionrl.training.data import FeatureBatches

BATCH = 64


def arrays(items: int, frames: int, width: int) -> Iterator[tuple[str, np.ndarray]]:
    """Features of simulated clips, no two alike."""
    noise = np.random.default_rng(1).random(items + frames * width).astype(np.float16)
    for number in range(items):
        yield f"video{number}", noise[number : number + frames * width].reshape(frames, width)


def measure(least: float, scale: str) -> list[Row]:
    items, frames, width = (10_000, 50, 2048) if scale == "paper" else (256, 5, 32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.h5"
        write_store(
            path, arrays(items, frames, width), dict.fromkeys(ATTRIBUTES, "simulated") | {"fps": 3.0, "dim": width}
        )
        clips = FeatureBatches(FeatureStore(path), frames, DEVICE)
        rates: list[float] = []
        memory: list[int] = []
        began = time.perf_counter()
        while len(rates) < 3 or time.perf_counter() - began < least:
            start = time.perf_counter()
            order = np.random.default_rng(len(rates)).permutation(items)
            for first in range(0, items, BATCH):
                clips.batch([f"video{number}" for number in order[first : first + BATCH]])
            rates.append(items / (time.perf_counter() - start))
            memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    rate, consumed, grown = float(np.median(rates)), fastest(scale, least), memory[-1] - memory[0]
    what = (
        f"batches of {BATCH} from a store of {items} x {frames} x {width}, against the fastest step (Mean-Pooling, XE)"
    )
    return [
        Row(what, f"{rate:.0f} items/s", f"{consumed:.0f} items/s", rate / consumed, "≥ 3 x", rate >= 3 * consumed),
        Row(f"memory that passes 2 to {len(memory)} over the store add", f"{grown} MiB", "-", None, "0", grown == 0),
    ]


def fastest(scale: str, least: float) -> float:
    """Items a second of cross-entropy steps of the captioner with the least to compute."""
    batch = Batch.make(scale, BATCH)
    paper = load_paper(Path(__file__).parents[1] / "papers/hrl", scale)
    sizes = paper.sizes_of("mean-pooling", next(iter(paper.corpora)))
    policy = build_module("mean-pooling", batch.features.frames.shape[-1], len(VOCABULARY), sizes).to(DEVICE)
    assert isinstance(policy, Policy)
    optimiser = torch.optim.Adadelta(policy.parameters())

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        xe_loss(policy, batch.features, batch.tokens)[0].backward()
        optimiser.step()

    return BATCH / in_turns(step, least=least)[0]


if __name__ == "__main__":
    report(measure, __doc__)
