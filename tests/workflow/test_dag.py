"""What Snakemake plans to do for the first paper, at every scale and after a change; nothing is computed."""

import json
import os
import re
import shlex
import shutil
import time
from argparse import Namespace
from pathlib import Path

import pytest

from captionrl.cli import parser
from captionrl.config import Table, load_paper, load_params
from captionrl.config.backbones import BACKBONES
from captionrl.datasets.manifest import manifest

ROOT = Path(__file__).parents[2]
SEEDS = load_params(ROOT / "params.yaml").seeds
ONE_SEED = ("seeds=[1]",)
PAPER = load_paper(ROOT / "papers/hrl", "paper")
TABLES = {name: table for name, table in PAPER.tables.items() if not table.on_request}
DATA = {"mini": {"render"}, "paper": {"download_corpus", "check_data", "download_weights", "download_corenlp"}}
Step = tuple[str, str, str]  # (corpus, run, phase)


def runs_of(table: Table) -> set[str]:
    """Every run that a table compares."""
    rows = [run for row in table.rows for run in (row.run, row.control) if run]
    return {*rows, table.baseline, table.control, *(run for c in table.comparisons for run in (c.run, c.to))}


def history(corpus: str, run: str, phase: str) -> list[Step]:
    """All trainings that lead to one, the first one first."""
    start = PAPER.start_of(run, phase)
    return [*(history(corpus, *start) if start else []), (corpus, run, phase)]


SCORED = {(table.corpus, run) for table in TABLES.values() for run in runs_of(table)}  # figures show no others
TRAININGS = {step for corpus, run in SCORED for step in history(corpus, run, PAPER.runs[run].phases[-1])}


def of(scale: str, steps: set[Step], *seeds: int) -> set[tuple[str, str, str, int]]:
    """The trainings of `seeds` at a scale."""
    suffix = "-mini" if scale == "mini" else ""
    return {(corpus + suffix, run, phase, seed) for corpus, run, phase in steps for seed in seeds}


def after(*changed: Step) -> set[Step]:
    """These trainings and those that build on one of them."""
    return {step for step in TRAININGS if set(changed) & set(history(*step))}


def parsed(command: str, arguments: list[str]) -> Namespace:
    return parser().parse_args([command, *arguments])


