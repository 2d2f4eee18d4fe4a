"""The workflow on a real SLURM of one node: a whole table, and trainings that something happens to."""

import csv
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLUSTER = Path(__file__).with_name("cluster")
CANNOT_INSTALL = 3

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(os.geteuid() != 0, reason="starting a SLURM needs root"),
    pytest.mark.skipif(
        not (shutil.which("slurmctld") or shutil.which("apt-get")), reason="no SLURM, and no apt-get to install it"
    ),
    pytest.mark.skipif(
        not importlib.util.find_spec("snakemake_executor_plugin_slurm"), reason="no snakemake-executor-plugin-slurm"
    ),
]

GPU_RULES = {"features", "train", "predict"}
CPU_RULES = {"render", "captions", "segments", "score"}

# What a user of a cluster with a partition for GPUs uncomments in the profile.
SITE = re.compile(r"^( *)# (?=slurm_partition:|set-resources:|  \w+: [&*]gpu)", re.MULTILINE)

# The plugin asks every two seconds at first, instead of every forty.
QUICK = ["--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2"]
OFTEN = ["--max-status-checks-per-second", "1"]

# Two of Table 1's rows, and between them every rule.
ROWS = [{"method": "XE-baseline", "run": "xe-baseline"}, {"method": "HRL warm start", "run": "hrl-16-warm"}]
SMALL_TABLE = {
    "overrides": {"hrl": {"tables": {"table1": {"rows": ROWS, "control": "xe-baseline", "comparisons": []}}}}
}

TRAINING = "checkpoints/msrvtt-mini/hrl/xe-baseline/xe/seed1.safetensors"
OVERRIDES = json.dumps({"hrl": {"phases": {"xe": {"epochs": 5}}}}, separators=(",", ":"))  # more than half a minute
MINI = ["--config", "scale=mini"]
LONG = [*MINI, "seeds=[1]", f"overrides={OVERRIDES}"]


@dataclass(frozen=True)
class Cluster:
    """tests/slurm/cluster, started."""

    path: Path
    environment: dict[str, str]

    def do(self, what: str) -> None:
        subprocess.run([CLUSTER, what, self.path], check=True)

    def ask(self, *command: str) -> list[str]:
        """The lines that a SLURM command prints."""
        result = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True, timeout=60)
        return result.stdout.splitlines()

    def jobs(self, *options: str) -> list[dict[str, str]]:
        """What accounting says of every job; with "--duplicates" of every start of it."""
        fields = ["JobIDRaw", "State", "Partition", "AllocTRES", "Comment", "JobName"]
        since = ["--starttime", "now-1days"]  # unasked, sacct leaves out what ended before midnight
        lines = self.ask("sacct", "-X", *since, "--parsable2", "--noheader", "--format", ",".join(fields), *options)
        return [dict(zip(fields, line.split("|"), strict=True)) for line in lines]

    def running(self, rule: str) -> str | None:
        """The number of the running job of a rule."""
        lines = self.ask("squeue", "--noheader", "--states", "RUNNING", "--format", "%i %k")
        return next((line.split()[0] for line in lines if line.split()[1].startswith(f"rule_{rule}_")), None)


@dataclass(frozen=True)
class Project:
    """A copy of the workflow."""

    path: Path
    environment: dict[str, str]

    def command(self, *arguments: str) -> list[str]:
        return [str(Path(sys.executable).parent / "snakemake"), *arguments]

    @contextmanager
    def submitted(self, log: Path, *arguments: str) -> Iterator[Callable[[], None]]:
        """Snakemake on the cluster, in the background; what is yielded waits for it to succeed."""
        with log.open("w") as output:
            command = self.command("--profile", "slurm", *QUICK, *arguments)
            process = subprocess.Popen(command, cwd=self.path, env=self.environment, stdout=output, stderr=output)

            def success() -> None:
                assert process.wait(timeout=1100) == 0, log.read_text()[-5000:]

            try:
                yield success
            finally:
                process.send_signal(signal.SIGINT)  # after a failed test: it cancels its jobs and unlocks the folder
                process.wait(timeout=120)
                wait_until(lambda: not subprocess.check_output(["squeue", "--noheader"], env=self.environment))

    def forget_training(self) -> None:
        shutil.rmtree(self.path / TRAINING.split("/seed")[0], ignore_errors=True)
        shutil.rmtree(self.path / "work/state", ignore_errors=True)
        self.log.unlink(missing_ok=True)

    @property
    def log(self) -> Path:
        """What the trainer prints, in the attempt that began last."""
        return self.path / "work/log/train/msrvtt-mini/hrl/xe-baseline-xe-seed1.log"

    @property
    def percent(self) -> list[int]:
        """How far that attempt says to be, every ten seconds from its start on."""
        text = self.log.read_text() if self.log.exists() else ""
        return [int(found) for found in re.findall(r" (\d+)%\|", text)]

    @property
    def weights(self) -> str:
        return hashlib.sha256((self.path / TRAINING).read_bytes()).hexdigest()


