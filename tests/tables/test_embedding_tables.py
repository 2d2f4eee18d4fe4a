"""Tables that show what a run's embedding thinks of captions."""

import csv
from pathlib import Path

import numpy as np
import pytest

from captionrl.config import load_paper
from captionrl.errors import UserError
from captionrl.evaluation.results import Result, write_scores
from captionrl.tables.formats import write
from captionrl.tables.metrics import read_tables
from captionrl.tables.table import build

YAML = Path(__file__).parents[2] / "papers/policy_value"
TABLE = {
    "title": "Judged", "corpus": "coco", "metrics": ["CIDEr-D", "Embedding"], "baseline": "xe",
    "control": "compute-matched",
}  # fmt: skip
ROWS = [
    {"method": "XE", "run": "xe", "cited": [94.0, None]},
    {"method": "joint", "run": "joint"},
    {"method": "NIC", "cited": [85.5, None]},
]
COSINES = {"xe": 0.5, "compute-matched": 0.5, "joint": 0.625}


def paper(**changes):
    return load_paper(
        YAML, "mini", {"reward_model": "reward-model", "tables": {"e": {**TABLE, "rows": ROWS}}} | changes
    )


def scores(folder):
    ids = [f"image{number}" for number in range(8)]
    for run, cosine in COSINES.items():
        results = {}
        for metric, score in (("CIDEr-D", 0.75), ("Embedding", cosine)):
            rows = np.column_stack([np.full(8, score), np.ones(8)])
            results[metric] = Result(metric, 100 * score, dict.fromkeys(ids, 100 * score), rows, f"{metric}|model:12")
        write_scores(folder / run / "seed1.json", results, {"seed": 1, "features": "mini"})
    return {run: [folder / run / "seed1.json"] for run in COSINES}


def test_every_format_shows_it_and_that_the_paper_does_not(tmp_path):
    write(*build(paper(), "e", "mini", "here", scores(tmp_path)), tmp_path / "e.csv")
    with open(tmp_path / "e.csv", newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert (rows["XE"]["Embedding"], rows["joint"]["Embedding"], rows["NIC"]["Embedding"]) == ("50.00", "62.50", "")
    assert {row["Embedding_paper"] for row in rows.values()} == {""}
    markdown = (tmp_path / "e.md").read_text().splitlines()
    assert markdown[2] == "| method | CIDEr-D | Embedding | paper: CIDEr-D |"
    assert markdown[5] == "| joint | 75.0 [75.0, 75.0] | 62.5†‡ [62.5, 62.5] |  |"
    latex = (tmp_path / "e.tex").read_text()
    assert r"joint & 75.0 [75.0, 75.0] & 62.5$^\dagger$$^\ddagger$ [62.5, 62.5] &  \\" in latex
    assert read_tables([tmp_path / "e.csv"])["e"]["joint"] == {"CIDEr-D": 75, "Embedding": 62.5}


def test_such_a_table_needs_the_reward_model_too():
    assert paper().runs_of("e") == ["xe", "compute-matched", "joint", "reward-model"]
    plain = {**TABLE, "metrics": ["CIDEr-D", "METEOR"], "rows": ROWS}
    assert paper(tables={"e": plain}).runs_of("e") == ["xe", "compute-matched", "joint"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"reward_model": None},
            "tables.table1.metrics: Embedding needs a reward_model, the run whose embedding it is about; add that key",
        ),
        ({"reward_model": "jury"}, "reward_model: no run is called 'jury'; there are no-visual-input, "),
        (
            {"reward_model": "no-visual-input"},
            "reward_model: no-visual-input has no trained embedding of pictures; give a run with",
        ),
        (
            {"reward_model": "other", "runs": {"other": {"model": "nic", "phases": ["xe"]}}},
            "reward_model: other has no trained embedding of pictures; give a run with",
        ),
        (
            {"runs": {"rash": {"model": "actor-critic", "phases": ["xe", "value"]}}},
            "runs.rash: the reward of value has an embedding that is not trained; let a phase of",
        ),
        (
            {"tables": {"e": {**TABLE, "metrics": ["CIDEr-D"], "rows": [{"method": "ahead", "run": "xe.lookahead"}]}}},
            "tables.e.rows[0].run: the value network of xe is not trained; give a run with",
        ),
        (
            {"tables": {"e": {**TABLE, "rows": [{"method": "sets", "run": "xe.sample"}]}}},
            "tables.e.rows[0].run: xe.sample is a set of captions, and has no Embedding",
        ),
    ],
)
def test_every_mistake_is_one_line(changes, message):
    with pytest.raises(UserError) as error:
        paper(**changes)
    assert str(error.value).startswith(f"params.yaml: overrides.policy_value: {message}")
    assert "\n" not in str(error.value)


def test_a_curve_is_of_the_phases_that_train_captions():
    """Embedding and value network have scores of their own, which are no captions'."""
    assert paper().lineage("joint") == [("xe", "xe"), ("joint", "joint")]
    assert paper().ancestry("cider") == [
        ("reward-model", "embedding"), ("xe", "xe"), ("cider", "value-cider"), ("cider", "joint-cider")
    ]  # fmt: skip


def test_the_control_has_the_budget_of_joint_training():
    for scale in ("mini", "laptop", "paper"):
        phases = load_paper(YAML, scale).phases
        shared = ("epochs", "validate_every", "batch", "optimiser", "learning_rate", "lr_schedule", "lr_step", "clip")
        of = {name: [getattr(phase, key) for key in shared] for name, phase in phases.items()}
        assert {name for name in of if of[name] == of["xe-continued"]} >= {name for name in of if "joint" in name}


def test_the_curriculum_ends_before_the_training_does():
    for scale in ("mini", "laptop", "paper"):
        facts = load_paper(YAML, scale)
        phase = facts.phases["joint-embedding"]
        assert all(phase.curriculum * phase.epochs >= corpus.max_words for corpus in facts.corpora.values())
