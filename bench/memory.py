"""Step 3 of the E2E paper at its shapes: peak memory and time with and without what saves memory; the loader's rate.

    OMP_NUM_THREADS=2 python bench/memory.py --clips 4

Each setting runs in a process of its own, whose peak it prints: the whole process', Python and torch included. Weights
are random and frames noise; S2VT has the paper's widths, and eleven thousand words.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SETTINGS = {  # frames whose activations are kept, parts of a batch, precision
    "all at once": (None, 1, "float32"),
    "accumulation, 2 parts": (None, 2, "float32"),
    "accumulation, a part a clip": (None, 0, "float32"),
    "checkpointing, 5 frames": (5, 1, "float32"),
    "both": (5, 0, "float32"),
    "bf16": (None, 1, "bfloat16"),
    "bf16, checkpointing": (5, 1, "bfloat16"),
}
WORDS = 11_000
FRAMES, SIDE, SAMPLES = 5, 224, 5


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--clips", type=int, default=4, help="of a batch (default: %(default)s)")
    arguments.add_argument("--steps", type=int, default=2, help="counted, after one that is not")
    arguments.add_argument("--only", choices=SETTINGS, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.only:
        print(json.dumps(measure(*SETTINGS[given.only], given.clips, given.steps)))
        return
    print(f"{'setting':<30}{'peak GiB':>10}{'seconds a step':>16}   ({given.clips} clips, {os.cpu_count()} cores)")
    slowest = 0.0
    for name in SETTINGS:
        command = [sys.executable, __file__, "--only", name, "--clips", str(given.clips), "--steps", str(given.steps)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"{name:<30}  failed ({done.returncode}): {done.stderr.strip().splitlines()[-1:]}")
            continue
        found = json.loads(done.stdout)
        print(f"{name:<30}{found['peak'] / 2**30:>10.2f}{found['seconds']:>16.2f}", flush=True)
        slowest = max(slowest, given.clips / found["seconds"])
    rate = loading()
    print(f"loader: {rate:.0f} clips/s; fastest step: {slowest:.2f} clips/s; ratio {rate / slowest:.0f}")


def measure(at_once: int | None, parts: int, precision: str, clips: int, steps: int) -> dict[str, float]:
    import torch

    from captionrl.config import Sizes
    from captionrl.decoding.rollout import greedy, sample
    from captionrl.models.e2e import EndToEnd
    from captionrl.models.policy import Features
    from captionrl.objectives.multitask import attribute_loss, multitask_loss
    from captionrl.objectives.reinforce import policy_gradient_loss

    torch.manual_seed(0)
    sizes = Sizes(decoder=1000, attention=1, embedding=500, projection=500, dropout=0.2, init=0.1)
    policy = EndToEnd(1536, WORDS, sizes, "inception-resnet-v2-frames").train()
    policy.eyes.at_once = at_once
    optimiser = torch.optim.Adam(policy.parameters(), lr=1e-6)
    parts = parts or clips
    frames = torch.randint(256, (clips, FRAMES, SIDE, SIDE, 3), dtype=torch.uint8)
    began = 0.0
    for step in range(steps + 1):
        if step == 1:
            began = time.monotonic()
        optimiser.zero_grad(set_to_none=True)
        for part in frames.chunk(parts):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                seen = policy.see(Features(part, torch.ones(part.shape[:2], dtype=torch.bool)))
                memory = policy.encode(seen)
                rows = torch.arange(len(part)).repeat_interleave(SAMPLES)
                rollout = sample(policy, memory.select(rows), 35)
                with torch.no_grad():
                    greedy(policy, memory, 35)
                reward = torch.rand(len(rows), 1)  # what a reward costs, bench/reward.py says
                captions = policy_gradient_loss(rollout, reward, torch.zeros_like(reward))
                attributes = attribute_loss(policy.attributes(seen), torch.rand(len(part), 400) < 0.05)
                loss = multitask_loss(captions, attributes, 0.95) * len(part) / clips
            loss.backward()
        optimiser.step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"peak": peak, "seconds": (time.monotonic() - began) / steps}


def loading() -> float:
    """Clips a second from a frame store, in batches of 16, nothing kept in memory but what the system keeps."""
    import numpy as np
    import torch

    from captionrl.features.frames import pack
    from captionrl.features.keeper import frame_keeper
    from captionrl.features.store import FeatureStore, write_store
    from captionrl.training import data

    data.CACHE_BYTES = 0
    keeper = frame_keeper("inception-resnet-v2-frames", FRAMES)
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        rough = torch.from_numpy(generator.uniform(0, 255, (64 * FRAMES, 3, 28, 28)))
        fine = torch.nn.functional.interpolate(rough, (SIDE, SIDE), mode="bicubic").clamp(0, 255).to(torch.uint8)
        frames = fine.permute(0, 2, 3, 1).unflatten(0, (64, FRAMES)).numpy()
        attributes = {"backbone": keeper.name, "weights_sha256": keeper.weights_sha256, "fps": 3.0, "dim": keeper.dim}
        attributes |= {"transform": keeper.transform, "code_version": "1"}
        path = Path(folder) / "frames.h5"
        write_store(path, ((f"clip{i}", pack(clip)) for i, clip in enumerate(frames)), attributes)
        clips = data.clips_of(FeatureStore(path), FRAMES, torch.device("cpu"))
        assert isinstance(clips, data.Films)
        batches = [[f"clip{i}" for i in range(first, first + 16)] for first in (0, 16, 32, 48)] * 5
        began = time.monotonic()
        for batch, following in zip(batches, [*batches[1:], []], strict=True):
            found = clips.batch(batch)
            clips.prefetch(following)
            assert found.frames.shape == (16, FRAMES, SIDE, SIDE, 3)
        return 16 * len(batches) / (time.monotonic() - began)


if __name__ == "__main__":
    main()
