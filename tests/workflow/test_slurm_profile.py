"""What `--profile slurm` plans, and what its jobs ask a cluster for; no cluster is needed, nothing is computed."""

import importlib.util
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml
from project import Project
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings

ROOT = Path(__file__).parents[2]
PROFILE = yaml.safe_load((ROOT / "slurm/config.yaml").read_text())
DEFAULT = yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text())
GPU_RULES = {"backbone", "features", "test_features", "train", "predict", "submission"}
ON_REQUEST = "results/{scale}/stackcap/captions_test2014_stackcap_results.json"
ON_THE_LOGIN_NODE = {"check_data", "download_corpus", "download_weights", "download_corenlp", "table"}

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("snakemake_executor_plugin_slurm"), reason="no snakemake-executor-plugin-slurm"
)


@dataclass(frozen=True)
class Request:
    """What the jobs of a rule ask for."""

    local: bool
    threads: int
    mem_mb: int | None
    runtime: int | None
    gpu: int | None


def print_requests(scale: str) -> None:
    """Every job of a scale, as it is planned where `--jobs` says that there is a cluster."""
    config = ConfigSettings(config={"scale": scale, "seeds": [1]})
    targets = {"all", *([] if scale == "laptop" else [ON_REQUEST.format(scale=scale)])}
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        workflow = api.workflow(ResourceSettings(cores=1, nodes=1), config_settings=config)
        workflow.dag(DAGSettings(targets=targets)).execute_workflow(executor="dryrun")
        workflow = workflow._workflow
        for job in workflow.dag.jobs:
            asked = [job.threads, *(job.resources.get(name) for name in ("mem_mb", "runtime", "gpu"))]
            print("job", json.dumps([job.rule.name, job.rule.name in workflow._localrules, asked]))


@cache
def requests_at(scale: str, project: Project) -> dict[str, Request]:
    """{rule: what each of its jobs asks for}, what is made on request only included."""
    status, output = project.fork(print_requests, scale)
    assert status == 0, output
    found: dict[str, Request] = {}
    for line in re.findall(r"^job (.+)$", output, re.MULTILINE):
        rule, local, asked = json.loads(line)
        assert found.setdefault(rule, Request(local, *asked)) == Request(local, *asked)
    return found


@pytest.fixture(scope="module", params=["mini", "laptop", "paper"])
def requests(request, project) -> dict[str, Request]:
    return requests_at(request.param, project)


@pytest.fixture(scope="module")
def plan(project):
    """All results of one seed, at the scale that --profile slurm sets."""
    return project.plan("--profile", str(ROOT / "slurm"), "--printshellcmds", config=("seeds=[1]", "scale=paper"))


def test_the_profile_leaves_to_the_default_one_what_that_one_says():
    """For there the default profile would win."""
    assert not PROFILE.keys() & DEFAULT.keys()


def test_the_profile_means_the_paper_scale(project):
    plan = project.plan("--profile", str(ROOT / "slurm"), "results/table1.csv")
    assert {corpus for corpus, *_ in plan.trainings} == {"msrvtt"}
    assert {seed for *_, seed in plan.trainings} == {1, 2, 3}


def test_the_command_line_has_the_last_word_on_the_scale(project):
    plan = project.plan("--profile", str(ROOT / "slurm"), config=("scale=mini", "--", "results/table1.csv"))
    assert {corpus for corpus, *_ in plan.trainings} == {"msrvtt-mini"}


def test_a_plan_of_everything_is_small(plan):
    """How long it takes is measured by bench/workflow.py."""
    assert 50 < plan.jobs.total() <= 450


def test_gpu_jobs_and_they_alone_ask_for_a_gpu(requests):
    assert {rule for rule, asked in requests.items() if asked.gpu} == GPU_RULES & requests.keys()


def test_all_gpu_jobs_are_among_those_that_may_want_another_partition():
    named = re.findall(r"^#   (\w+): [&*]gpu", (ROOT / "slurm/config.yaml").read_text(), re.MULTILINE)
    assert set(named) == GPU_RULES


def test_what_needs_the_internet_or_next_to_nothing_stays_on_the_login_node(requests):
    local = {rule for rule, asked in requests.items() if asked.local}
    assert ON_THE_LOGIN_NODE & requests.keys() <= local
    assert not local & {*GPU_RULES, "render", "captions", "segments", "score", "figures_hrl"}


def test_every_other_job_says_how_much_memory_and_time_it_needs(requests):
    assert all(asked.local or (asked.mem_mb and asked.runtime) for asked in requests.values())


def test_a_laptop_scales_training_asks_for_what_real_captions_take(project):
    asked = requests_at("laptop", project)
    assert asked["train"] == Request(False, 1, 4000, 4 * 60, 1)
    assert asked["features"] == Request(False, 2, 2000, 2 * 60, 1)


def test_the_login_nodes_cores_do_not_bind_the_jobs_threads(plan):
    """profiles/default says `cores: all`, by which Snakemake would cut them down."""
    for command in ("train", "features"):
        assert set(re.findall(rf"OMP_NUM_THREADS=(\d+) captionrl {command} ", plan.text)) == {"8"}


def test_the_documentation_lists_what_every_rule_asks_for_at_the_paper_scale(project):
    row = re.compile(r"^\| `(\w+)` \| (\d+) \| (\d+) GB \| ([\d.]+) h \| (yes)? *\|", re.MULTILINE)
    documented = {
        rule: Request(False, int(cores), int(memory) * 1000, round(float(hours) * 60), 1 if gpu else None)
        for rule, cores, memory, hours, gpu in row.findall((ROOT / "docs/slurm.md").read_text())
    }
    asked = requests_at("paper", project)
    of_papers = re.compile(r"^(figures)_\w+$")  # a rule a paper, all alike
    assert documented == {of_papers.sub(r"\1", rule): asks for rule, asks in asked.items() if not asks.local}
