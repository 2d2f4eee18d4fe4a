"""`--profile profiles/workstation` never starts two jobs of one GPU at a time; nothing is computed."""

import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PROFILE = ROOT / "profiles/workstation"
JOBS = """
rule all:
    input: "a", "b", "c"

rule alone:  # fails where another of its kind is at work
    output: "{name,[abc]}"
    resources: gpu=1
    shell: "mkdir busy && sleep 0.5 && rmdir busy && touch {output}"
"""


def test_jobs_of_the_gpu_take_turns(tmp_path):
    (tmp_path / "Snakefile").write_text(JOBS)
    settings = yaml.safe_load((PROFILE / "config.yaml").read_text())
    assert settings.pop("retries") == 2  # would hide a job that failed
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile/config.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "snakemake", "--profile", "profile", "--cores", "3"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all((tmp_path / name).exists() for name in "abc")


def test_it_plans_the_papers_scale_as_it_is(project):
    plan = project.plan("--profile", str(PROFILE), "data/msrvtt/raw.json")
    assert plan.jobs["check_data"] == 1
