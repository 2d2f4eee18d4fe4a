"""Who judges the captions of a table that shows Embedding."""

import pytest

JUDGE = [
    "--embedding",
    *(f"checkpoints/coco-mini/policy_value/judge/embedding/seed{seed}.safetensors" for seed in (1, 2)),
]
JUDGE += ["--features", "work/coco-mini/features/mini-grid.h5"]


@pytest.mark.parametrize(("system", "judge"), [("policy_value/joint", JUDGE), ("stackcap/lstm", [])])
def test_a_system_whose_table_shows_it_is_judged_by_the_embedding_of_its_own_seeds(project, system, judge):
    scores = [f"work/coco-mini/scores/{system}/seed{seed}.json" for seed in (1, 2)]
    (arguments,) = project.plan("--printshellcmds", scores[1], config=("seeds=[1,2]",)).commands["evaluate"]
    assert arguments[arguments.index("--out") :] == ["--out", *scores, *judge]
