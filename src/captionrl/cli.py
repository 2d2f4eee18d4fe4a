"""`captionrl …`: the commands that every rule calls. A rule's shell line can be pasted into a terminal.

A command is a module of commands/: its docstring is its line of help, `add_arguments` its options, `run` what it does.
"""

import argparse
import errno
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from captionrl import __version__
from captionrl.errors import UserError
from captionrl.files import sweep_killed

GROUPS = {
    "Data": "render check-data download corpus segment attributes",
    "Features": "backbone features features-join features-import features-export frames annotations",
    "Training": "train watch",
    "Evaluation": "predict evaluate submit boundaries goals retrieval value recognition",
    "Tables and figures": "table leaderboard metrics figures compare publish",
    "Your own files and models": "init caption score check-model",
    "Housekeeping": "config state schema",
}
COMMANDS = tuple(" ".join(GROUPS.values()).split())
OPTION = re.compile(r"-(?!\d*\.?\d+$)[^ ]+")  # what argparse takes for an option: neither a number nor with a space
# In what is raised where memory runs out: by torch on a CPU and on a GPU, by the loader, for threads.
NO_MEMORY = re.compile("can't allocate memory|out of memory|failed to map segment|can't start new thread", re.I)
OUTPUTS = ("out", "manifest")  # the options that name what a command writes, if it has no OUTPUTS of its own
KEPT = {"captions": (), "raw": (".h5", ".hdf5")}  # directories that are read: what else may lie there, stores
TEXTS = (".md", ".tex")  # a user's own may be so called: not replaced beside an output that is not there itself
RECORDED = (".h5", ".hdf5", ".parquet", ".safetensors")  # files with a .json beside them, which is read with them


class Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows the defaults of options that have one, and examples as they are."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        none = action.default is None or action.default is False or action.default == []
        return action.help if none else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """Its errors are one line with the nearest name. The parser of a command is given the command's module."""

    def __init__(self, *, module: ModuleType | None = None, **options: Any):
        super().__init__(formatter_class=Formatter, allow_abbrev=False, **options)
        self.module = module

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        texts = list(sys.argv[1:] if args is None else args)
        if not self.module and "-".join(texts[:2]) in COMMANDS:  # `features import` is `features-import`
            texts[:2] = ["-".join(texts[:2])]
        if self.module and len(self._actions) == 1:  # --help alone: some arguments are slow, they name tables
            self.module.add_arguments(self)
        given: set[str] = set()
        for text in takewhile("--".__ne__, texts if self.module else texts[:1]):
            option = text.partition("=")[0]
            if OPTION.fullmatch(option) and option not in self._option_string_actions:
                self.error(f"unknown option {option}; {self._fix(option)}")
            if option in given:  # argparse would keep the last one
                several = self._option_string_actions[option].nargs in ("+", "*")
                self.error(
                    f"{option} is given twice; give it once{', with all its values behind it' if several else ''}"
                )
            given |= {option} & self._option_string_actions.keys()
        return super().parse_known_args(texts, namespace)

    def _fix(self, option: str) -> str:
        if close := nearest(option, self._option_string_actions):
            return f"did you mean {close}?"
        files = any(action.type is Path and not action.option_strings for action in self._actions)
        return f"if it is a file, {'put -- before it' if files else f'write ./{option}'}"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            close = nearest(value, action.choices)
            fix = f"did you mean {close!r}?" if close else f"choose from {', '.join(action.choices)}"
            raise argparse.ArgumentError(action, f"invalid choice: {value!r}; {fix}")

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see `{self.prog} --help`)\n")


def nearest(word: str, known: Iterable[str]) -> str | None:
    return next(iter(get_close_matches(word, list(known), n=1, cutoff=0.8)), None)


def load_command(name: str) -> ModuleType:
    return import_module(f"captionrl.commands.{name.replace('-', '_')}")


def parser() -> Parser:
    lines = []
    for group, names in GROUPS.items():
        lines += [f"{group}:", *(f"  {name:15} {load_command(name).__doc__}" for name in names.split()), ""]
    top = Parser(
        prog="captionrl",
        usage="captionrl [-h] [--version] COMMAND ...",
        description="Train and evaluate captioning models with reinforcement learning.",
        epilog="\n".join([*lines, "`captionrl COMMAND --help` explains a command and gives an example."]),
    )
    top.add_argument("--version", action="version", version=__version__)
    hidden = argparse.SUPPRESS  # from the list of options: the groups list them
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", prog=top.prog, help=hidden)
    for name in COMMANDS:
        module = load_command(name)
        commands.add_parser(name, module=module, description=module.__doc__, epilog=f"example:\n  {module.EXAMPLE}")
    return top


def paths_of(args: argparse.Namespace, option: str) -> list[Path]:
    value = getattr(args, option, None)
    return [path for path in (value if isinstance(value, list) else [value]) if isinstance(path, Path)]


