"""Time one thing against another, in turns, so that a machine that slows down slows both down."""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

SLICE = 0.05  # seconds: what is faster than this is timed over several calls


@dataclass(frozen=True)
class Row:
    """A line of docs/benchmarks.md."""

    what: str
    ours: str
    other: str
    ratio: float | None
    goal: str
    met: bool | None


def seconds(call: Callable[[], object]) -> float:
    """What one call takes."""
    calls = 1
    while True:
        began = time.perf_counter()
        for _ in range(calls):
            call()
        took = time.perf_counter() - began
        if took >= SLICE:
            return took / calls
        calls = max(calls + 1, int(1.5 * calls * SLICE / max(took, 1e-9)))


def in_turns(*calls: Callable[[], object], least: float) -> list[float]:
    """The median seconds of each call, over at least three turns and `least` seconds; of one turn if that is 0."""
    for call in calls if least else ():
        call()  # compile
    turns: list[list[float]] = []
    began = time.perf_counter()
    while len(turns) < (3 if least else 1) or time.perf_counter() - began < least:
        turns.append([seconds(call) for call in calls])
    return [statistics.median(column) for column in zip(*turns, strict=True)]


def pretty(duration: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e3)):
        if duration * scale >= 1:
            return f"{duration * scale:.3g} {unit}"
    return f"{duration * 1e6:.3g} µs"


def machine() -> str:
    """Where this runs: processor, usable cores, GPU, torch."""
    facts = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    processor = next((line.partition(": ")[2] for line in facts if line.startswith("model name")), platform.processor())
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{len(os.sched_getaffinity(0))} cores of {processor}, {gpu}, torch {torch.__version__}"


def report(measure: Callable[..., list[Row]], what: str, folder: str | None = None) -> None:
    """A script's main: measure, print a table, and with --json write the same as JSON.

    `folder` says what the folder holds that the script has to be given.
    """
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    parser.add_argument(
        "--seconds", type=float, default=10, help="least for each comparison; 0: one turn (default: %(default)g)"
    )
    scale = "sizes: the paper's, or tiny ones that only show that all runs and agrees (default: %(default)s)"
    parser.add_argument("--scale", choices=("paper", "mini"), default="paper", help=scale)
    if folder:
        parser.add_argument("folder", type=Path, help=folder)
    args = parser.parse_args()
    rows = measure(args.seconds, args.scale, *([args.folder] if folder else []))
    print(f"{machine()}\n\n| what | ours | compared with | ratio | goal | met |\n|---|---|---|---|---|---|")
    for row in rows:
        ratio = "-" if row.ratio is None else f"{row.ratio:.3g} x"
        met = {True: "yes", False: "**no**", None: "-"}[row.met]
        print(f"| {row.what} | {row.ours} | {row.other} | {ratio} | {row.goal} | {met} |")
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), "rows": [asdict(row) for row in rows]}, indent=1) + "\n")
