"""Print what each rule has taken so far, from Snakemake's benchmark files: `seconds.py work/benchmark`."""

import csv
import sys
from collections import defaultdict
from pathlib import Path

jobs: dict[str, list[tuple[float, float]]] = defaultdict(list)
for path in Path(sys.argv[1]).rglob("*.tsv"):
    with open(path, encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            # A job of less than a second may be over before Snakemake asks the system what it used.
            core = 0.0 if row["cpu_time"] == "NA" else float(row["cpu_time"])
            jobs[path.relative_to(sys.argv[1]).parts[0]].append((float(row["s"]), core))
print(f"{'rule':<14}{'jobs':>6}{'seconds':>10}{'of a core':>11}")
for rule, times in sorted(jobs.items(), key=lambda item: -sum(seconds for seconds, _ in item[1])):
    print(f"{rule:<14}{len(times):>6}{sum(s for s, _ in times):>10.0f}{sum(c for _, c in times):>11.0f}")
total = [time for times in jobs.values() for time in times]
print(f"{'all':<14}{len(total):>6}{sum(s for s, _ in total):>10.0f}{sum(c for _, c in total):>11.0f}")