def check_outputs(
    args: argparse.Namespace, beside: Sequence[str] | None = None, outputs: Sequence[str] = OUTPUTS
) -> None:
    """Raises UserError where an option of `outputs` names no file, or what would be lost: what another option names to
    be read, what lies beside or below that, and what is no regular file.

    `beside`: the suffixes, or names, of what is written beside a file; None where the output is a directory.
    """
    for name, output in ((option, path) for option in outputs for path in paths_of(args, option)):
        if beside is not None and output.is_dir():
            raise UserError(f"--{name}: {output} is a directory; name a file")
        named = [output.with_name(name) for name in beside or () if name[0] != "."]
        targets = [output, *(output.with_suffix(suffix) for suffix in beside or () if suffix[0] == "."), *named]
        if len({*targets}) < len(targets):
            raise UserError(f"--{name}: {output}: a {output.suffix} is written beside it; give it another suffix")
        for neighbour in targets[1:]:
            theirs = neighbour.suffix in TEXTS or neighbour in named
            if theirs and neighbour.exists() and not output.exists():
                fix = "move it, give another name, or, if captionrl wrote it, delete it"
                raise UserError(f"--{name}: {neighbour}, which is written beside it, is there already; {fix}")
        for target in filter(os.path.exists, targets):
            if not (target.is_file() or target.is_dir()):
                raise UserError(f"--{name}: {target} is a device or a pipe, and would be replaced; name a file")
            for other in (option for option in vars(args) if option not in outputs):
                if any(loses(target, path, other) for path in paths_of(args, other)):
                    fix = "write to another place"
                    raise UserError(f"--{name}: {target} is read, too ({other}), and would be lost; {fix}")


def loses(target: Path, read: Path, option: str) -> bool:
    """Whether writing to an existing `target` would lose what is read from `read`, or from beside it or below it."""
    files = [read, read.with_suffix(".json")] if read.suffix in RECORDED else [read]
    if any(os.path.exists(file) and os.path.samefile(target, file) for file in files):
        return True
    if option not in KEPT or not read.is_dir():
        return False
    inside = [path for path in target.iterdir() if path.is_symlink()] if target.is_dir() else [target]
    return any(path.suffix not in KEPT[option] and is_below(path, read) for path in inside)


def is_below(path: Path, directory: Path) -> bool:
    return os.path.realpath(path).startswith(os.path.realpath(directory) + os.sep)


def sweep_outputs(args: argparse.Namespace, outputs: Sequence[str] = OUTPUTS) -> None:
    """Remove what the same command left beside its outputs where it was killed while it wrote them."""
    for target in (target for name in outputs for target in paths_of(args, name)):
        for directory in (target, target.parent):
            sweep_killed(directory)


def prepare_streams() -> None:
    """Streams that the caller closed go nowhere; what an encoding lacks, and half characters, are printed escaped."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for the process's life
        elif isinstance(stream, io.TextIOWrapper) and mode == "w":
            with suppress(OSError):  # where a pipe has taken the place of a file, which it began as
                stream.reconfigure(errors="backslashreplace")


def interrupt_again(ignored: "sys.UnraisableHookArgs") -> None:
    """A Ctrl-C that falls into a callback, of a weak reference or of C, is lost: Python ignores what those raise."""
    if ignored.exc_type is KeyboardInterrupt:
        again = threading.Timer(0.01, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
        with suppress(RuntimeError):  # Python is ending
            again.start()  # and is over after the callback
    else:
        sys.__unraisablehook__(ignored)


def main() -> None:
    # Before torch is imported: its large tensors lie on huge pages, which saves page faults (docs/benchmarks.md).
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    prepare_streams()
    sys.unraisablehook = interrupt_again
    program = "captionrl"
    try:
        args = parser().parse_args()
        program = f"captionrl {args.command}"
        command = load_command(args.command)
        outputs = getattr(command, "OUTPUTS", OUTPUTS)
        check_outputs(args, getattr(command, "BESIDE", None), outputs)
        command.run(args)
        sweep_outputs(args, outputs)
        sys.stdout.flush()
    except UserError as error:
        print(f"{program}: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:  # `| head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except (MemoryError, RuntimeError, ImportError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("captionrl"):
            missing, fix = error.name.partition(".")[0], "pip install 'captionrl[train]' brings what training needs"
            print(f"{program}: the package {missing} is not installed; {fix}", file=sys.stderr)
            sys.exit(1)
        if str(error).startswith("Symlink loop"):  # in Python's own words, which name the path
            print(f"{program}: {error}; name a file or folder", file=sys.stderr)
            sys.exit(1)
        if not isinstance(error, MemoryError) and not NO_MEMORY.search(str(error)):
            raise
        reason = (str(error) or "a MemoryError").splitlines()[0]
        fix = "close other programs, or ask for more (Snakemake: mem_mb), and run the same command again"
        print(f"{program}: not enough memory ({reason}); {fix}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:  # no space, no permission: the system's own words, and the file's name
        fix = "; make room and run the same command again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        where = f"{error.filename}: " if error.filename else ""
        print(f"{program}: {where}{error.strerror or error}{fix}", file=sys.stderr)
        sys.exit(1)
