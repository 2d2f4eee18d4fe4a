"""dvc.yaml says the same as the Snakemake DAG at either scale, and DVC does with it what its users expect."""

import csv
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.dependency import ParamsDependency
from dvc.repo import Repo

from captionrl.config import load_paper
from captionrl.config.methods import LEARNERS, MODELS
from captionrl.provenance import sources

pytestmark = pytest.mark.slow  # minutes: DVC starts Snakemake for every stage

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
METHODS = (*MODELS.values(), *LEARNERS.values())
PAPERS = {path.stem: load_paper(path, "paper") for path in sorted((ROOT / "papers").glob("*.yaml"))}
CORPORA = {table.corpus for paper in PAPERS.values() for table in paper.tables.values() if not table.on_request}
STAGES = {*CORPORA, *PAPERS}
# Not for DVC: fetched anew wherever they are needed; their checksums stand in downloads.yaml.
FETCHED = {"data/tools", "data/weights"}
# What the Snakefile itself imports, beside the modules of the commands.
SNAKEFILE = {
    f"src/captionrl/{name}"
    for name in ("config/__init__.py", "errors.py", "features/shipped.py", "files.py", "provenance.py")
}
WITHHELD = {
    "mini": set(),
    "paper": {
        *("data/charades", "work/charades/captions", "work/charades/features"),
        *("data/msvd", "work/msvd/captions", "work/msvd/features", "work/msrvtt/features"),
        *(path for name in ("msrvtt", "coco", "tgif") for path in (f"data/{name}", f"work/{name}/captions")),
    },
}


@dataclass(frozen=True)
class Stage:
    cmd: str
    deps: set[str]
    params: dict[str, list[str]]  # by file; an empty list: all of it
    outs: set[str]
    kept: set[str]  # outs with `persist`
    withheld: set[str]  # outs with `push: false`


@dataclass(frozen=True)
class Graph:
    """What Snakemake would make for a stage's targets."""

    rules: dict[str, str]  # by output
    inputs: dict[str, set[str]]  # of the job that makes an output
    commands: dict[str, str]  # likewise: its name in `captionrl NAME`


@dataclass(frozen=True)
class Versioned:
    """A copy of the project in a git repository of its own, with a cache and a remote of its own."""

    project: Any
    scale: str

    @property
    def path(self) -> Path:
        return self.project.path

    def run(self, *command: str, status: int = 0) -> str:
        both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        result = subprocess.run(command, cwd=self.path, text=True, timeout=300, **both)
        assert result.returncode == status, result.stdout
        return result.stdout

    def commit(self) -> None:
        self.run("git", "add", "--all")
        self.run("git", "-c", "user.name=x", "-c", "user.email=x@x", "commit", "--quiet", "--message=x")

    def stages(self) -> dict[str, Stage]:
        def inside(item: Any) -> str:
            return Path(item.fs_path).relative_to(self.path).as_posix()

        with Repo(str(self.path)) as repo:
            return {
                stage.name: Stage(
                    stage.cmd,
                    {inside(dep) for dep in stage.deps if not isinstance(dep, ParamsDependency)},
                    {inside(dep): dep.params for dep in stage.deps if isinstance(dep, ParamsDependency)},
                    {inside(out) for out in stage.outs},
                    {inside(out) for out in stage.outs if out.persist},
                    {inside(out) for out in stage.outs if not out.can_push},
                )
                for stage in repo.index.stages
            }

    def graph(self, cmd: str) -> Graph:
        status, output = self.project.snakemake("--detailed-summary", *target_of(cmd), config=(f"scale={self.scale}",))
        assert status == 0, output
        rows = list(csv.DictReader(output[output.index("output_file\t") :].splitlines(), delimiter="\t"))
        commands = {row["output_file"]: re.search(r"captionrl (\w+)", row["shellcmd"]) for row in rows}
        return Graph(
            {row["output_file"]: row["rule"] for row in rows},
            {row["output_file"]: set(row["input-file(s)"].split(",")) - {""} for row in rows},
            {output: found[1] for output, found in commands.items() if found},
        )


def target_of(cmd: str) -> list[str]:
    return cmd.partition(" -- ")[2].split()