@pytest.fixture(scope="module", params=["mini", "paper"])
def scale(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def plan(project, scale):
    return project.plan("--printshellcmds", "hrl", config=(f"scale={scale}",))


def test_all_results_are_planned_without_any_data(plan, scale):
    assert plan.jobs.total() > 50
    assert plan.jobs["table"] == len(TABLES) == 2
    assert plan.jobs["figures_hrl"] == 1
    assert DATA[scale] | {"captions", "segments", "features", "train", "predict", "score"} <= set(plan.jobs)
    assert not (DATA["mini"] | DATA["paper"]) - DATA[scale] & set(plan.jobs)


def test_every_training_of_every_seed_is_planned_once(plan, scale):
    expected = of(scale, TRAININGS, *SEEDS)
    assert plan.trainings == expected
    assert plan.jobs["train"] == len(expected) >= 60


def test_every_run_is_scored_once_all_its_seeds_together(plan, scale):
    assert plan.jobs["predict"] == plan.jobs["score"] == len(SCORED)
    for command, name in (("predict", "checkpoint"), ("evaluate", "predictions")):
        for line in (parsed(command, arguments) for arguments in plan.commands[command]):
            files = getattr(line, name)
            assert [file.stem for file in files] == [f"seed{seed}" for seed in SEEDS]
            assert len({file.parent for file in files}) == 1
            assert [file.name for file in line.out] == [f"seed{seed}.json" for seed in SEEDS]


def test_every_shell_line_is_a_command_that_captionrl_knows(plan):
    names = {"train": "train", "predict": "predict", "table": "table", "segment": "segments", "figures": "figures_hrl"}
    assert all(len(plan.commands[command]) == plan.jobs[rule] for command, rule in names.items())
    for command, lines in plan.commands.items():
        for arguments in lines:
            parsed(command, arguments)


def test_a_phase_is_given_what_it_learns_from_and_nothing_else(plan, scale):
    seen = set()
    for line in (parsed("train", arguments) for arguments in plan.commands["train"]):
        paper, run, phase = line.phase
        home = Path("work", line.corpus)
        corpus = line.corpus.removesuffix("-mini")
        critic = PAPER.runs[run].model == "boundary-critic"
        backend = "grammar" if scale == "mini" else "corenlp"
        backbone = "mini" if scale == "mini" else "resnet152"
        assert line.captions == home / "captions"
        assert line.features == (None if critic else home / f"features/{backbone}.h5")
        assert line.segments == (home / f"segments/{backend}.parquet" if critic else None)
        *before, _ = history(corpus, run, phase)
        if before:
            _, its_run, its_phase = before[-1]
            name = f"seed{line.seed}.safetensors"
            assert line.start == Path("checkpoints", line.corpus, paper, its_run, its_phase, name)
        else:
            assert line.start is None
        seen.add((run, phase, bool(before)))
    assert ("boundary-critic", "boundary-critic", False) in seen
    assert ("hrl-16-warm", "xe-warm", True) in seen


def test_true_boundaries_under_teacher_forcing_need_the_segments(project):
    truth = {"boundaries": "truth", "scheduled_sampling": {"max_probability": 0, "per_epoch": 0}}
    overrides = {"hrl": {"phases": {"xe-warm": truth}}}
    config = (*ONE_SEED, "overrides=" + json.dumps(overrides, separators=(",", ":")))
    plan = project.plan("--printshellcmds", "results/mini/hrl/table1.csv", config=config)
    lines = [parsed("train", arguments) for arguments in plan.commands["train"]]
    assert {line.phase[2] for line in lines if line.segments} == {"boundary-critic", "xe-warm"}


def test_figures_show_what_this_plan_trains(plan, scale):
    (line,) = (parsed("figures", arguments) for arguments in plan.commands["figures"])
    steps = {tuple(path.parts[1:2] + path.parts[3:5]) for path in line.curves}
    assert len(line.curves) == len(steps) * len(SEEDS)
    charades = "charades-mini" if scale == "mini" else "charades"
    assert (charades, "hrl-16-warm", "xe-warm") in steps
    assert not {step for step in steps if step[1] == "boundary-critic"}  # it writes no captions to score
    assert {(*step, seed) for step in steps for seed in SEEDS} <= plan.trainings
    assert {(*path.parts[1:2], *path.parts[3:5], SEEDS[0]) for path in line.checkpoints} <= plan.trainings
    assert {path.name for path in line.checkpoints} == {f"seed{SEEDS[0]}.safetensors"}
    assert {path.parts[1].removesuffix("-mini") for path in line.checkpoints} == {"msrvtt", "charades"}


def test_figures_wait_for_all_that_they_read(project):
    """Also for what the trainings need anyway, such as the attributes whose probabilities e2e's examples show."""
    status, text = project.snakemake("--rulegraph", "--", "results/mini/e2e/figures.html")
    assert status == 0, text
    rules = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)"', text, re.MULTILINE))
    edges = {(rules[start], rules[end]) for start, end in re.findall(r"(\d+) -> (\d+)", text)}
    assert {start for start, end in edges if end == "figures_e2e"} == {"train", "captions", "frames", "attributes"}


def test_table1_alone_plans_what_it_needs_and_no_more(project, scale):
    plan = project.plan(f"results/{scale}/hrl/table1.csv", config=(f"scale={scale}",))
    mine = {step for step in TRAININGS if step[0] == "msrvtt"}
    assert plan.trainings == of(scale, mine, *SEEDS)
    assert ("msrvtt", "boundary-critic", "boundary-critic") in mine
    assert {rule: plan.jobs[rule] for rule in ("captions", "segments", "features", "table")} == dict.fromkeys(
        ("captions", "segments", "features", "table"), 1
    )
    assert "figures_hrl" not in plan.jobs
    assert "charades" not in plan.text


@pytest.fixture(scope="module")
def laptop(project):
    return project.plan("--printshellcmds", "all", config=("scale=laptop", *ONE_SEED))


