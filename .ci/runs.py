"""Print the checkpoint, of seed 1, of each run that papers' tables have, on request too: runs.py SCALE PAPER..."""

import sys
from pathlib import Path

from captionrl.config import load_paper

scale, *names = sys.argv[1:]
for name in names:
    paper = load_paper(Path("papers", name), scale)
    runs = {(paper.tables[table].corpus, run) for table in paper.tables for run in paper.runs_of(table)}
    for corpus, run in sorted(runs):
        print(f"checkpoints/{corpus}/{name}/{run}/{paper.runs[run].phases[-1]}/seed1.safetensors")