def wait_until(what: Callable[[], object]) -> None:
    """Ten minutes at most: beside other jobs a training's first ten seconds may take two."""
    end = time.monotonic() + 600
    while not what():
        assert time.monotonic() < end, "nothing came of it"
        time.sleep(0.5)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    path = tmp_path_factory.mktemp("slurm")
    result = subprocess.run([CLUSTER, "start", path], stderr=subprocess.PIPE, text=True, timeout=600)
    if result.returncode == CANNOT_INSTALL:
        pytest.skip(result.stderr.splitlines()[-1])
    assert result.returncode == 0, result.stderr
    try:
        settings = subprocess.check_output([CLUSTER, "env", path], text=True)
        variables = subprocess.check_output(["bash", "-c", f"{settings} env -0"], text=True).split("\0")
        environment = dict(line.split("=", 1) for line in variables if line and not line.startswith("SNAKEMAKE_"))
        yield Cluster(path, environment)
    finally:
        subprocess.run([CLUSTER, "stop", path], check=True)


@pytest.fixture(scope="session")
def project(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Where a small Table 1 has been made on the cluster from nothing but clips, with next to no training."""
    path = tmp_path_factory.mktemp("project")
    for name in ("Snakefile", "params.yaml", "papers", "profiles", "workflow", "slurm"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, path / name)
    if (clips := ROOT / "data/msrvtt-mini").exists():  # rendered before: a minute less
        shutil.copytree(clips, path / "data/msrvtt-mini", ignore=shutil.ignore_patterns("raw.json"))
    profile = path / "slurm/config.yaml"
    profile.write_text(SITE.sub(r"\1", profile.read_text()))
    project = Project(path, cluster.environment)
    (path / "small.json").write_text(json.dumps(SMALL_TABLE))
    files = ["--configfile", str(ROOT / ".ci/smoke.yaml"), "small.json"]
    threads = ["--set-threads", "features=1", "render=1"]  # two are slow beside anything else on two cores
    with project.submitted(path / "table1.log", *OFTEN, *threads, *files, *MINI, "--", "results/table1.csv") as success:
        success()
    return project


@pytest.fixture(scope="session")
def undisturbed(project: Project) -> str:
    """The weights of a training that nothing happens to, off the cluster."""
    project.forget_training()
    subprocess.run(project.command("--cores", "1", *LONG, "--", TRAINING), cwd=project.path, check=True)
    return project.weights


@pytest.fixture
def train(project: Project, undisturbed: str) -> Callable:
    """Train the same on the cluster; what is yielded, halfway, waits for the end."""

    @contextmanager
    def train(*options: str) -> Iterator[Callable[[], None]]:
        project.forget_training()
        with project.submitted(project.path / "training.log", *options, *LONG, "--", TRAINING) as success:
            wait_until(lambda: project.percent and project.percent[-1] > 0)
            yield success

    return train


def test_a_table_is_made_and_gpu_rules_alone_hold_a_gpu(cluster, project):
    with (project.path / "results/table1.csv").open() as table:
        assert [row["method"] for row in csv.DictReader(table)] == [row["method"] for row in ROWS]
    jobs = cluster.jobs()
    (workflow,) = {job["JobName"] for job in jobs if job["Comment"].startswith("rule_captions")}
    rules = {"gpu": set(), "no gpu": set()}
    devices = dict(line.split() for line in (cluster.path / "log/tasks").read_text().splitlines())
    for job in (job for job in jobs if job["JobName"] == workflow):
        assert job["State"] == "COMPLETED"
        gpu = "gres/gpu=1" in job["AllocTRES"].split(",")
        rule = re.match(r"rule_([a-z]+?)(_wildcards_|$)", job["Comment"])[1]
        rules["gpu" if gpu else "no gpu"].add(rule)
        assert job["Partition"] == ("gpu" if gpu else "cpu")
        assert devices[job["JobIDRaw"] + ".0"] == ("0" if gpu else "none")  # CUDA_VISIBLE_DEVICES
    assert rules == {"gpu": GPU_RULES, "no gpu": CPU_RULES}


def test_features_extracted_by_four_jobs_one_of_them_killed_are_those_of_one_job(cluster, project):
    store = project.path / "work/msrvtt-mini/features/mini.h5"
    files = (store, store.with_suffix(".json"))
    of_one_job, jobs_before = [path.read_bytes() for path in files], len(cluster.jobs())
    for path in files:
        path.unlink()
    shutil.rmtree(project.path / "work/state/features")
    logs = project.path / "work/log/features/parts"
    config = ["--set-threads", "features=1", *MINI, "extraction_jobs=4", "--", str(store.relative_to(project.path))]
    with project.submitted(project.path / "parts.log", *OFTEN, *config) as success:
        wait_until(lambda: any(log.read_text() for log in logs.rglob("*.log")))  # the one that has the GPU
        cluster.ask("scancel", "--signal=KILL", f"{cluster.running('features')}.0")
        success()
    assert [path.read_bytes() for path in files] == of_one_job
    ended = [job["State"] for job in cluster.jobs()[jobs_before:] if job["Comment"].startswith("rule_features_")]
    assert sorted(ended) == [*["COMPLETED"] * 4, "FAILED"]


def test_a_training_preempted_stopped_and_killed_goes_on_to_the_same_weights(cluster, project, train, undisturbed):
    """Preemption and TERM let it save, KILL does not: the fourth attempt goes on where the third began.

    Jobs are asked after through squeue here, as on a cluster without slurmdbd.
    """

    def interrupt(*command: str) -> None:
        project.log.unlink()  # another attempt begins another
        cluster.ask(*command)
        wait_until(lambda: project.percent[:1] > [0])

    with train(*OFTEN, "--slurm-status-command", "squeue") as success:
        first = cluster.running("train")
        interrupt("sbatch", "--partition=urgent", "--gpus=1", "--mem=100", "--output=/dev/null", "--wrap=sleep 2")
        interrupt("scancel", "--signal=TERM", f"{first}.0")
        second = cluster.running("train")
        cluster.ask("scancel", "--signal=KILL", f"{second}.0")
        success()
    assert [start["State"] for start in cluster.jobs("--duplicates", "--jobs", first)] == ["PREEMPTED", "FAILED"]
    assert [job["State"] for job in cluster.jobs("--jobs", second)] == ["FAILED"]
    assert project.percent[0] > 0
    assert project.weights == undisturbed


def test_a_training_longer_than_its_limit_goes_on_to_the_same_weights(cluster, project, train, undisturbed):
    """The profile has it told two minutes before its limit, which is made so short here once the training is under way.

    slurmctld looks every 30 seconds who is to be told. Until then the training is stopped, or a fast machine would end
    it; TERM comes with a CONT.
    """
    with train(*OFTEN) as success:
        job = cluster.running("train")
        cluster.ask("scancel", "--signal=STOP", f"{job}.0")
        (minutes, _) = cluster.ask("squeue", "--noheader", "--jobs", job, "--format", "%M")[0].split(":")
        cluster.ask("scontrol", "update", f"JobId={job}", f"TimeLimit={int(minutes) + 2}")
        success()
    assert [start["State"] for start in cluster.jobs("--duplicates", "--jobs", job)] == ["FAILED"]  # not TIMEOUT
    assert project.percent[0] > 0
    assert project.weights == undisturbed


def test_neither_a_new_slurmctld_nor_a_minute_without_accounting_stops_anything(cluster, project, train, undisturbed):
    """With the profile's own rate and number of questions to `sacct`."""
    before = len(cluster.jobs())
    with train() as success:
        cluster.do("restart")
        cluster.do("pause")
        time.sleep(60)
        with pytest.raises(subprocess.CalledProcessError):
            cluster.jobs()
        cluster.do("resume")
        success()
    assert [job["State"] for job in cluster.jobs()[before:]] == ["COMPLETED"]
    assert project.weights == undisturbed


def test_stop_ends_all_that_was_started_and_can_be_said_twice(tmp_path):
    """Of another cluster, beside the first, while a job runs."""

    def processes() -> list[Path]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended meanwhile
                if f"SLURM_CONF={tmp_path}/slurm.conf".encode() in (process / "environ").read_bytes().split(b"\0"):
                    found.append(process)
        return found

    subprocess.run([CLUSTER, "start", tmp_path], check=True)
    job = f'eval "$({CLUSTER} env {tmp_path})"; sbatch --output=/dev/null --wrap="touch {tmp_path}/ran; sleep 600"'
    subprocess.run(["bash", "-c", job], check=True)
    wait_until((tmp_path / "ran").exists)
    assert len(processes()) > 5
    for _ in range(2):
        subprocess.run([CLUSTER, "stop", tmp_path], check=True)
        assert not processes()