def test_the_laptop_scale_asks_for_the_files_of_three_data_sets_and_for_no_weights_or_tools(laptop):
    rules = ("check_data", "captions", "annotations", "segments", "features", "frames", "attributes")
    assert {rule: laptop.jobs[rule] for rule in rules} == dict(
        zip(rules, (3, 4, 1, 1, 2, 1, 1), strict=True)
    )  # captions of Flickr8k with and without punctuation
    assert {line.name for line in (parsed("check-data", words) for words in laptop.commands["check-data"])} == {
        "charades-annotations", "flickr8k", "msvd-laptop"
    }  # fmt: skip
    assert not {"render", "backbone", "download_weights", "download_corenlp"} & set(laptop.jobs)
    (segments,) = (parsed("segment", words) for words in laptop.commands["segment"])
    assert (segments.backend, segments.corenlp) == ("shallow", None)
    assert {(line.backbone, line.weights) for line in (parsed("features", w) for w in laptop.commands["features"])} == {
        ("efficientnet-lite0", None),  # of a package
        ("efficientnet-lite0-grid", None),
    }


def test_every_run_of_every_table_of_the_laptop_scale_is_trained(laptop):
    papers = [load_paper(path.parent, "laptop") for path in ROOT.glob("papers/*/laptop.yaml")]
    tables = [(paper, name) for paper in papers for name, table in paper.tables.items() if not table.on_request]
    assert laptop.jobs["table"] == len(tables) == 11
    assert {rule for rule in laptop.jobs if rule.startswith("metrics_")} == {f"metrics_{p.paper}" for p in papers}
    lines = [parsed("train", words) for words in laptop.commands["train"]]
    compared = {(paper.tables[name].corpus, paper.paper, run) for paper, name in tables for run in paper.runs_of(name)}
    drawn = {(corpus, paper.paper, run) for paper in papers for corpus, run in paper.figures.learners}
    of = {paper.paper: paper for paper in papers}
    assert {(line.corpus, *line.phase) for line in lines} == {
        (corpus, paper, *step) for corpus, paper, run in compared | drawn for step in of[paper].ancestry(run)
    }
    assert {line.scale for line in lines} == {"laptop"}
    stores = {line.features.stem for line in lines if line.features and line.corpus == "charades-annotations"}
    assert stores == {"annotations"}


def test_a_table_on_request_comes_on_request_only(project, laptop):
    table = "results/laptop/policy_value/ablations.csv"
    assert table not in laptop.text
    assert project.plan(table, config=("scale=laptop", *ONE_SEED)).jobs["table"] == 1


@pytest.mark.parametrize("backbone", ["resnet152", "resnet101-grid", "vgg16"])
def test_a_backbone_is_given_its_official_weights_which_are_a_download(project, backbone):
    overrides = json.dumps({"hrl": {"backbone": backbone}}, separators=(",", ":"))
    config = ("scale=paper", f"overrides={overrides}")
    plan = project.plan("--printshellcmds", f"work/msrvtt/features/{backbone}.json", config=config)
    (features,) = (parsed("features", arguments) for arguments in plan.commands["features"])
    (download,) = (line for line in (parsed("download", words) for words in plan.commands["download"]) if line.only)
    assert (features.backbone, features.weights) == (backbone, BACKBONES[backbone].weights.path)
    assert download.into / download.only == BACKBONES[backbone].weights.path
    assert download.only in {entry.into for entry in manifest()[download.groups[0]]}


IMPORTED = '{"clip":{"path":"my features/{corpus}","fps":2,"key":"x y"},"one":"all.npz"}'


