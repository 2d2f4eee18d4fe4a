"""A job that the kernel ended for want of memory: it says nothing itself, so Snakemake's last line does."""

import pytest
import snakemake.cli

from captionrl import memory

FAILS = """
include: "Snakefile"


rule fails:
    message: "Fails"
    log: "work/log/fails.log",
    shell: "{job}"
"""


@pytest.mark.parametrize(("killed", "job"), [(True, "echo oom_kill 5 > vmstat; kill -9 $$"), (False, "false")])
def test_a_job_that_the_kernel_ended_for_want_of_memory_is_named_as_such(new_project, killed, job):
    project = new_project()
    (project.path / "fails.smk").write_text(FAILS.format(job=job))
    (project.path / "vmstat").write_text("nr_free_pages 7\noom_kill 4\n")

    def run(arguments: list[str]) -> None:
        memory.VMSTAT = project.path / "vmstat"
        snakemake.cli.main(arguments)

    status, output = project.fork(run, ["--snakefile", "fails.smk", "--cores", "1", "--", "fails"])
    assert status == 1
    line = "Meanwhile the kernel ended 1 process(es) for want of memory. Close other programs"
    assert (line in output) == killed, output


@pytest.mark.parametrize("text", [None, "nr_free_pages 7\n"])
def test_a_system_that_does_not_count_them_has_none(tmp_path, monkeypatch, text):
    if text:
        (tmp_path / "vmstat").write_text(text)
    monkeypatch.setattr(memory, "VMSTAT", tmp_path / "vmstat")
    assert memory.oom_kills() == 0
