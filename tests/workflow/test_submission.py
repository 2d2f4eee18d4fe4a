"""Stack-Cap's Table 4 in the graph: the server's files, the features of its test images, the cited lines."""

import re
from pathlib import Path

import pytest

from captionrl.cli import parser
from captionrl.config import load_paper

ROOT = Path(__file__).parents[2]
ONE_SEED = ("seeds=[1]",)
PARTS = {"test2014": "image_info_test2014.json", "val2014": "captions_val2014.json"}
LINEAGE = [("stack-cap-xe", "xe"), ("stack-cap", "c2f")]


def files(scale):
    return {f"results/{scale}/stackcap/captions_{part}_stackcap_results.json" for part in PARTS}


def trainings(plan):
    found = re.findall(r"^Job \d+: Training stackcap/(\S+)/(\S+) on (\S+), seed (\d+)$", plan.text, re.MULTILINE)
    return sorted((run, phase, corpus, int(seed)) for run, phase, corpus, seed in found)


@pytest.fixture(params=["mini", "paper"])
def scale(request):
    return request.param


@pytest.fixture
def corpus(scale):
    return "coco-mini" if scale == "mini" else "coco"


@pytest.fixture
def backbone(scale):
    return load_paper(ROOT / "papers/stackcap", scale).backbone


@pytest.mark.parametrize("part", PARTS)
def test_a_file_comes_from_the_first_seed_of_the_leaderboards_run(project, scale, corpus, backbone, part):
    target = f"results/{scale}/stackcap/captions_{part}_stackcap_results.json"
    plan = project.plan("--printshellcmds", target, config=(f"scale={scale}", "seeds=[3,1]"))
    assert plan.jobs["submission"] == 1
    assert trainings(plan) == sorted((run, phase, corpus, 3) for run, phase in LINEAGE)
    (line,) = (parser().parse_args(["submit", *arguments]) for arguments in plan.commands["submit"])
    assert line.checkpoint == Path("checkpoints", corpus, "stackcap/stack-cap/c2f/seed3.safetensors")
    assert line.images == Path("data", corpus, "annotations", PARTS[part])
    assert line.out == Path(target)
    assert line.beam == 5
    suffix = "-test2014" if part == "test2014" else ""
    assert line.features == Path(f"work/{corpus}/features/{backbone}{suffix}.h5")


def test_test_images_have_a_store_of_their_own_made_without_captions(project, scale, corpus, backbone):
    plan = project.plan(
        "--printshellcmds", f"work/{corpus}/features/{backbone}-test2014.h5", config=(f"scale={scale}",)
    )
    assert plan.jobs["test_features"] == 1
    assert not {"features", "captions", "train"} & set(plan.jobs)
    (line,) = (parser().parse_args(["features", *arguments]) for arguments in plan.commands["features"])
    assert (line.captions, line.images) == (None, Path("data", corpus, "annotations/image_info_test2014.json"))
    assert (line.backbone, line.out) == (backbone, Path(f"work/{corpus}/features/{backbone}-test2014.h5"))


def test_the_cited_lines_need_nothing(project, scale):
    plan = project.plan("--printshellcmds", f"results/{scale}/stackcap/table4.csv", config=(f"scale={scale}",))
    assert plan.jobs == {"leaderboard_stackcap": 1}
    (line,) = (parser().parse_args(["leaderboard", *arguments]) for arguments in plan.commands["leaderboard"])
    assert (line.leaderboard, line.scale) == (("stackcap", "table4"), scale)


def test_another_papers_table4_is_a_table(project):
    jobs = project.plan("results/mini/sle/table4.csv", config=ONE_SEED).jobs
    assert (jobs["table"], jobs["leaderboard_stackcap"]) == (1, 0)


def test_all_results_hold_the_lines_and_at_the_mini_scale_the_files_too(project, scale):
    plan = project.plan("stackcap", config=(*ONE_SEED, f"scale={scale}"))
    assert plan.jobs["leaderboard_stackcap"] == 1
    assert plan.jobs["submission"] == (2 if scale == "mini" else 0)
    assert plan.jobs["test_features"] == (1 if scale == "mini" else 0)
    assert all((file in plan.text) == (scale == "mini") for file in files(scale))


def test_the_data_sets_target_makes_all_its_stores_that_the_results_need(project, scale):
    plan = project.plan("coco", config=(f"scale={scale}",))
    assert plan.jobs["test_features"] == (1 if scale == "mini" else 0)


def test_a_paper_without_a_leaderboard_has_nothing_to_submit(project):
    status, output = project.snakemake("--dry-run", "results/mini/sle/captions_test2014_sle_results.json")
    assert status != 0
    assert "papers/sle: leaderboards: has none, so there is nothing to submit" in output


def test_a_missing_list_of_test_images_stops_with_one_line_that_says_what_to_put_where(new_project):
    project = new_project()
    for path in ("data/coco/raw.json", "data/weights/resnet101-63fe2227.pth"):
        (project.path / path).parent.mkdir(parents=True)
        (project.path / path).write_text(path)
    target = "work/coco/features/resnet101-grid-test2014.json"
    status, output = project.snakemake(target, "--cores=1", "--allowed-rules=test_features", config=("scale=paper",))
    assert status != 0
    (complaint,) = {line for line in output.splitlines() if line.startswith("captionrl features: ")}
    assert "data/coco/annotations/image_info_test2014.json: no such file, nor image_info_test2014.zip" in complaint
    assert "put either into data/coco (COCO's list of its test images of 2014" in complaint
    assert complaint.endswith("from: http://images.cocodataset.org/annotations/image_info_test2014.zip)")
    assert "Traceback" not in output
