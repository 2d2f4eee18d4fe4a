"""Who judges the captions of a table that shows Embedding."""

import pytest

JUDGE = ["--embedding", "checkpoints/coco-mini/policy_value/judge/embedding/seed2.safetensors"]
JUDGE += ["--features", "work/coco-mini/features/mini-grid.h5"]


@pytest.mark.parametrize(("system", "judge"), [("policy_value/joint", JUDGE), ("stackcap/lstm", [])])
def test_a_system_whose_table_shows_it_is_judged_by_the_embedding_of_its_own_seed(project, system, judge):
    scores = f"work/coco-mini/scores/{system}/seed2.json"
    (arguments,) = project.plan("--printshellcmds", scores).commands["evaluate"]
    assert arguments[arguments.index("--out") :] == ["--out", scores, *judge]