def test_imported_features_are_a_backbone(new_project):
    """From the user's files on, and made anew when one of these changes; two names of one corpus are two stores."""
    project = new_project()
    folder = project.path / "my features/msrvtt-mini"
    (folder / "train").mkdir(parents=True)
    (folder / "train/video0.npy").write_text("an array")
    (project.path / "all.npz").write_text("arrays")
    overrides = '{"hrl":{"backbone":"own:clip","runs":{"s2vt":{"backbone":"own:one"}}}}'
    config = (*ONE_SEED, f"features={IMPORTED}", f"overrides={overrides}")
    target = "results/mini/hrl/table1.csv"
    plan = project.plan("--printshellcmds", target, config=config)
    assert plan.jobs["import_features"] == 2
    assert not {"features", "backbone"} & set(plan.jobs)
    home = Path("work/msrvtt-mini/features")
    stores = {name: home / f"own--{name}.h5" for name in ("clip", "one")}
    made = {line.out: line for line in (parsed("features-import", words) for words in plan.commands["features-import"])}
    clip, one = made[stores["clip"]], made[stores["one"]]
    assert (clip.source, clip.name, clip.fps, clip.key) == (
        Path("my features/msrvtt-mini"),
        "own:clip",
        2.0,
        "x y",
    )
    assert (one.source, one.name, one.fps, one.ids, one.allowed_failures) == (Path("all.npz"), "own:one", 0, "exact", 0)
    trained = {(words[0], parsed("train", words).features) for words in plan.commands["train"]}
    assert ("hrl/s2vt/xe", stores["one"]) in trained
    assert ("hrl/xe-baseline/xe", stores["clip"]) in trained

    project.pretend_all_is_done(target, config)
    assert not project.plan(target, config=config).jobs
    (folder / "train/video0.npy").write_text("another array")
    assert project.plan(target, config=config).jobs["import_features"] == 1
    (folder / "train/video0.npy").write_text("an array")


def test_an_extraction_by_several_jobs_is_their_parts_joined(project):
    store = "work/msrvtt-mini/features/mini.h5"
    plan = project.plan("--printshellcmds", store, config=("extraction_jobs=3",))
    assert (plan.jobs["features"], plan.jobs["join_features"]) == (3, 1)
    parts = {line.part: line.out for line in (parsed("features", words) for words in plan.commands["features"])}
    assert sorted(parts) == [(1, 3), (2, 3), (3, 3)]
    (join,) = (parsed("features-join", words) for words in plan.commands["features-join"])
    assert (join.parts, join.out) == ([parts[number, 3] for number in (1, 2, 3)], Path(store))


def test_features_that_params_do_not_name_are_one_line(project):
    config = ('overrides={"hrl":{"backbone":"own:clip"}}',)
    status, output = project.snakemake("--dry-run", "results/mini/hrl/table1.csv", config=config)
    assert status == 1
    assert "params.yaml: features: no 'clip', the path of own:clip; add `features: {clip: PATH}`" in output


def test_bottom_up_features_match_by_number(project):
    plan = project.plan("--printshellcmds", "work/coco/features/bottomup.json", config=("scale=paper",))
    (line,) = (parsed("features-import", words) for words in plan.commands["features-import"])
    assert (line.source, line.name, line.ids) == (Path("data/coco/bottomup"), "bottomup", "number")


def features_plan(project, backbone, target, **params):
    """The arguments of the extractions for a target, with a backbone in the place of hrl's."""
    given = {"overrides": {"hrl": {"backbone": backbone}}, **params}
    config = [f"{key}={json.dumps(value, separators=(',', ':'))}" for key, value in given.items()]
    plan = project.plan("--printshellcmds", target, config=(*ONE_SEED, *config))
    return plan, [parsed("features", arguments) for arguments in plan.commands.get("features", [])]


@pytest.mark.parametrize("grid", ["", "@grid7"])
def test_a_model_of_timm_is_a_backbone_with_the_weights_that_params_name(new_project, grid):
    project, backbone = new_project(), f"timm:resnet18.a1_in1k{grid}"
    (project.path / "resnet 18.safetensors").touch()
    weights = {"timm:resnet18.a1_in1k": "resnet 18.safetensors"}
    plan, (features,) = features_plan(project, backbone, "results/mini/hrl/table1.csv", weights=weights)
    store = Path(f"work/msrvtt-mini/features/timm--resnet18.a1_in1k{grid}.h5")
    assert (features.backbone, features.weights, features.out) == (backbone, Path("resnet 18.safetensors"), store)
    stores = {parsed("train", arguments).features for arguments in plan.commands["train"]}
    assert stores == {None, store}  # a boundary critic sees none
    assert {parsed("predict", arguments).features for arguments in plan.commands["predict"]} == {store}


