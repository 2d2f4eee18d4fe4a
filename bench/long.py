"""Memory and open files over a long extraction, training and prediction: do they stay what they are in the beginning?

    python bench/long.py --items 10000 --updates 10000 --draw docs/long.png

Runs the commands themselves, on links to a few rendered clips, and looks at each process five times a second.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from random import Random

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from timing import machine

from captionrl.datasets.mini.draw import write_clip
from captionrl.datasets.mini.world import ACTORS, sample_scene

CLIPS = 10  # different ones
BATCH = 16
PERIOD = 0.2  # seconds between two looks
BEGINNING = 0.3  # of the time: until then all has been loaded, and what is kept has been filled


@dataclass(frozen=True)
class Row:
    """What a command took; of `mib` and `files`, resident memory and open files, one number a look."""

    what: str
    seconds: list[float]
    mib: list[float]
    files: list[int]

    def growth(self) -> tuple[float, int]:
        """The most of the rest of the time less the most of the beginning, MiB and files."""
        first = max(1, sum(second < BEGINNING * self.seconds[-1] for second in self.seconds))
        return (
            max(self.mib[first:], default=0.0) - max(self.mib[:first]),
            max(self.files[first:], default=0) - max(self.files[:first]),
        )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--items", type=int, default=10_000, help="(default: %(default)s)")
    arguments.add_argument("--updates", type=int, default=10_000, help="of the training (default: %(default)s)")
    arguments.add_argument("--json", type=Path, help="write the figures here, too")
    arguments.add_argument("--draw", type=Path, help="draw them as PNG")
    given = arguments.parse_args()
    print(
        f"{machine()}\n\n| what | seconds | MiB, at most | growth | open files, at most | growth |\n"
        "|---|---|---|---|---|---|"
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for command in commands(Path(folder), given.items, given.updates):
            rows.append(watch(command, Path(folder)))
            row, (mib, files) = rows[-1], rows[-1].growth()
            memory = f"{max(row.mib):.0f} | {mib:+.0f}"
            print(f"| {row.what} | {row.seconds[-1]:.0f} | {memory} | {max(row.files)} | {files:+d} |", flush=True)
    if given.json:
        given.json.write_text(
            json.dumps({"machine": machine(), "rows": [asdict(row) for row in rows]}, indent=1) + "\n"
        )
    if given.draw:
        draw(rows, given.draw)


def commands(folder: Path, items: int, updates: int) -> list[list[str]]:
    """The commands to watch, in a folder with a prepared corpus of `items`."""
    raw = folder / "raw"
    for number in range(CLIPS):
        scene = sample_scene(Random(number), train=True, actors=ACTORS, events=1, seconds=2.0)
        write_clip(scene, folder / f"clips/{number}.mp4", Fraction(12))
    raw.mkdir()
    with open(raw / "captions.jsonl", "w") as file:
        for number in range(items):
            os.link(folder / f"clips/{number % CLIPS}.mp4", raw / f"clip{number}.mp4")
            captions = [f"somebody does {number % CLIPS} things", f"clip {number % CLIPS}"]
            split = ("train", "train", "val", "test")[number % 4]
            file.write(json.dumps({"media": f"clip{number}.mp4", "captions": captions, "split": split}) + "\n")
    prepared = ["--captions", "captions"]
    subprocess.run([*captionrl("corpus"), "long", "--raw", "raw", "--out", "captions"], cwd=folder, check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    epochs = updates / (items // 2 * 2 / BATCH)
    phase = {"epochs": epochs, "validate_every": max(1.0, epochs / 20), "batch": BATCH}
    overrides = json.dumps({"phases": {"xe": phase}})
    train = [
        "hrl/xe-baseline/xe",
        "--scale",
        "mini",
        "--corpus",
        "msrvtt-mini",
        "--seed",
        "1",
        "--overrides",
        overrides,
    ]
    predict = ["--checkpoint", "xe.safetensors", "--split", "train", "--out", "train.json"]
    return [
        [*captionrl("features"), "--backbone", "mini", "--raw", "raw", *prepared, "--out", "mini.h5"],
        [*captionrl("train"), *train, *prepared, "--features", "mini.h5", "--out", "xe.safetensors"],
        [*captionrl("predict"), *predict, *prepared, "--features", "mini.h5"],
    ]


def captionrl(command: str) -> list[str]:
    return [sys.executable, "-c", "from captionrl.cli import main; main()", command]


def watch(command: list[str], folder: Path) -> Row:
    """Run a command in `folder`, on the CPU, and look at its process."""
    row = Row(command[3], [], [], [])
    began = time.monotonic()
    with open(folder / "log", "w") as log:
        process = subprocess.Popen([*command, "--device", "cpu"], cwd=folder, stderr=log)
        while process.poll() is None:
            try:
                pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
                files = len(os.listdir(f"/proc/{process.pid}/fd"))
            except (OSError, IndexError):  # it has just ended
                continue
            if not pages:  # it is ending
                continue
            row.seconds.append(time.monotonic() - began)
            row.mib.append(pages * os.sysconf("SC_PAGESIZE") / 2**20)
            row.files.append(files)
            time.sleep(PERIOD)
    if process.returncode:
        sys.exit((folder / "log").read_text()[-2000:])
    return row


def draw(rows: list[Row], path: Path) -> None:
    """A column a command, memory above open files."""
    figure = Figure((9, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, len(rows), sharex="col")
    for column, row in enumerate(rows):
        for above, numbers in enumerate((row.mib, row.files)):
            axes = grid[above][column]
            axes.plot(row.seconds, numbers, color="#0072B2")
            axes.set_ylim(bottom=0)
            axes.spines[["top", "right"]].set_visible(False)
        grid[0][column].set_title(row.what)
        grid[1][column].set_xlabel("seconds")
    grid[0][0].set_ylabel("resident MiB")
    grid[1][0].set_ylabel("open files")
    figure.savefig(path, metadata={"Software": None})


if __name__ == "__main__":
    main()
