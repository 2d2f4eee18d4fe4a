"""Charades' training csv, split by the people in it: what do systems gain on people that they were not trained on?

    python bench/people.py data/charades-annotations/Charades_v1_train.csv OTHER/data/charades-annotations

In a copy of the project, OTHER, without the official test videos; then there, for docs/hrl.md's experiment:

    snakemake --config scale=laptop 'seeds=[1]' -- \\
        work/charades-annotations/scores/hrl/{xe,rl}-baseline{,.greedy}/seed1.json

People are drawn until they have 1,000 videos, which become the test csv; the others' are the training csv. The figures
of docs/hrl.md are of commit 9238c67, which drew validation videos at random.
"""

import csv
import random
import sys
from collections import Counter
from pathlib import Path

source, out = Path(sys.argv[1]), Path(sys.argv[2])
with source.open(encoding="utf-8", newline="") as file:
    rows = list(csv.DictReader(file))
videos = Counter(row["subject"] for row in rows)
people = sorted(videos)
random.Random(2018).shuffle(people)
apart: set[str] = set()
while sum(videos[person] for person in apart) < 1000:
    apart.add(people[len(apart)])
out.mkdir(parents=True, exist_ok=True)
for name in ("train", "test"):
    chosen = [row for row in rows if (row["subject"] in apart) == (name == "test")]
    with (out / f"Charades_v1_{name}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(chosen)
    print(f"{name}: {len(chosen)} videos of {len({row['subject'] for row in chosen})} people")