def test_a_model_of_open_clip_may_have_random_weights_that_params_name(project):
    backbone, stem = "open_clip:ViT-B-32/openai", "open_clip--ViT-B-32--openai"
    target = f"work/msrvtt-mini/features/{stem}.json"
    _, (features,) = features_plan(project, backbone, target, weights={backbone: "random"})
    assert (features.backbone, features.weights, features.out.name) == (backbone, "random", f"{stem}.h5")


def test_weights_that_nobody_named_stop_with_one_line(project):
    overrides = json.dumps({"hrl": {"backbone": "timm:resnet18"}}, separators=(",", ":"))
    target = "work/msrvtt-mini/features/timm--resnet18.json"
    status, output = project.snakemake("--dry-run", target, config=(*ONE_SEED, f"overrides={overrides}"))
    assert status != 0
    assert "params.yaml: weights: none of timm:resnet18; add `timm:resnet18: FILE`" in output


def test_a_package_that_brings_weights_needs_no_file(project):
    target = "work/msrvtt-mini/features/efficientnet-lite0.json"
    _, (features,) = features_plan(project, "efficientnet-lite0", target)
    assert (features.backbone, features.weights) == ("efficientnet-lite0", None)


def test_overrides_come_through_the_shell_unharmed(project):
    plan = project.plan("--printshellcmds", "hrl", config=(*ONE_SEED, 'overrides={"hrl":{"title":"it\'s {odd}"}}'))
    line = re.search(r"captionrl (table .+?) 2> ", plan.text)[1]
    assert parser().parse_args(shlex.split(line)).overrides == {"title": "it's {odd}"}


def test_the_first_papers_tables_are_copied_to_where_everybody_looks(project):
    assert project.plan("results/table1.csv", config=ONE_SEED).jobs["copy_table"] == 1


def test_a_licence_that_is_not_accepted_stops_with_one_line_before_anything_is_fetched(project):
    status, output = project.snakemake("--cores", "1", "data/msrvtt/raw.json", config=("scale=paper",))
    assert status != 0
    (complaint,) = {line for line in output.splitlines() if line.startswith("captionrl download: ")}
    assert complaint.startswith("captionrl download: licences not accepted: msrvtt (https://www.microsoft.com/")
    assert complaint.endswith("add `accept: [msrvtt]` to params.yaml or give --accept msrvtt; nothing was fetched")
    assert "Traceback" not in output
    *named, last = (project.path / "work/log/download/msrvtt.log").read_text().splitlines()
    assert [line.split()[0] for line in named[1:]] == [f"data/msrvtt/{entry.into}" for entry in manifest()["msrvtt"]]
    assert last == complaint
    assert not (project.path / "data/msrvtt/raw.json").exists()


def test_on_an_empty_machine_the_plan_begins_at_the_internet_and_names_all_in_one_message(project):
    text = project.plan("all", config=("scale=paper", *ONE_SEED)).text
    (block,) = re.findall(r"^    missing: .*\n(?:    .*\n)+", text, re.MULTILINE)
    named = re.findall(r"^        data/(\S+?):? ", block, re.MULTILINE)
    corpora = ("charades", "coco", "msrvtt", "msvd", "tgif")
    assert named == [f"{corpus}/{entry.into}" for corpus in corpora for entry in manifest()[corpus]]
    size = sum(entry.size for corpus in corpora for entry in manifest()[corpus])
    assert f"missing: 16 files or folders, 16 of them to fetch: {size:,} bytes to fetch, " in block
    licences = re.search(r"licences not accepted: .*", block)[0]
    assert re.findall(r"(\w+) \(https?://\S+\)", licences) == ["charades", "msrvtt", "msvd", "tgif"]
    assert "Fetching the files of coco-82k into data/coco-82k\n" in text  # named once, as those of coco


