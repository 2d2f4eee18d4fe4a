"""Print how many trainings, and thousand updates, each table takes at the paper's scale with one seed.

Of all that a table's runs start from, too; in docs/one-gpu.md a paper's tables are added up where they share trainings.
"""

from captionrl.config import find_papers, load_paper

# Training captions, counted by `captionrl corpus`; of TGIF about.
CAPTIONS = {"msrvtt": 130_260, "charades": 17_429, "coco": 566_747, "coco-82k": 414_113, "tgif": 80_000, "msvd": 48_774}

print(f"{'table':<30}{'trainings':>10}  thousand updates by objective")
for place in find_papers("paper"):
    paper = load_paper(place, "paper")
    for name, table in paper.tables.items():
        if table.on_request:
            continue
        todo = [(run, paper.runs[run].phases[-1]) for run in paper.runs_of(name)]
        steps = set()
        while todo:
            step = todo.pop()
            steps.add(step)
            if start := paper.start_of(*step):
                todo.append(start)
        updates: dict[str, float] = {}
        for _, phase in steps:
            settings = paper.phase_of(phase, table.corpus)
            batch = settings.batch * settings.gradient_accumulation_steps
            more = settings.epochs * CAPTIONS[table.corpus] / batch / 1000
            updates[settings.objective] = updates.get(settings.objective, 0) + more
        shown = ", ".join(f"{objective} {number:,.0f}" for objective, number in sorted(updates.items()))
        print(f"{paper.paper + ' ' + name:<30}{len(steps):>10}  {shown}")
