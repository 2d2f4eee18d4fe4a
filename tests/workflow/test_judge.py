"""Who judges the captions of a table that shows Embedding."""

import json

import pytest

SCORES = "work/coco-mini/scores/policy_value/joint/seed2.json"
TABLE = {"title": "t", "corpus": "coco", "baseline": "xe", "control": "equal-budget"}
TABLE |= {"rows": [{"method": "joint", "run": "joint"}]}
JUDGE = ["--embedding", "checkpoints/coco-mini/policy_value/judge/embedding/seed2.safetensors"]
JUDGE += ["--features", "work/coco-mini/features/mini.h5"]


@pytest.mark.parametrize(
    ("metrics", "judge"), [(["CIDEr-D", "Embedding"], JUDGE), (["CIDEr-D", "METEOR"], [])], ids=["shown", "not shown"]
)
def test_a_system_whose_table_shows_it_is_judged_by_the_embedding_of_its_own_seed(project, metrics, judge):
    tables = {"t": {**TABLE, "metrics": metrics}, "table1": {"metrics": metrics}}
    overrides = json.dumps({"policy_value": {"judge": "judge", "tables": tables}}, separators=(",", ":"))
    plan = project.plan("--printshellcmds", SCORES, config=(f"overrides={overrides}",))
    (arguments,) = plan.commands["evaluate"]
    assert arguments[arguments.index("--out") :] == ["--out", SCORES, *judge]