def test_accepted_licences_come_to_the_command(project):
    config = ("scale=paper", "accept=[charades,msrvtt]")
    plan = project.plan("--printshellcmds", "data/charades/raw.json", config=config)
    (line,) = (parsed("download", words) for words in plan.commands["download"])
    assert (line.groups, line.into, line.record) == (
        ["charades"], Path("data/charades"), Path("data/charades/downloads.json")
    )  # fmt: skip
    assert line.accept == ["charades", "msrvtt"]
    assert "licences not accepted" not in plan.text


def test_another_licence_or_allowance_starts_nothing_again(new_project):
    project, target = new_project(), "work/flickr8k/captions/metadata.json"
    project.pretend_all_is_done(target, ("scale=laptop", "accept=[flickr8k]"))
    for config in (("accept=[flickr8k,charades]",), (), ("allowed_failures=3",)):
        assert not project.plan(target, config=("scale=laptop", *config)).jobs


@pytest.mark.parametrize("name", ["raw.json", "downloads.json"])
def test_a_users_file_is_not_taken_for_a_list_of_ours(new_project, name):
    """Snakemake would remove it before the command could refuse to replace it."""
    project = new_project()
    path = project.path / "data/flickr8k" / name
    path.parent.mkdir(parents=True)
    path.write_text('{"mine": [1]}')
    status, output = project.snakemake("--cores", "1", "data/flickr8k/raw.json", config=("scale=laptop",))
    assert status != 0
    assert f"data/flickr8k/{name}: not the list that captionrl writes there; move it to another place" in output
    assert path.read_text() == '{"mine": [1]}'


def test_a_manifest_of_a_users_own_may_have_no_weights(project, tmp_path, monkeypatch):
    (tmp_path / "m.yaml").write_text("toy: []\n")
    monkeypatch.setenv("CAPTIONRL_DOWNLOADS", str(tmp_path / "m.yaml"))
    assert project.plan("results/table1.csv", config=ONE_SEED).jobs["train"]


def test_weights_of_a_users_own_in_the_folder_of_the_downloads_are_nobodys(project):
    target = "data/weights/mine.pth"
    status, output = project.snakemake("--dry-run", target, config=("scale=paper",))
    assert status != 0
    assert "MissingRuleException" in output


def test_a_plan_names_the_files_that_are_not_there_yet_and_they_start_nothing_again(new_project):
    project, config = new_project(), ("scale=laptop",)

    def named():
        text = project.plan("data/flickr8k/raw.json", config=config).text
        return re.findall(r"^        data/flickr8k/(\S+?):? ", text, re.MULTILINE)

    folder = project.path / "data/flickr8k"
    assert named() == ["Flickr8k_text.zip", "Flicker8k_Dataset/"]
    (folder / "Images").mkdir(parents=True)
    assert named() == ["Flickr8k_text.zip", "Flicker8k_Dataset/"]
    (folder / "Images/1.jpg").touch()
    assert named() == ["Flickr8k_text.zip"]
    (folder / "Flickr8k_text.zip").touch()
    text = project.plan("data/flickr8k/raw.json", config=config).text
    assert "Fetching the files of flickr8k into data/flickr8k\n" in text

    project.pretend_all_is_done("data/flickr8k/raw.json", config)
    for path in (folder / "Images/1.jpg", folder / "Flickr8k_text.zip"):
        path.unlink()
        assert not project.plan("data/flickr8k/raw.json", config=config).jobs


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ("scale=huge", "params.yaml: scale: Input should be 'mini', 'laptop', 'paper' or 'own', but it is 'huge'"),
        ('overrides={"hlr":{"beam":3}}', "params.yaml: overrides.hlr: no such paper; there are e2e, hrl"),
        ('overrides={"hrl":{"baem":3}}', "params.yaml: overrides.hrl.baem: unknown key; did you mean 'beam'?"),
    ],
)
def test_a_mistake_in_the_configuration_is_one_line(project, config, complaint):
    status, output = project.snakemake("--dry-run", config=(config,))
    assert status != 0
    assert complaint in output
    assert "Traceback" not in output


