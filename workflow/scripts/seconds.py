"""Print what each rule has taken so far, from Snakemake's benchmark files.

    seconds.py work/benchmark          a line for each rule
    seconds.py work/benchmark train    a line for each training, its seeds together

Seconds are the sum over a line's jobs; memory is the largest resident set of any. A training that was interrupted
counts from where it went on.
"""

import csv
import re
import sys
from collections import defaultdict
from pathlib import Path

folder, rule = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None
jobs: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
for path in (folder / (rule or "")).rglob("*.tsv"):
    name = re.sub(r"(-seed\d+)?\.tsv$", "", str(path.relative_to(folder)))
    with open(path, encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            # A job of less than a second may be over before Snakemake asks the system what it used.
            core, memory = (0.0 if row[column] == "NA" else float(row[column]) for column in ("cpu_time", "max_rss"))
            jobs[name if rule else name.split("/")[0]].append((float(row["s"]), core, memory))
rows = sorted(jobs.items(), key=lambda item: -sum(seconds for seconds, _, _ in item[1]))
if not rule:
    rows.append(("all", [time for _, times in rows for time in times]))
width = max(len(name) for name, _ in rows) + 2
print(f"{rule or 'rule':<{width}}{'jobs':>6}{'seconds':>10}{'of a core':>11}{'MiB':>8}")
for name, times in rows:
    seconds, core, memory = zip(*times, strict=True) if times else ((0.0,),) * 3
    print(f"{name:<{width}}{len(times):>6}{sum(seconds):>10.0f}{sum(core):>11.0f}{max(memory):>8.0f}")
