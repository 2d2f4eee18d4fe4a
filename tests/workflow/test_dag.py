"""What Snakemake plans to do for the first paper, at either scale and after a change; nothing is computed."""

import re
import shlex
from collections import Counter
from pathlib import Path

import pytest

from captionrl.cli import parser
from captionrl.config import load_paper, load_params

ROOT = Path(__file__).parents[2]
SEEDS = load_params(ROOT / "params.yaml").seeds
ONE_SEED = ("seeds=[1]",)
PAPER = load_paper(ROOT / "papers/hrl.yaml", "mini")
RUNS = {
    run for table in PAPER.tables.values() for run in (*(row.run for row in table.rows), table.baseline, table.control)
}
RUNS -= {None}  # of a row that is only cited
DATA = {"mini": {"world", "backbone"}, "paper": {"require", "download_weights"}}


def history(run: str, phase: str) -> list[tuple[str, str]]:
    """(run, phase) of all trainings that lead to one, the first one first."""
    start = PAPER.start_of(run, phase)
    return [*(history(*start) if start else []), (run, phase)]


TRAININGS = {step for run in RUNS for step in history(run, PAPER.runs[run].phases[-1])}


@pytest.fixture(scope="module", params=["mini", "paper"])
def scale(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def plan(project, scale):
    return project.plan("--printshellcmds", "hrl", config=(f"scale={scale}",))


def test_the_whole_table_is_planned_without_any_data(plan, scale):
    assert plan.jobs.total() > 50
    assert plan.jobs["table"] == len(PAPER.tables)
    assert DATA[scale] | {"captions", "features", "train", "predict", "score"} <= set(plan.jobs)
    assert not (DATA["mini"] | DATA["paper"]) - DATA[scale] & set(plan.jobs)


def test_every_training_of_every_seed_is_planned_once(plan):
    expected = {(run, phase, seed) for run, phase in TRAININGS for seed in SEEDS}
    assert plan.trainings == expected
    assert plan.jobs["train"] == len(expected) >= 21


def test_every_run_of_every_seed_is_scored_once(plan):
    assert plan.jobs["predict"] == plan.jobs["score"] == len(RUNS) * len(SEEDS)


def test_every_shell_line_is_a_command_that_captionrl_knows(plan):
    lines = re.findall(r"exec (?:env \S+ )?captionrl (.+?) 2> ", plan.text)
    counts = Counter(line.split()[0] for line in lines)
    assert [counts[rule] for rule in ("train", "predict", "table")] == [
        plan.jobs[rule] for rule in ("train", "predict", "table")
    ]
    for line in lines:
        parser().parse_args(shlex.split(line))


def test_overrides_come_through_the_shell_unharmed(project):
    plan = project.plan("--printshellcmds", "hrl", config=(*ONE_SEED, 'overrides={"hrl":{"title":"it\'s {odd}"}}'))
    line = re.search(r"captionrl (table .+?) 2> ", plan.text)[1]
    assert parser().parse_args(shlex.split(line)).overrides == {"title": "it's {odd}"}


def test_the_first_papers_tables_are_copied_to_where_everybody_looks(project):
    assert project.plan("results/table1.csv", config=ONE_SEED).jobs["copy_table"] == 1


def test_missing_data_stop_with_one_line_that_says_what_to_put_where(project):
    status, output = project.snakemake("--cores", "1", "data/msrvtt/raw.json", config=("scale=paper",))
    assert status != 0
    (complaint,) = {line for line in output.splitlines() if line.startswith("captionrl require: ")}
    assert "data/msrvtt/train_val_videodatainfo.json: no such file" in complaint  # which
    assert "put either into data/msrvtt" in complaint  # where to
    assert re.search(r"\(MSR-VTT annotation of .+; from: .+\)$", complaint)  # where from
    assert "Traceback" not in output
    assert (project.path / "work/log/require/msrvtt.log").read_text() == complaint + "\n"
    assert not (project.path / "data/msrvtt/raw.json").exists()


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ("scale=huge", "params.yaml: scale: Input should be 'mini' or 'paper', but it is 'huge'"),
        ('overrides={"hlr":{"beam":3}}', "params.yaml: overrides.hlr: no such paper; there are hrl"),
        ('overrides={"hrl":{"baem":3}}', "overrides of papers/hrl.yaml: baem: unknown key; did you mean 'beam'?"),
    ],
)
def test_a_mistake_in_the_configuration_is_one_line(project, config, complaint):
    status, output = project.snakemake("--dry-run", config=(config,))
    assert status != 0
    assert complaint in output
    assert "Traceback" not in output


@pytest.fixture(scope="module")
def done(new_project):
    """A project whose outputs for one seed are all there."""
    project = new_project()
    project.pretend_all_is_done("hrl", ONE_SEED)
    return project


def test_of_a_finished_project_nothing_is_to_be_done(done):
    plan = done.plan("hrl", config=ONE_SEED)
    assert "Nothing to be done (all requested files are present and up to date)." in plan.text
    assert not plan.jobs


def test_another_device_makes_nothing_anew(done):
    assert not done.plan("hrl", config=(*ONE_SEED, "device=cpu")).jobs


def test_another_beam_trains_nothing(done):
    jobs = done.plan("hrl", config=(*ONE_SEED, 'overrides={"hrl":{"beam":3}}')).jobs
    assert jobs == {"predict": len(RUNS), "score": len(RUNS), "table": len(PAPER.tables), "hrl": 1}


def test_another_setting_of_a_phase_trains_that_phase_and_what_builds_on_it(done):
    plan = done.plan("hrl", config=(*ONE_SEED, 'overrides={"hrl":{"phases":{"rl":{"learning_rate":0.5}}}}'))
    concerned = {step for step in TRAININGS if "rl" in {phase for _, phase in history(*step)}}
    assert 0 < len(concerned) < len(TRAININGS)
    assert plan.trainings == {(*step, 1) for step in concerned}
    assert plan.jobs["predict"] == len({run for run, _ in concerned})


def test_other_sizes_train_everything(done):
    plan = done.plan("hrl", config=(*ONE_SEED, 'overrides={"hrl":{"sizes":{"decoder":9}}}'))
    assert plan.trainings == {(*step, 1) for step in TRAININGS}
    assert not set(plan.jobs) & {"captions", "features", "backbone", "world"}


def test_another_seed_is_only_added(done):
    plan = done.plan("hrl", config=("seeds=[1,2]",))
    assert plan.trainings == {(*step, 2) for step in TRAININGS}
    assert plan.jobs["predict"] == plan.jobs["score"] == len(RUNS)


def test_the_scales_share_no_file(done):
    """With all of the mini scale there, the other one has everything to do."""
    plan = done.plan("hrl", config=(*ONE_SEED, "scale=paper"))
    assert plan.trainings == {(*step, 1) for step in TRAININGS}
    assert DATA["paper"] <= set(plan.jobs)