@pytest.fixture(scope="module")
def done(new_project):
    """A project whose outputs for one seed are all there, with a package of its own, which may be edited."""
    project = new_project()
    shutil.copytree(ROOT / "src", project.path / "src", ignore=shutil.ignore_patterns("__pycache__"))
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
    assert jobs == {
        "predict": len(SCORED),
        "score": len(SCORED),
        "table": 2,
        "metrics_hrl": 1,
        "figures_hrl": 1,
        "hrl": 1,
    }


@pytest.mark.parametrize(
    ("change", "retrained"),
    [
        ({"phases": {"rl": {"learning_rate": 0.123}}}, after(*(step for step in TRAININGS if step[2] == "rl"))),
        ({"phases": {"hrl": {"noise": 0.123}}}, after(*(step for step in TRAININGS if step[2] == "hrl"))),
        ({"runs": {"hrl-32": {"sizes": {"goal": 33}}}}, after(("charades", "hrl-32", "xe-warm"))),
        ({"corpora": {"msrvtt": {"segmentation": "shallow"}}}, after(("msrvtt", "boundary-critic", "boundary-critic"))),
        (
            {"corpora": {"msrvtt": {"phases": {"xe": {"epochs": 91}}}}},
            {s for s in TRAININGS if s[0] == "msrvtt"} & after(*(step for step in TRAININGS if step[2] == "xe")),
        ),
    ],
    ids=["a phase", "its noise", "a run's goals", "what cuts captions", "a phase on one corpus"],
)
def test_another_setting_trains_what_it_concerns_and_what_builds_on_that(done, change, retrained):
    overrides = json.dumps({"hrl": change}, separators=(",", ":"))
    plan = done.plan("hrl", config=(*ONE_SEED, f"overrides={overrides}"))
    assert 0 < len(retrained) < len(TRAININGS)
    assert plan.trainings == of("mini", retrained, 1)
    assert plan.jobs["predict"] == len({(corpus, run) for corpus, run, _ in retrained} & SCORED)
    assert not set(plan.jobs) & {"captions", "features", "backbone", "render"}
    assert plan.jobs["segments"] == ("corpora" in change and "segmentation" in change["corpora"]["msrvtt"])


def test_other_segments_concern_neither_flat_captioners_nor_another_corpus():
    concerned = after(("msrvtt", "boundary-critic", "boundary-critic"))
    assert {(corpus, run) for corpus, run, _ in concerned} == {
        ("msrvtt", run) for run in ("boundary-critic", "hrl-16-warm", "hrl-16-compute-matched", "hrl-16")
    }


def test_noise_concerns_the_last_phase_of_hrl_alone():
    assert after(*(step for step in TRAININGS if step[2] == "hrl")) == {
        ("msrvtt", "hrl-16", "hrl"),
        *(("charades", f"hrl-{goal}", "hrl") for goal in (16, 32, 64)),
    }


def test_random_weights_in_the_place_of_a_packages_are_other_features(done):
    target = "work/msrvtt-mini/features/mini.json"
    assert not done.plan(target, config=ONE_SEED).jobs
    assert done.plan(target, config=(*ONE_SEED, 'weights={"mini":"random"}')).jobs["features"] == 1


def test_another_width_trains_all_models_that_have_it(done):
    plan = done.plan("hrl", config=(*ONE_SEED, 'overrides={"hrl":{"sizes":{"decoder":9}}}'))
    assert plan.trainings == of("mini", [step for step in TRAININGS if step[1] != "boundary-critic"], 1)
    assert not set(plan.jobs) & {"captions", "segments", "features", "backbone", "render"}


def test_another_title_makes_its_own_table_anew(done):
    paper = done.path / "papers/hrl/paper.yaml"
    before = paper.read_text(encoding="utf-8")
    title = "Comparison with the state of the art on MSR-VTT"
    assert before.count(title) == 1
    try:
        paper.write_text(before.replace(title, "Another title"), encoding="utf-8")
        plan = done.plan("--printshellcmds", "hrl", config=ONE_SEED)
    finally:
        paper.write_text(before, encoding="utf-8")
    assert [parsed("table", words).table for words in plan.commands["table"]] == [("hrl", "table1")]
    assert not plan.trainings
    assert not set(plan.jobs) & {"predict", "score"}


