"""The dvc.yaml of each scale agrees with Snakemake's graph, and DVC's commands do with it what docs/dvc.md says."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo

from captionrl.config.load import resolve

pytestmark = pytest.mark.slow  # two minutes: DVC and Make start processes of their own

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
FILES = {"mini": "dvc.yaml", "laptop": "laptop/dvc.yaml", "paper": "paper/dvc.yaml"}
PAPERS = {  # by scale; corpora are called as in the papers' files
    scale: {
        path.parent.name: resolve(path.parent, scale, None)
        for path in sorted((ROOT / "papers").glob(f"*/{scale}.yaml"))
    }
    for scale in FILES
}
CORPORA = {
    scale: {
        name: {table.corpus for table in paper.tables.values() if not table.on_request}
        for name, paper in papers.items()
    }
    for scale, papers in PAPERS.items()
}
DATA = {scale: set().union(*corpora.values()) for scale, corpora in CORPORA.items()}
CODE = {"Snakefile", "workflow", "src/captionrl"}
DOWNLOADS = {"data/tools", "data/weights"}  # with a checksum in downloads.yaml: not for DVC
WITHHELD = {
    "mini": set(),
    "laptop": {
        *("data/charades-annotations", "work/charades-annotations/captions", "work/charades-annotations/features"),
        *("data/flickr8k", "work/flickr8k/captions"),
        *("data/msvd-laptop", "work/msvd-laptop/captions", "work/msvd-laptop/features"),
    },
    "paper": {
        *("data/charades", "work/charades/captions", "work/charades/features"),
        *("data/msvd", "work/msvd/captions", "work/msvd/features", "work/msrvtt/features"),
        *(
            path
            for name in ("msrvtt", "coco", "coco-82k", "tgif")
            for path in (f"data/{name}", f"work/{name}/captions")
        ),
    },
}


@dataclass(frozen=True)
class Stage:
    cmd: str
    folder: Path  # where its command runs
    deps: set[str]
    params: set[str]  # of params.yaml
    outs: dict[str, dict[str, bool]]  # options by path


@dataclass(frozen=True)
class Job:
    rule: str
    inputs: set[str]
    outputs: set[str]


@dataclass(frozen=True)
class Repository:
    """A copy of the project in a git repository of its own, with a DVC cache and a DVC remote of its own."""

    project: Any

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

    def clone(self, place: Path, tag: str) -> "Repository":
        self.run("git", "-c", "advice.detachedHead=false", "clone", "--quiet", "--branch", tag, ".", str(place))
        return Repository(type(self.project)(place))

    def adopt(self, status: int = 0) -> str:
        return self.run("make", "--assume-old=setup", f"BIN={BIN}", "adopt", status=status)

    def changed(self) -> set[str]:
        """The stages that DVC would run."""
        with Repo(str(self.path)) as repo:
            return {name.rpartition(":")[2] for name in repo.status()}


def shipped(scale: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / FILES[scale]).read_text())


def read_stages(scale: str) -> dict[str, Stage]:
    return {
        name: Stage(
            stage["cmd"],
            (ROOT / FILES[scale]).parent / stage.get("wdir", "."),
            set(stage["deps"]),
            set(stage["params"]),
            {path: options for out in stage["outs"] for path, options in out.items()},
        )
        for name, stage in shipped(scale)["stages"].items()
    }


STAGES = {scale: read_stages(scale) for scale in FILES}


def below(path: str, places: set[str]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


def earlier(scale: str, name: str) -> set[str]:
    """The stages that a stage builds on."""
    stages = STAGES[scale]
    direct = {other for other, stage in stages.items() if set(stage.outs) & stages[name].deps}
    return direct.union(*(earlier(scale, other) for other in direct))


def edit(path: Path, **values: Any) -> None:
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **values}, sort_keys=False))


def listed(kind: str, block: str) -> set[str]:
    """The files of a kind that Snakemake lists of a job."""
    found = re.search(rf"^    {kind}: (.+)$", block, re.MULTILINE)
    return set(found[1].split(", ")) if found else set()


@pytest.fixture(scope="module")
def jobs(new_project) -> Callable[[str, str], list[Job]]:
    """The jobs that a target takes at a scale, itself among them."""
    project = new_project()
    for path in (project.path / "workflow/rules").glob(
        "*.smk"
    ):  # of a job without a message, Snakemake lists the files
        path.write_text(re.sub(r"^ +message:\n.*\n", "", path.read_text(), flags=re.MULTILINE))
    graphs: dict[str, list[Job]] = {}
    for scale, stages in STAGES.items():
        text = project.plan(*stages, config=(f"scale={scale}",)).text
        blocks = re.findall(r"^(?:local)?rule ([\w-]+):\n((?: {4}.*\n)+)", text, re.MULTILINE)
        graphs[scale] = [Job(rule, listed("input", block), listed("output", block)) for rule, block in blocks]

    def of(scale: str, target: str) -> list[Job]:
        makers = {output: job for job in graphs[scale] for output in job.outputs}
        found: dict[int, Job] = {}
        waiting = [job for job in graphs[scale] if job.rule == target]
        while waiting:
            job = waiting.pop()
            if id(job) not in found:
                found[id(job)] = job
                waiting += [makers[path] for path in job.inputs]
        return list(found.values())

    return of


@pytest.mark.parametrize("scale", FILES)
def test_every_data_set_and_every_paper_is_a_stage_that_calls_snakemake(scale):
    assert set(STAGES[scale]) == DATA[scale] | set(PAPERS[scale])
    for name, stage in STAGES[scale].items():
        assert stage.cmd == f"snakemake --config scale={scale} -- {name}"
        assert stage.folder.resolve() == ROOT
        assert earlier(scale, name) == CORPORA[scale].get(name, set())


@pytest.mark.parametrize("scale", FILES)
def test_a_stage_makes_its_outputs_in_full_and_nothing_else(scale, jobs):
    made = {name: set().union(*(job.outputs for job in jobs(scale, name))) for name in STAGES[scale]}
    for name, stage in STAGES[scale].items():
        before = {out for other in earlier(scale, name) for out in STAGES[scale][other].outs}
        assert not {path for path in made[name] if not below(path, {*stage.outs, *before, *DOWNLOADS})}
        for out, options in stage.outs.items():
            files = {path for path in set().union(*made.values()) if below(path, {out})}
            assert files
            assert files <= made[name]
            assert options["persist"]  # Snakemake completes them; DVC must not delete them before


@pytest.mark.parametrize("scale", FILES)
def test_what_a_stage_reads_is_a_dependency_of_it(scale, jobs):
    outs = {out for stage in STAGES[scale].values() for out in stage.outs}
    for name, stage in STAGES[scale].items():
        own = [job for job in jobs(scale, name) if any(below(path, set(stage.outs)) for path in job.outputs)]
        read = set().union(*(job.inputs for job in own))
        assert not {path for path in read if not below(path, {*stage.deps, *stage.outs, *DOWNLOADS})}
        papers = {f"papers/{paper}" for paper in PAPERS[scale] if name == paper or name in CORPORA[scale][paper]}
        files = {f"{paper}/{file}.yaml" for paper in papers for file in {"paper", scale}}
        settings = papers if scale == "mini" else files
        assert stage.deps - outs == CODE | settings


@pytest.mark.parametrize("scale", FILES)
def test_every_setting_that_can_change_a_result_concerns_its_stages(scale):
    settings = set(yaml.safe_load((ROOT / "params.yaml").read_text()))
    backbone = {"mini_backbone"} if scale == "mini" else set()
    data = {"extraction_precision", "allowed_failures", "features", "weights", "overrides", *backbone}
    papers = {"seeds", "precision", "overrides"}
    others = {"scale", "device", "accept", "extraction_jobs"}
    assert settings == others | {"mini_backbone"} | data | papers
    for name in DATA[scale]:
        assert STAGES[scale][name].params == data
    for name, paper in PAPERS[scale].items():
        trains_a_cnn = any(paper.model_of(run).cnn for run in paper.runs)
        assert STAGES[scale][name].params == papers | (backbone | {"weights"} if trains_a_cnn else set())


def test_what_a_licence_forbids_is_not_pushed_and_the_scales_share_no_output():
    for scale, stages in STAGES.items():
        outs = [(path, options) for stage in stages.values() for path, options in stage.outs.items()]
        assert {path for path, options in outs if not options.get("push", True)} == WITHHELD[scale]
        assert all(bool(re.search("-mini/|-mini$|/mini/", path)) == (scale == "mini") for path, _ in outs)
    every = [path for stages in STAGES.values() for stage in stages.values() for path in stage.outs]
    assert len(set(every)) == len(every)


@pytest.mark.parametrize("scale", FILES)
def test_metrics_and_curves_of_every_paper_are_shown(scale, jobs):
    file, up = shipped(scale), "../" * FILES[scale].count("/")
    assert file["metrics"] == [f"{up}results/{scale}/{paper}/metrics.json" for paper in PAPERS[scale]]
    curves = [path for plot in file["plots"] for path in plot]
    drawn = [name for name, paper in PAPERS[scale].items() if paper.figures.learners]
    assert curves == [f"{up}results/{scale}/{name}/curves" for name in drawn]
    made = {up + path for paper in PAPERS[scale] for job in jobs(scale, paper) for path in job.outputs}
    assert set(file["metrics"]) <= made
    assert all(any(below(path, {folder}) for path in made) for folder in curves)


@pytest.fixture(scope="module")
def done(new_project, tmp_path_factory) -> Repository:
    """A copy in which all is made and recorded; its commit `one-paper` records hrl and its data sets only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path_factory.mktemp("site")))
        patch.setenv("DVC_NO_ANALYTICS", "1")
        patch.setenv("PATH", f"{BIN}:{os.environ['PATH']}")
        patch.delenv("SNAKEMAKE_PROFILE", raising=False)
        project = new_project()
        for name in (*FILES.values(), ".dvcignore", ".gitignore", "Makefile", ".dvc/config", ".dvc/.gitignore"):
            (project.path / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, project.path / name)
        shutil.copytree(ROOT / "src", project.path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        edit(project.path / "params.yaml", seeds=[1])
        project.pretend_all_is_done("all", ())
        copy = Repository(project)
        copy.run("git", "init", "--quiet")
        copy.run("dvc", "remote", "modify", "local", "url", str(tmp_path_factory.mktemp("remote")))
        copy.run("dvc", "repro", "hrl")  # Snakemake finds nothing to do
        copy.commit()
        copy.run("git", "tag", "one-paper")
        copy.run("dvc", "commit", "--force")  # the other stages, without Snakemake
        copy.commit()
        copy.run("git", "tag", "all")
        yield copy


def test_git_has_nothing_of_what_dvc_keeps(done):
    assert done.run("git", "status", "--porcelain") == ""
    tracked = done.run("git", "ls-files").split()
    assert "dvc.lock" in tracked
    assert [path for path in tracked if path.endswith(".gitignore")] == [".dvc/.gitignore", ".gitignore"]
    assert not [path for path in tracked if path.startswith(("data/", "work/", "checkpoints/", "results/"))]


def test_a_second_repro_runs_nothing_nor_does_touching_every_file(done):
    for path in done.path.rglob("*"):
        if path.is_file() and not {".git", ".dvc", ".snakemake"} & set(path.relative_to(done.path).parts):
            path.touch()
    assert "Running stage" not in done.run("dvc", "repro")
    assert "Nothing to be done" in done.project.plan(*STAGES["mini"]).text


def replaced(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def test_a_change_concerns_its_stages_and_snakemake_runs_what_depends_on_it(done):
    def after(file: str, old: str, new: str) -> set[str]:
        replaced(done.path / file, old, new)
        return done.changed()

    papers, data = set(PAPERS["mini"]), DATA["mini"]
    everything, hrl = papers | data, {"hrl", *CORPORA["mini"]["hrl"]}
    try:
        assert after("params.yaml", "device: auto", "device: cpu") == set()
        assert after("params.yaml", "seeds:\n- 1", "seeds:\n- 2") == papers
        assert after("params.yaml", "precision: float32", "precision: bfloat16") == papers
        assert "Nothing to be done" in done.project.plan(*data).text
        done.run("git", "checkout", "--quiet", "params.yaml")
        assert after("params.yaml", "allowed_failures: 0", "allowed_failures: 1") == data
        done.run("git", "checkout", "--quiet", "params.yaml")
        assert after("papers/hrl/paper.yaml", "\nbeam: 5", "\nbeam: 5 # changed") == hrl
        assert after("src/captionrl/models/hrl.py", "import torch\n", "import torch  # changed\n") == everything
        assert after("workflow/rules/train.smk", "rule train:\n", "rule train: # changed\n") == everything
        assert "Nothing to be done" in done.project.plan("all").text
        done.run("git", "checkout", "--quiet", ".")
        assert after("papers/hrl/paper.yaml", "\nbeam: 5", "\nbeam: 3") == hrl
        plan = done.project.plan("hrl")
        assert plan.jobs["predict"] > 10
        assert not plan.trainings
        assert after("papers/hrl/paper.yaml", "\nfps: 3", "\nfps: 4") == hrl
        assert done.project.plan("msrvtt", "charades").jobs["features"] == 2
    finally:
        done.run("git", "checkout", "--quiet", ".")
    assert done.changed() == set()


@pytest.mark.parametrize("scale", ["laptop", "paper"])
def test_a_scale_has_a_pipeline_a_lock_and_a_remote_without_what_licences_forbid(done, tmp_path, scale):
    copy = done.clone(tmp_path / "clone", "all")
    assert "dvc-ignored" in copy.run("dvc", "repro", FILES[scale], status=255)
    replaced(copy.path / ".dvcignore", f"\n/{scale}/\n", "\n")
    copy.run("dvc", "remote", "modify", "local", "url", str(tmp_path / "remote"))
    outs = {out for stage in STAGES[scale].values() for out in stage.outs}
    for out in outs:
        (copy.path / out).mkdir(parents=True)
        (copy.path / out / "file").write_text(out)
    copy.run("dvc", "commit", "--force", FILES[scale])
    assert set(yaml.safe_load((copy.path / f"{scale}/dvc.lock").read_text())["stages"]) == set(STAGES[scale])
    assert copy.run("git", "status", "--porcelain", "dvc.lock") == ""
    assert "Running stage" not in copy.run("dvc", "repro", FILES[scale])
    copy.run("dvc", "push", FILES[scale])
    for name in (".dvc/cache", "data", "work", "checkpoints", "results"):
        shutil.rmtree(copy.path / name)
    copy.run("dvc", "pull", "--allow-missing", FILES[scale])
    assert {out for out in outs if (copy.path / out / "file").exists()} == outs - WITHHELD[scale]


def test_adopting_without_a_remote_or_with_other_parameters_says_so(done, tmp_path):
    copy = done.clone(tmp_path / "clone", "one-paper")
    copy.run("dvc", "remote", "modify", "local", "url", str(tmp_path / "nowhere"))
    assert "adopt: nothing was pulled; check the remote" in copy.adopt(status=2)
    shutil.copytree(done.path / ".dvc/cache", copy.path / ".dvc/cache")
    edit(copy.path / "papers/hrl/paper.yaml", beam=3)
    assert "adopt: code or parameters are not those of dvc.lock" in copy.adopt(status=2)
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


def test_a_clone_adopts_what_an_s3_server_kept(done, tmp_path, s3):
    """With the commands of docs/dvc.md."""
    copy = done.clone(tmp_path / "clone", "one-paper")
    shutil.copytree(done.path / ".dvc/cache", copy.path / ".dvc/cache")
    copy.run("dvc", "remote", "add", "--default", "s3", "s3://bucket/captionrl")
    copy.run("dvc", "remote", "modify", "s3", "endpointurl", s3)
    copy.run("dvc", "push")
    shutil.rmtree(copy.path / ".dvc/cache")
    copy.adopt()
    assert "Nothing to be done" in copy.project.plan("hrl", *CORPORA["mini"]["hrl"], "results/table1.csv").text
    assert "Running stage" not in copy.run("dvc", "repro", "--dry", "hrl")
    for stage in ("hrl", *CORPORA["mini"]["hrl"]):
        for out in STAGES["mini"][stage].outs:
            files = [path.relative_to(done.path) for path in (done.path / out).rglob("*") if path.is_file()]
            assert files
            assert all((copy.path / file).read_bytes() == (done.path / file).read_bytes() for file in files)
    assert (copy.path / "results/table1.csv").read_bytes() == (done.path / "results/mini/hrl/table1.csv").read_bytes()
    plan = copy.project.plan("hrl", config=("overrides={hrl: {beam: 3}}",))
    assert plan.jobs["predict"] > 10
    assert not plan.trainings