def below(path: str, places: set[str]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


@pytest.fixture(scope="module")
def finished(new_project, tmp_path_factory) -> Iterator[Callable[[str], Versioned]]:
    """A copy at a scale, in which Snakemake has nothing to do: one a scale for all tests, which leave it as it was."""
    patch = pytest.MonkeyPatch()
    patch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path_factory.mktemp("site")))
    patch.setenv("DVC_NO_ANALYTICS", "1")
    patch.setenv("PATH", f"{BIN}:{os.environ['PATH']}")
    patch.delenv("SNAKEMAKE_PROFILE", raising=False)

    @cache
    def finished(scale: str) -> Versioned:
        project = new_project()
        for name in ("dvc.yaml", ".dvcignore", ".gitignore", "Makefile", ".dvc/config", ".dvc/.gitignore"):
            (project.path / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, project.path / name)
        shutil.copytree(ROOT / "src", project.path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        edit(project.path / "params.yaml", scale=scale, seeds=[1])
        copy = Versioned(project, scale)
        copy.run("git", "init", "--quiet")
        copy.run("dvc", "remote", "modify", "local", "url", str(tmp_path_factory.mktemp("remote")))
        copy.commit()
        copy.project.pretend_all_is_done("all", ())
        return copy

    yield finished
    patch.undo()


@pytest.fixture(scope="module", params=["mini", "paper"])
def plan(request, finished) -> tuple[Versioned, dict[str, Stage], dict[str, Graph]]:
    """And what DVC and Snakemake each have to say about every stage."""
    copy = finished(request.param)
    stages = copy.stages()
    return copy, stages, {name: copy.graph(stage.cmd) for name, stage in stages.items()}


def before(name: str, stages: dict[str, Stage]) -> set[str]:
    """The outputs of all stages that a stage builds on."""
    earlier = [other for other, stage in stages.items() if stage.outs & stages[name].deps]
    return set().union(*(stages[other].outs | before(other, stages) for other in earlier))


def own(name: str, stages: dict[str, Stage], graphs: dict[str, Graph]) -> dict[str, str]:
    """{output: rule} of the jobs of a stage that are no other stage's."""
    others = set().union(*(stage.outs for other, stage in stages.items() if other != name))
    return {output: rule for output, rule in graphs[name].rules.items() if not below(output, others)}


def edit(path: Path, **values: Any) -> None:
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **values}, sort_keys=False))


def test_every_data_set_and_every_paper_is_a_stage_that_calls_snakemake(plan):
    copy, stages, _ = plan
    assert set(stages) == STAGES
    for name, stage in stages.items():
        (target,) = target_of(stage.cmd)
        assert stage.cmd == f"cd ../../.. && exec snakemake --config scale={copy.scale} -- {target}"
        assert target == name


@pytest.mark.parametrize("name", sorted(STAGES))
def test_what_a_stage_makes_is_an_output_of_it_or_of_a_stage_before_it(plan, name):
    _, stages, graphs = plan
    made = {path for path in graphs[name].rules if not below(path, FETCHED)}
    assert not {path for path in made if not below(path, stages[name].outs | before(name, stages))}
    assert not {out for out in stages[name].outs if not any(below(path, {out}) for path in made)}
    assert stages[name].kept == stages[name].outs  # Snakemake completes them; DVC must not clear them away


@pytest.mark.parametrize("name", sorted(STAGES))
def test_what_a_stage_reads_is_a_dependency_of_it(plan, name):
    _, stages, graphs = plan
    mine = own(name, stages, graphs)
    read = set().union(*(graphs[name].inputs[output] for output in mine)) - set(mine)
    assert not {path for path in read if not below(path, stages[name].deps)}


@pytest.mark.parametrize("name", sorted(STAGES))
def test_the_code_behind_a_stage_is_a_dependency_of_it(plan, name):
    _, stages, graphs = plan
    mine = own(name, stages, graphs)
    commands = {graphs[name].commands[output] for output in mine if output in graphs[name].commands}
    assert commands
    modules = {
        path.relative_to(ROOT).as_posix()
        for command in commands
        for path in sources(command, *(METHODS if command in ("train", "predict", "figures") else ()))
    }
    rules = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "workflow/rules").glob("*.smk")
        if any(f"rule {rule}:" in path.read_text() for rule in mine.values()) or path.name == "common.smk"
    }
    code = {"Snakefile", "src/captionrl/cli.py", *SNAKEFILE, *modules, *rules}
    assert not {path for path in code if not below(path, stages[name].deps)}


def test_no_code_is_a_dependency_in_vain(plan):
    _, stages, _ = plan
    for name in CORPORA:  # at one scale or the other
        used = {"src/captionrl/cli.py", *SNAKEFILE}
        for command in ("world", "require", "corpus", "segment", "attributes", "features", "frames", "download"):
            used |= {path.relative_to(ROOT).as_posix() for path in sources(command)}
        dependencies = {dep for dep in stages[name].deps if dep.startswith("src/")}
        assert not {dep for dep in dependencies if not any(below(path, {dep}) for path in used)}


