"""Too little memory: Snakemake says so when it begins, and again where the kernel has killed a job, which cannot."""

import pytest
import snakemake.cli

from captionrl import memory

RULE = """
include: "Snakefile"


rule anything:
    message: "Anything"
    log: "work/log/anything.log",
    shell: "{job}"
"""
V1, V2 = "sys/fs/cgroup/memory/", "sys/fs/cgroup/"
FREE = {
    "proc/meminfo": "MemTotal: 99 kB\nMemAvailable:    8000000 kB\n",
    "proc/vmstat": "nr_free_pages 7\noom_kill 4\n",
}


@pytest.fixture
def system(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "ROOT", tmp_path)

    def write(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("available", "job", "said"),
    [
        (8_000_000, "true", []),
        (8_000_000, "false", []),
        (
            8_000_000,
            "echo oom_kill 5 > {vmstat}; kill -9 $$",
            ["Meanwhile the kernel of this machine killed 1 process"],
        ),
        (
            300_000,
            "true",
            ["There are 0.3 GB of memory for this; the mini scale takes up to 1.5 GB, two jobs at a"],
        ),
    ],
)
def test_what_snakemake_says_of_memory(new_project, system, available, job, said):
    project = new_project()
    vmstat = system({**FREE, "proc/meminfo": f"MemAvailable: {available} kB\n"}) / "proc/vmstat"
    (project.path / "a.smk").write_text(RULE.format(job=job.format(vmstat=vmstat)))
    status, output = project.fork(snakemake.cli.main, ["--snakefile", "a.smk", "--cores", "1", "--", "anything"])
    assert status == (job != "true"), output
    lines = [line for line in output.splitlines() if " memory" in line and "echo" not in line]
    assert [line[: len(start)] for line, start in zip(lines, said, strict=True)] == said
    assert all(line.endswith("run one job at a time (--cores 1); then run the same command again.") for line in lines)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8e6 * 1024),
        ({"proc/self/cgroup": "0::/a/b\n", V2 + "a/b/memory.max": "max\n"}, 8e6 * 1024),
        ({"proc/self/cgroup": "0::/a/b\n", V2 + "a/b/memory.max": "300\n"}, 300),
        ({"proc/self/cgroup": "0::/a/b\n", V2 + "a/memory.max": "200\n", V2 + "a/b/memory.max": "9999\n"}, 200),
        ({"proc/self/cgroup": "0::/\n", V2 + "memory.max": "100\n"}, 100),
        (
            {"proc/self/cgroup": "3:cpu:/x\n2:blkio,memory:/a\n", V1 + "a/memory.limit_in_bytes": "50\n"},
            50,
        ),
        ({"proc/self/cgroup": "2:cpu:/a\n", V1 + "a/memory.limit_in_bytes": "50\n"}, 8e6 * 1024),
    ],
)  # fmt: skip
def test_memory_is_what_the_machine_has_and_control_groups_allow(system, files, expected):
    system({**FREE, **files})
    assert memory.available() == expected


def test_a_system_that_does_not_say_has_enough_and_kills_nothing(system):
    system({})
    assert memory.available() == float("inf")
    assert memory.oom_kills() == 0
    system({"proc/vmstat": "nr_free_pages 7\n"})
    assert memory.oom_kills() == 0
