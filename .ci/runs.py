"""Print the checkpoint, of seed 1, of each run that the papers' tables have, on request too: runs.py SCALE."""

import sys

from captionrl.config import find_papers, load_paper

(scale,) = sys.argv[1:]
for place in find_papers(scale):
    paper = load_paper(place, scale)
    runs = {(paper.tables[table].corpus, run) for table in paper.tables for run in paper.runs_of(table)}
    for corpus, run in sorted(runs):
        print(f"checkpoints/{corpus}/{paper.paper}/{run}/{paper.runs[run].phases[-1]}/seed1.safetensors")
