"""Greedy and look-ahead captions in the graph: how they are asked for, and which figures show them."""

import json

import pytest

from captionrl.cli import parser

CORPUS, SEED = "coco-mini", "seeds=[1]"
FIGURE = {
    "title": "t",
    "corpus": "coco",
    "methods": [{"method": name, "run": f"joint.{name}"} for name in ("greedy", "lookahead", "reranked")],
}
OVERRIDES = {"policy_value": {"look_ahead": 0.25, "beam": 4, "figures": {"examples": {"f": FIGURE}}}}


@pytest.fixture(scope="module")
def plan(project):
    config = (SEED, "overrides=" + json.dumps(OVERRIDES, separators=(",", ":")))
    return project.plan("--printshellcmds", "results/mini/policy_value/f.png", config=config)


def test_greedy_search_is_a_beam_of_one_and_look_ahead_has_its_weight(plan):
    lines = [parser().parse_args(["predict", *arguments]) for arguments in plan.commands["predict"]]
    ways = {line.out[0].parent.name: (line.beam, line.look_ahead, line.stage, line.set) for line in lines}
    assert ways["joint.greedy"] == (1, None, None, None)
    assert ways["joint.lookahead"] == (4, 0.25, None, None)
    assert ways["joint.reranked"] == (4, None, None, None)
    assert {line.out[0].parent.name: line.rerank for line in lines}["joint.reranked"]


def test_length_normalisation_is_of_beams_alone(project):
    overrides = {"sle": {"length_normalised": True}}
    config = (SEED, "overrides=" + json.dumps(overrides, separators=(",", ":")))
    targets = ("results/mini/sle/table2.csv", "results/mini/sle/table4.csv")
    commands = project.plan("--printshellcmds", *targets, config=config).commands["predict"]
    lines = [parser().parse_args(["predict", *arguments]) for arguments in commands]
    assert {(line.set, line.length_normalised) for line in lines} == {
        (None, True), ("beam-set", True), ("sample", False)
    }  # fmt: skip


def test_each_stage_is_asked_for_by_its_number_and_the_last_one_by_none(project):
    commands = project.plan("--printshellcmds", "results/mini/stackcap/stages.csv", config=(SEED,)).commands["predict"]
    lines = [parser().parse_args(["predict", *arguments]) for arguments in commands]
    stages = {line.out[0].parent.name: line.stage for line in lines}
    of_one = {name: stage for name, stage in stages.items() if name.split(".")[0] == "stack-cap"}
    assert of_one == {"stack-cap.stage0": 0, "stack-cap.stage1": 1, "stack-cap": None}


def test_a_figure_reads_their_predictions(plan):
    (arguments,) = plan.commands["figures"]
    shown = {path.as_posix() for path in parser().parse_args(["figures", *arguments]).predictions}
    folder = f"work/{CORPUS}/predictions/policy_value"
    assert {f"{folder}/joint.{way}/seed1.json" for way in ("greedy", "lookahead")} <= shown
