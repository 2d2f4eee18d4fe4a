"""Snakemake in copies of the workflow, without any data; nothing in them computes."""

import csv
import logging
import os
import re
import shlex
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import snakemake.cli
from programs import fork
from snakemake.executors import touch

from captionrl import cli, provenance
from captionrl.provenance import code_version, sources

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
touch.Executor.SLEEPING_TIME = 0  # by default 0.1 s a job
COMMANDS = tuple(cli.parser()._subparsers._group_actions[0].choices)


@dataclass(frozen=True)
class Plan:
    """What a dry run would do."""

    text: str

    @property
    def jobs(self) -> Counter[str]:
        """How many jobs of each rule."""
        table = self.text.split("Job stats:\n", 1)[1].split("total", 1)[0] if "Job stats:" in self.text else ""
        return Counter({rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)})

    @property
    def trainings(self) -> set[tuple[str, str, str, int]]:
        """(corpus, run, phase, seed) of the first paper's."""
        found = re.findall(r"^Job \d+: Training hrl/(\S+)/(\S+) on (\S+), seed (\d+)$", self.text, re.MULTILINE)
        return {(corpus, run, phase, int(seed)) for run, phase, corpus, seed in found}

    @property
    def commands(self) -> dict[str, list[list[str]]]:
        """{command: its arguments, of every job}, with --printshellcmds."""
        found: dict[str, list[list[str]]] = {}
        for line in re.findall(r"exec (?:env \S+ )?captionrl (.+?) 2> ", self.text):
            command, *arguments = shlex.split(line)
            found.setdefault(command, []).append(arguments)
        return found


@dataclass(frozen=True)
class Project:
    """A copy of the workflow."""

    path: Path

    def snakemake(self, *arguments: str, config: tuple[str, ...] = ()) -> tuple[int, str]:
        """Exit status and output of Snakemake."""
        return self.fork(snakemake.cli.main, [*arguments, *(["--config", *config] if config else [])])

    def fork(self, function: Callable[[Any], None], argument: Any) -> tuple[int, str]:
        """Exit status and output of a call, here, in a fork of this process, which has everything imported.

        Where the project has a package of its own, code versions are of that.
        """
        for name in COMMANDS:
            code_version(name)  # parsed once, for all forks
        with tempfile.TemporaryFile("w+") as output:

            def program() -> None:
                self._become(output.fileno())
                function(argument)

            _, status = os.waitpid(fork(program), 0)
            output.seek(0)
            return os.waitstatus_to_exitcode(status), output.read()

    def _become(self, output: int) -> None:
        """A process like one that was started here, but for what is imported."""
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        logging.root.handlers.clear()  # pytest's
        for name in [name for name in os.environ if name.startswith("SNAKEMAKE_")]:
            del os.environ[name]
        os.chdir(self.path)
        sys.argv = [str(BIN / "snakemake")]  # what a job would start
        if (package := self.path / "src/captionrl").exists():
            provenance.PACKAGE = package
            for function in (code_version, sources, provenance._read, provenance._file):  # all that look at files
                function.cache_clear()

    def plan(self, *arguments: str, config: tuple[str, ...] = ()) -> Plan:
        status, output = self.snakemake("--dry-run", *arguments, config=config)
        assert status == 0, output
        assert "Exception" not in output, output  # not even of a rule that Snakemake tries and passes over
        return Plan(output)

    def pretend_all_is_done(self, target: str, config: tuple[str, ...]) -> None:
        """Files with a line of text for outputs, all taken for up to date."""
        _, output = self.snakemake("--summary", target, config=config)
        table = output[output.index("output_file\t") :].splitlines()
        for row in csv.DictReader(table, delimiter="\t"):
            path = self.path / row["output_file"]
            if path.suffix == ".tensorboard":
                path.mkdir(parents=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("{}" if path.name in ("raw.json", "downloads.json") else str(path))
        status, output = self.snakemake("--touch", "--forceall", "--cores", "1", target, config=config)
        assert status == 0, output
