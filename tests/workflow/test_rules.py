"""What every rule must have: read from the rules' text, and asked of Snakemake's own tools."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import snakemake.cli
from snakemake.shell import shell

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "Snakefile", *sorted(ROOT.glob("workflow/rules/*.smk"))]
TEXT = "\n".join(file.read_text() for file in FILES)
BODIES = re.findall(r"^( *)rule(?: (\w+))?:\n((?:\1 .*\n|\n)+)", TEXT, re.MULTILINE)
# Rules made in a loop are called by what their `name:` begins with.
RULES = {
    name or re.search(r'^ +name:\n +f?"?(\w+?)_?\W', body, re.MULTILINE)[1]: re.sub(
        f"^{indent}", "", body, flags=re.MULTILINE
    )
    for indent, name, body in BODIES
}
COMPUTING = {name: body for name, body in RULES.items() if "captionrl " in body.partition("    shell:\n")[2]}


def test_snakemake_has_no_complaint(project):
    status, output = project.snakemake("--lint")
    assert status == 0, output
    assert "Congratulations, your workflow is in a good condition!" in output


def test_the_rules_are_formatted():
    command = [Path(sys.executable).parent / "snakefmt", "--check", "Snakefile", "workflow"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_all_rules_are_seen_here():
    assert len(re.findall(r"^ *rule( \w+)?:", TEXT, re.MULTILINE)) == len(RULES)
    assert {"render", "check_data", "captions", "segments", "backbone", "features", "annotations"} <= set(COMPUTING)
    assert {"train", "predict", "score", "table", "figures"} <= set(COMPUTING)


def test_the_graph_is_static():
    assert not re.search(r"^\s*checkpoint( \w+)?:|\bcheckpoints\.\w+\.get\b", TEXT, re.MULTILINE)


@pytest.mark.parametrize("rule", [name for name, body in RULES.items() if "    shell:\n" in body])
def test_a_rule_says_what_it_does_and_keeps_a_log(rule):
    body = RULES[rule]
    assert re.search(r'^    message:\n        "[^"]+"\n', body, re.MULTILINE)
    assert re.search(r'^    log:\n        f?"work/log/.+\.log",\n', body, re.MULTILINE)
    assert "{log}" in body.partition("    shell:\n")[2]


@pytest.mark.parametrize("rule", COMPUTING)
def test_a_rule_hands_its_process_over_to_the_command(rule):
    """Else a bash between Snakemake and the command would die of the TERM that the command survives."""
    shell = COMPUTING[rule].partition("    shell:\n")[2]
    assert re.match(r' +"exec (env OMP_NUM_THREADS=\{threads\} )?captionrl ', shell)


@pytest.mark.parametrize("rule", [name for name in COMPUTING if not name.startswith("download_")])
def test_a_rule_depends_on_the_code_of_its_own_command(rule):
    """But for downloads: the manifest's checksum says what a file must be, and no code makes it another."""
    (command,) = re.findall(r"captionrl ([\w-]+)", COMPUTING[rule].partition("    shell:\n")[2])
    assert re.search(
        rf'^    params:\n(?: {{8}}.+\n)*? {{8}}code=(lambda wildcards: )?code_version\(\s*"{command}"[,)]',
        COMPUTING[rule],
        re.MULTILINE,
    )


def test_what_gathers_tables_and_their_differences_is_made_again_when_either_changes():
    body = RULES["metrics"]
    assert re.search(r'^        comparisons=\[table.replace\("\.csv", "\.comparisons\.csv"\) for', body, re.MULTILINE)
    assert 'config=fingerprint(PAPERS[paper_name].model_dump(include={"title", "tables"}))' in body


def test_the_environment_may_lie_below_any_folder(project):
    """The prefix of every rule's shell line: names with quotes, spaces and signs that bash would read."""
    folder = '/home/o\'brien/a "b" $HOME;/bin'

    def show_prefix(_: object) -> None:
        sys.executable = f"{folder}/python"
        with contextlib.suppress(SystemExit):
            snakemake.cli.main(["--list-rules", "--quiet", "all"])
        print(f"PREFIX {shell._process_prefix}")

    _, output = project.fork(show_prefix, None)
    (prefix,) = re.findall(r"^PREFIX (.+)$", output, re.MULTILINE)
    for variables, first in (({}, folder), ({"APPTAINER_CONTAINER": "it's.sif"}, "/bin")):
        environment = {"PATH": "/bin:/usr/bin", **variables}
        command = ["bash", "-c", f'{prefix} echo "$PATH"']
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.startswith(f"{first}:")


COMMAND = """
import os, signal, sys, time
def stop(*_):
    time.sleep(0.5)  # whatever else dies of this signal is dead by now
    os.write(2, b"saved\\n")
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
os.write(2, b"ready\\n")  # not print(), which a signal may find at work and which then refuses
time.sleep(30)
"""


@pytest.mark.parametrize("whom", ["the command", "all its processes"])
@pytest.mark.parametrize("redirection", sorted(set(re.findall(r'(2> >\(.*\))"', TEXT))))
def test_a_terminated_command_can_still_write_its_log(tmp_path, redirection, whom):
    """SLURM and a terminal's Ctrl-C signal whole groups: a `tee` that dies would take the command's last words."""
    log = tmp_path / "log"
    line = f"exec {shlex.quote(sys.executable)} -c '{COMMAND}' {redirection.replace('{log}', str(log))}"
    with subprocess.Popen(["bash", "-c", line], start_new_session=True, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr.readline() == "ready\n"
        (os.kill if whom == "the command" else os.killpg)(process.pid, signal.SIGTERM)
        _, shown = process.communicate(timeout=20)
    assert process.returncode == 75
    assert shown == "saved\n"
    assert log.read_text() == "ready\nsaved\n"
