"""Check the mini Table 1 and the log of the job that made it: every training ran, and the numbers make sense."""

import csv
import re
import sys
from pathlib import Path

from captionrl.config import load_paper

paper = load_paper("papers/hrl", "mini")
with open("results/table1.csv", encoding="utf-8") as file:
    rows = {row["method"]: row for row in csv.DictReader(file)}
assert list(rows) == [row.method for row in paper.tables["table1"].rows], list(rows)
assert Path("results/table1.csv").read_bytes() == Path("results/mini/hrl/table1.csv").read_bytes()

log, seeds = Path(sys.argv[1]).read_text(encoding="utf-8"), sys.argv[2:]
needed = paper.runs_of("table1")
for name in needed:  # and what they start from
    start = paper.runs[name].start
    if start and start not in needed:
        needed.append(start)
for name in needed:
    for phase in paper.runs[name].phases:
        for seed in seeds:
            assert re.search(rf"Training hrl/{name}/{phase} on msrvtt-mini, seed {seed}\b", log), (name, phase, seed)

cider = {method: float(row["CIDEr-D"]) for method, row in rows.items() if row["source"] == "ours"}
assert len(cider) == sum(row.run is not None for row in paper.tables["table1"].rows), cider
assert cider["XE-baseline"] > 2 * cider["no visual input"], cider
assert cider["RL-baseline"] > cider["XE-baseline"], cider
assert cider["RL-baseline"] > cider["compute-matched XE"], cider
assert max(float(rows["RL-baseline"][f"CIDEr-D_{p}"]) for p in ("p", "p_control")) < 0.05, rows["RL-baseline"]
assert cider["HRL"] > cider["HRL warm start"], cider
# Above its control HRL is by 18 points over three seeds, but by 5 with seed 1 alone, which says nothing (p = 0.35).
print("results/table1.csv: every training ran, XE-baseline sees, RL-baseline leads its control, HRL its warm start")