def changed(value: Any, spared: tuple[str, ...], at: str = "") -> Any:
    """`value` with a smaller number for every number in it but 0 and 1, and but for those at or below `spared`."""
    if at in spared:
        return value
    if isinstance(value, dict):
        return {key: changed(item, spared, f"{at}.{key}".lstrip(".")) for key, item in value.items()}
    if isinstance(value, list):
        return [changed(item, spared, f"{at}[]") for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value * 0.9 if isinstance(value, float) else max(value - 1, min(value, 1))
    return value


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_only_what_a_data_set_names_in_params_changes_it(plan, name):
    copy, stages, graphs = plan
    kept = {file: (copy.path / file).read_text() for file in stages[name].params}
    papers = {file: yaml.safe_load(text) for file, text in kept.items() if file != "params.yaml"}
    try:
        for file, facts in papers.items():
            edit(copy.path / file, **changed(facts, (*stages[name].params[file], "sizes.stages")))  # tables name them
        edit(copy.path / "params.yaml", seeds=[5], device="cpu")
        assert set(stages[name].params["params.yaml"]) == {"scale", "allowed_failures", "overrides"}
        assert "Nothing to be done" in copy.project.plan(name).text
        for file, facts in papers.items():
            edit(copy.path / file, **{**facts, "fps": 7})  # of images too: they have one frame at any rate
        extractions = {"features", "test_features", "frames"} & set(graphs[name].rules.values())
        assert set(copy.project.plan(name).jobs) == {*extractions, name}
    finally:
        for file, text in kept.items():
            (copy.path / file).write_text(text)


def test_a_paper_depends_on_all_its_facts(plan):
    _, stages, _ = plan
    for paper in PAPERS:
        assert stages[paper].params == {
            "params.yaml": ["scale", "seeds", "precision", "overrides"],
            f"papers/{paper}.yaml": [],
        }


def test_what_a_licence_forbids_is_not_pushed(plan):
    copy, stages, _ = plan
    assert set().union(*(stage.withheld for stage in stages.values())) == WITHHELD[copy.scale]


def test_the_scales_share_no_output(finished):
    outs = [set().union(*(stage.outs for stage in finished(scale).stages().values())) for scale in WITHHELD]
    assert not outs[0] & outs[1]
    assert all(re.search("-mini|/mini/", out) for out in outs[0])


def test_metrics_and_curves_of_every_paper_are_shown(plan):
    copy, _, graphs = plan
    shown = yaml.safe_load((copy.path / "dvc.yaml").read_text().replace("${scale}", copy.scale))
    assert shown["metrics"] == [f"results/{copy.scale}/{paper}/metrics.json" for paper in PAPERS]
    assert set(shown["metrics"]) <= set().union(*(graphs[paper].rules for paper in PAPERS))
    curves = [path for plot in shown["plots"] for path in plot]
    assert curves == [f"results/{copy.scale}/{name}/curves" for name, paper in PAPERS.items() if paper.figures.learners]
    for paper, place in zip(PAPERS, curves, strict=True):
        assert any(below(path, {place}) for path in graphs[paper].rules)


@pytest.fixture(scope="module")
def done(finished) -> Versioned:
    """That of the mini scale after `dvc repro`, which had only to record it."""
    copy = finished("mini")
    copy.run("dvc", "repro")
    copy.commit()
    return copy


def running(copy: Versioned, *arguments: str) -> set[str]:
    """The stages that `dvc repro` would run."""
    return set(re.findall(r"Running stage '(\w+)'", copy.run("dvc", "repro", "--dry", *arguments)))


def test_git_has_nothing_of_what_dvc_keeps(done):
    assert done.run("git", "status", "--porcelain") == ""
    tracked = done.run("git", "ls-files").split()
    assert "dvc.lock" in tracked
    assert [path for path in tracked if path.endswith(".gitignore")] == [".dvc/.gitignore", ".gitignore"]
    assert not [path for path in tracked if path.startswith(("data/", "work/", "checkpoints/", "results/"))]


def test_a_second_repro_runs_nothing_nor_does_touching_every_file(done):
    assert "Running stage" not in done.run("dvc", "repro")
    for path in done.path.rglob("*"):
        if path.is_file() and not {".git", ".dvc", ".snakemake"} & set(path.relative_to(done.path).parts):
            path.touch()
    assert "Running stage" not in done.run("dvc", "repro")
    assert "Nothing to be done" in done.project.plan("all").text


@pytest.mark.parametrize(
    ("file", "old", "new", "concerned"),
    [
        ("papers/hrl.yaml", "\nbeam: 5", "\nbeam: 3", {"hrl"}),
        ("papers/hrl.yaml", "\nfps: 3", "\nfps: 4", {"msrvtt", "charades", "hrl"}),
        ("papers/hrl.yaml", "msrvtt: { max_frames: 8", "msrvtt: { max_frames: 9", {"msrvtt", "hrl"}),
        ("params.yaml", "seeds:\n- 1", "seeds:\n- 2", set(PAPERS)),
        ("params.yaml", "device: auto", "device: cpu", set()),
        ("params.yaml", "precision: float32", "precision: bfloat16", set(PAPERS)),
        ("src/captionrl/tables/table.py", "import csv\n", "import csv  # changed\n", set(PAPERS)),
        ("src/captionrl/models/hrl.py", "import torch\n", "import torch  # changed\n", set(PAPERS)),
        ("src/captionrl/text/ptb.py", "import ", "import   ", CORPORA | set(PAPERS)),
        ("workflow/rules/train.smk", "rule train:\n", "rule train: # changed\n", set(PAPERS)),
    ],
)
def test_a_change_runs_the_stages_it_concerns(done, file, old, new, concerned):
    path = done.path / file
    text = path.read_text()
    assert old in text
    try:
        path.write_text(text.replace(old, new, 1))
        assert running(done) == concerned
    finally:
        path.write_text(text)
    assert running(done) == set()


def test_a_paper_alone_takes_the_data_sets_it_needs_with_it(done):
    for name, paper in PAPERS.items():
        corpora = {table.corpus for table in paper.tables.values() if not table.on_request}
        assert running(done, "--force", name) == {name, *corpora}


def clone(copy: Versioned, place: Path) -> Versioned:
    copy.run("git", "clone", "--quiet", str(copy.path), str(place))
    return Versioned(type(copy.project)(place), copy.scale)


def adopt(copy: Versioned, status: int = 0) -> str:
    return copy.run("make", "--assume-old=setup", f"BIN={BIN}", "adopt", status=status)


def contents(copy: Versioned) -> dict[str, bytes]:
    places = [copy.path / name for name in ("data", "work", "checkpoints", "results")]
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    relative = {path.relative_to(copy.path).as_posix(): path for path in files}
    return {name: path.read_bytes() for name, path in relative.items() if not name.startswith("work/log")}


def test_adopting_without_a_remote_or_with_other_parameters_says_so(done, tmp_path):
    copy = clone(done, tmp_path / "clone")
    copy.run("dvc", "remote", "modify", "local", "url", str(tmp_path / "nowhere"))
    assert "adopt: nothing came; is the remote there?" in adopt(copy, status=2)
    shutil.copytree(done.path / ".dvc/cache", copy.path / ".dvc/cache")
    edit(copy.path / "papers/hrl.yaml", beam=3)
    assert "adopt: not what dvc.lock records" in adopt(copy, status=2)
    assert not (copy.path / ".snakemake").exists()


@pytest.fixture
def s3(monkeypatch):
    """The address of an S3 server on this machine, with a bucket."""
    moto = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    for name, value in {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "secret"}.items():
        monkeypatch.setenv(name, value)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    address = f"http://127.0.0.1:{port}"
    boto3.client("s3", endpoint_url=address, region_name="us-east-1").create_bucket(Bucket="bucket")
    yield address
    server.stop()


def test_an_s3_server_keeps_what_was_pushed(done, tmp_path, s3):
    """With the commands of docs/dvc.md. What comes back is all there was, and adopted."""
    copy = clone(done, tmp_path / "clone")
    shutil.copytree(done.path / ".dvc/cache", copy.path / ".dvc/cache")
    copy.run("dvc", "remote", "add", "--default", "s3", "s3://bucket/captionrl")
    copy.run("dvc", "remote", "modify", "s3", "endpointurl", s3)
    copy.run("dvc", "push")
    shutil.rmtree(copy.path / ".dvc/cache")
    adopt(copy)
    assert "Nothing to be done" in copy.project.plan("all", "results/table1.csv").text
    assert running(copy) == set()
    assert {name: text for name, text in contents(copy).items() if not name.startswith("results/table")} == contents(
        done
    )
    assert (copy.path / "results/table1.csv").read_bytes() == (done.path / "results/mini/hrl/table1.csv").read_bytes()
    beam = ("overrides={hrl: {beam: 3}}",)
    assert not copy.project.plan("hrl", config=beam).trainings
    assert copy.project.plan("hrl", config=beam).jobs["predict"] > 10
