"""Step 3 of the E2E paper at its shapes: peak memory and time with and without what saves memory; the loader's rate.

    OMP_NUM_THREADS=2 python bench/memory.py --clips 32

Each setting runs in a process of its own and prints its peak: on a CPU the whole process', Python and torch included;
on a GPU what torch has taken of the card's memory. Weights are random and frames noise; S2VT has the paper's widths,
and eleven thousand words.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from timing import machine

from captionrl.config import Paper, load_paper
from captionrl.decoding.rollout import greedy, sample
from captionrl.device import pick_device
from captionrl.features.frame_sampler import FrameSampler, frame_sampler
from captionrl.features.frames import pack
from captionrl.features.store import FeatureStore, write_store
from captionrl.models.e2e import EndToEnd
from captionrl.models.policy import Features
from captionrl.objectives.multitask import attribute_loss, multitask_loss
from captionrl.objectives.reinforce import policy_gradient_loss
from captionrl.training import data

SETTINGS = {  # is the batch taken in parts, are activations recomputed, precision
    "all at once": (False, False, "float32"),
    "accumulation": (True, False, "float32"),
    "checkpointing": (False, True, "float32"),
    "both": (True, True, "float32"),
    "bf16": (False, False, "bfloat16"),
    "bf16, checkpointing": (False, True, "bfloat16"),
    "bf16, both": (True, True, "bfloat16"),
}
FRAMES, SAMPLES = 5, 5


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--clips", type=int, default=16, help="of a batch (default: %(default)s)")
    arguments.add_argument("--parts", type=int, default=4, help="of a batch that is accumulated (default: %(default)s)")
    arguments.add_argument("--frames", type=int, default=40, help="recomputed at once (default: %(default)s)")
    arguments.add_argument("--steps", type=int, default=2, help="counted, after one that is not")
    arguments.add_argument("--scale", choices=("paper", "mini"), default="paper", help="sizes (default: %(default)s)")
    arguments.add_argument("--json", type=Path, help="write the figures here, too")
    arguments.add_argument("--only", choices=SETTINGS, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.only:
        in_parts, recompute, precision = SETTINGS[given.only]
        parts, at_once = given.parts if in_parts else 1, given.frames if recompute else None
        print(json.dumps(measure(given.scale, given.clips, parts, at_once, precision, given.steps)))
        return
    sizes = f"{given.clips} clips, {given.parts} parts, {given.frames} frames recomputed at once"
    print(machine())
    print(f"{'setting':<24}{'peak GiB':>10}{'seconds a step':>16}   ({sizes})")
    rows, fastest = [], 0.0
    for name in SETTINGS:
        command = [sys.executable, __file__, "--only", name, *sys.argv[1:]]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"{name:<24}  failed ({done.returncode}): {done.stderr.strip().splitlines()[-1:]}", flush=True)
            continue
        found = json.loads(done.stdout)
        print(f"{name:<24}{found['peak'] / 2**30:>10.2f}{found['seconds']:>16.2f}", flush=True)
        rows.append({"what": name, **found})
        fastest = max(fastest, given.clips / found["seconds"])
    if not rows:
        sys.exit("no setting fits this machine; take fewer --clips")
    rate = loading(given.scale)
    print(f"loader: {rate:.0f} clips/s; fastest step: {fastest:.2f} clips/s; ratio {rate / fastest:.1f}")
    rows.append({"what": "loader", "rate": rate})
    if given.json:
        given.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


def scenery(scale: str) -> tuple[Paper, FrameSampler]:
    paper = load_paper(Path(__file__).parents[1] / "papers/e2e", scale)
    return paper, frame_sampler(paper.backbone, FRAMES)


def measure(scale: str, clips: int, parts: int, at_once: int | None, precision: str, steps: int) -> dict[str, float]:
    torch.manual_seed(0)
    device = pick_device("auto")
    paper, sampler = scenery(scale)
    sizes, side = paper.sizes_of("e2e", next(iter(paper.corpora))), sampler.resize.size
    words = 11_000 if scale == "paper" else 200
    policy = EndToEnd(sampler.dim, words, sizes, sampler.name).to(device).train()
    policy.cnn.at_once = at_once
    optimiser = torch.optim.Adam(policy.parameters(), lr=1e-6)
    frames = torch.randint(256, (clips, FRAMES, side, side, 3), dtype=torch.uint8)
    began = 0.0
    for step in range(steps + 1):
        if step == 1:
            began = now(device)
        optimiser.zero_grad(set_to_none=True)
        for part in frames.chunk(parts):
            part = part.to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                shown = torch.ones(part.shape[:2], dtype=torch.bool, device=device)
                seen = policy.visual_features(Features(part, shown))
                memory = policy.encode(seen)
                rows = torch.arange(len(part), device=device).repeat_interleave(SAMPLES)
                rollout = sample(policy, memory.select(rows), 35)
                with torch.no_grad():
                    greedy(policy, memory, 35)
                reward = torch.rand(len(rows), 1, device=device)  # what a reward costs, bench/reward.py says
                captions = policy_gradient_loss(rollout, reward)
                attributes = attribute_loss(
                    policy.attributes(seen), torch.rand(len(part), sizes.attributes, device=device) < 0.05
                )
                loss = multitask_loss(captions, attributes, 0.95) * len(part) / clips
            loss.backward()
        optimiser.step()
    seconds = (now(device) - began) / steps
    if device.type == "cuda":
        return {"peak": torch.cuda.max_memory_reserved(), "seconds": seconds}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"peak": peak, "seconds": seconds}


def now(device: torch.device) -> float:
    """Seconds of a clock, when the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.monotonic()


def loading(scale: str) -> float:
    """Clips a second from a frame store, in batches of 16, nothing kept in memory but what the system keeps."""
    data.CACHE_BYTES = 0
    sampler = scenery(scale)[1]
    side = sampler.resize.size
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        rough = torch.from_numpy(generator.uniform(0, 255, (64 * FRAMES, 3, 28, 28)))
        fine = torch.nn.functional.interpolate(rough, (side, side), mode="bicubic").clamp(0, 255).to(torch.uint8)
        frames = fine.permute(0, 2, 3, 1).unflatten(0, (64, FRAMES)).numpy()
        attributes = {
            "backbone": sampler.name,
            "weights_sha256": sampler.weights_sha256,
            "fps": 3.0,
            "dim": sampler.dim,
        }
        attributes |= {"transform": sampler.transform, "code_version": "1"}
        path = Path(folder) / "frames.h5"
        write_store(path, ((f"clip{i}", pack(clip)) for i, clip in enumerate(frames)), attributes)
        clips = data.clips_of(FeatureStore(path), FRAMES, torch.device("cpu"))
        assert isinstance(clips, data.FrameBatches)
        batches = [[f"clip{i}" for i in range(first, first + 16)] for first in (0, 16, 32, 48)] * 5
        began = time.monotonic()
        for batch, following in zip(batches, [*batches[1:], []], strict=True):
            found = clips.batch(batch)
            clips.prefetch(following)
            assert found.frames.shape == (16, FRAMES, side, side, 3)
        return 16 * len(batches) / (time.monotonic() - began)


if __name__ == "__main__":
    main()
