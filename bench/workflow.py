"""How long Snakemake thinks before it works: in a fresh clone, and where there is nothing to do."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from timing import Row, pretty, report

ROOT = Path(__file__).parents[1]


def measure(least: float, scale: str) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
        what = f"cold `snakemake -n all` in a fresh clone, {scale} scale, {{}} jobs"
        planned = snakemake(folder, what, "Job stats", "-n", "all", "--config", f"scale={scale}")
    snakemake(ROOT, "", "Nothing", "-n", "results/table1.csv")  # or else the next call would begin to train
    nothing = snakemake(ROOT, "`snakemake results/table1.csv` after `make table1`", "Nothing", "results/table1.csv")
    return [planned, nothing]


def snakemake(folder: str | Path, what: str, says: str, *arguments: str) -> Row:
    command = [str(Path(sys.executable).with_name("snakemake")), *arguments]
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": f"{folder}/src"}, capture_output=True, text=True
    )
    took, said = time.perf_counter() - began, done.stdout + done.stderr
    if done.returncode or says not in said:
        sys.exit(f"{' '.join(command)} in {folder} did not say {says!r}; it ended with\n{said[-500:]}")
    total = [line.split()[1] for line in said.splitlines() if line.startswith("total")]
    return Row(what.format(*total[:1]), pretty(took), "-", None, "≤ 4 s", took <= 4)


if __name__ == "__main__":
    report(measure, __doc__)
