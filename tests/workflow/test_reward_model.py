"""Which embedding scores the captions of a table that shows the metric Embedding."""

import pytest

REWARD_MODEL = [
    "--embedding",
    *(f"checkpoints/coco-mini/policy_value/reward-model/embedding/seed{seed}.safetensors" for seed in (1, 2)),
]
REWARD_MODEL += ["--features", "work/coco-mini/features/mini-grid.h5"]


@pytest.mark.parametrize(("system", "reward_model"), [("policy_value/joint", REWARD_MODEL), ("stackcap/lstm", [])])
def test_a_system_whose_table_shows_it_is_scored_with_the_embedding_of_its_own_seeds(project, system, reward_model):
    scores = [f"work/coco-mini/scores/{system}/seed{seed}.json" for seed in (1, 2)]
    (arguments,) = project.plan("--printshellcmds", scores[1], config=("seeds=[1,2]",)).commands["evaluate"]
    rest = arguments[arguments.index("--out") :]
    assert rest == ["--out", *scores, "--workers", "1", *reward_model]
