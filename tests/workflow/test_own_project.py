"""A project that `captionrl init` writes: what Snakemake plans there, and what a change makes anew."""

import json

import pytest
from project import Project

from captionrl.project import write_project

ALL = {"check_data", "captions", "features", "train", "predict", "score", "table", "metrics_mine", "results"}


@pytest.fixture
def own(tmp_path):
    write_project(tmp_path, "mine", "clips", "mini")
    clips = tmp_path / "data/clips"
    (clips / "a.mp4").write_bytes(b"media")
    (clips / "captions.jsonl").write_text(json.dumps({"media": "a.mp4", "captions": ["a man"]}) + "\n")
    return Project(tmp_path)


def test_a_project_is_planned_from_its_own_corpus_to_its_table(own):
    plan = own.plan("--printshellcmds")
    assert set(plan.jobs) == ALL, plan.text
    assert (plan.jobs["train"], plan.jobs["predict"]) == (2, 2)
    assert "results/own/mine/table1.csv" in plan.text
    assert {argument for line in plan.commands["train"] for argument in line if argument == "own"} == {"own"}


def test_changed_captions_are_read_anew(own):
    own.pretend_all_is_done("all", ())
    assert not own.plan().jobs
    with open(own.path / "data/clips/captions.jsonl", "a") as file:
        file.write(json.dumps({"media": "a.mp4", "captions": ["a dog"]}) + "\n")
    assert set(own.plan().jobs) == ALL


def test_the_papers_of_the_package_can_be_planned_in_any_folder(own):
    plan = own.plan("hrl", config=("scale=mini", "seeds=[1]"))
    assert {"render", "train", "table"} < set(plan.jobs)


def test_without_a_paper_at_the_scale_a_line_says_so(own):
    (own.path / "papers/mine/own.yaml").unlink()
    status, output = own.snakemake("--dry-run")
    assert status != 0
    assert "papers: there is no papers/<paper>/own.yaml; `captionrl init` writes one for a new project" in output
    assert "Traceback" not in output


def test_a_missing_corpus_is_left_to_check_data(own):
    (own.path / "data/clips/captions.jsonl").unlink()
    assert "check_data" in own.plan().jobs
