"""Print the checkpoint, of seed 1, of every run that a paper's tables have at the laptop scale, on request too."""

import sys
from pathlib import Path

from captionrl.config import load_paper

for name in sys.argv[1:]:
    paper = load_paper(Path("papers", name), "laptop")
    runs = {(paper.tables[table].corpus, run) for table in paper.tables for run in paper.runs_of(table)}
    for corpus, run in sorted(runs):
        print(f"checkpoints/{corpus}/{name}/{run}/{paper.runs[run].phases[-1]}/seed1.safetensors")