def test_another_precision_trains_everything(done):
    plan = done.plan("--printshellcmds", "hrl", config=(*ONE_SEED, "precision=bfloat16"))
    assert plan.trainings == of("mini", TRAININGS, 1)
    assert plan.text.count(" --precision bfloat16 ") == len(plan.trainings)


def test_another_seed_is_only_added(done):
    plan = done.plan("hrl", config=("seeds=[1,2]",))
    assert plan.trainings == of("mini", TRAININGS, 2)
    assert plan.jobs["predict"] == plan.jobs["score"] == len(SCORED)


def test_the_scales_share_no_file(done):
    """With all of the mini scale there, the other one has everything to do."""
    plan = done.plan("hrl", config=(*ONE_SEED, "scale=paper"))
    assert plan.trainings == of("paper", TRAININGS, 1)
    assert DATA["paper"] <= set(plan.jobs)


def test_touching_files_makes_nothing_anew(done):
    later = time.time() + 100
    for path in done.path.rglob("*"):
        if ".snakemake" not in path.parts:
            os.utime(path, (later, later))
            later += 0.01  # inputs after the outputs made from them, too
    assert not done.plan("hrl", config=ONE_SEED).jobs


def test_comments_everywhere_make_nothing_anew(done):
    modules = {path: path.read_text() for path in (done.path / "src").rglob("*.py")}
    try:
        for path, text in modules.items():
            path.write_text(text + "\n# commented\n")
        plan = done.plan("hrl", config=ONE_SEED)
    finally:
        for path, text in modules.items():
            path.write_text(text)
    assert "Nothing to be done (all requested files are present and up to date)." in plan.text


SCORING = {"score", "table", "metrics_hrl"}
LEARNING = {"train", "predict", "figures_hrl"} | SCORING


@pytest.mark.parametrize(
    ("module", "rerun"),
    [
        ("tables/drawing.py", {"figures_hrl"}),
        ("tables/table.py", {"table", "metrics_hrl"}),
        ("evaluation/metrics.py", SCORING),
        ("decoding/beam.py", {"predict", "figures_hrl"} | SCORING),
        ("text/shallow.py", {"segments"} | LEARNING),
        ("features/extract.py", {"features"} | LEARNING),
        ("datasets/prepare.py", {"captions", "segments", "features"} | LEARNING),
        ("datasets/mini/draw.py", {"render", "captions", "segments", "features"} | LEARNING),
        ("models/s2vt.py", {"train", "predict"} | SCORING),
        ("config/tables.py", set()),  # the values that it reads are what counts
    ],
)
def test_an_edited_module_makes_anew_what_depends_on_it_and_nothing_else(done, module, rerun):
    """That it is these modules that a command's version is about is shown in test_provenance.py."""
    path = done.path / "src/captionrl" / module
    before = path.read_text()
    try:
        path.write_text(before + "\nEDITED = True\n")
        assert set(done.plan("hrl", config=ONE_SEED).jobs) == (rerun | {"hrl"} if rerun else set())
    finally:
        path.write_text(before)


@pytest.mark.parametrize(
    ("module", "retrained"),
    [
        ("models/s2vt.py", {step for step in TRAININGS if step[1] == "s2vt"}),
        ("objectives/reinforce.py", after(*(step for step in TRAININGS if step[2] in ("rl", "hrl")))),
        ("models/hrl.py", {step for step in TRAININGS if step[1].startswith("hrl")}),
        ("training/learners/boundary_critic.py", after(*(step for step in TRAININGS if step[1] == "boundary-critic"))),
    ],
)
def test_an_edited_method_trains_its_own_runs_and_what_builds_on_them(done, module, retrained):
    path = done.path / "src/captionrl" / module
    before = path.read_text()
    try:
        path.write_text(before + "\nEDITED = True\n")
        assert done.plan("hrl", config=ONE_SEED).trainings == of("mini", retrained, 1)
    finally:
        path.write_text(before)
