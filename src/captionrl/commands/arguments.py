"""Types and options that several commands share; none of it is part of a command's code version."""

import json
import math
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captionrl.errors import UserError

if TYPE_CHECKING:
    from captionrl.config import Paper


def positive(text: str) -> int:
    """The type of a positive integer."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def rate(text: str) -> float:
    """The type of a positive number."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise ArgumentTypeError(f"{text!r} is not a positive number")
    return number


def proportion(text: str) -> float:
    """The type of a number from 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return number


def json_object(text: str) -> dict[str, Any]:
    """The type of a JSON object."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ArgumentTypeError(f"{text!r} is not JSON ({error.msg})") from None
    if not isinstance(value, dict):
        raise ArgumentTypeError(f"{text!r} is not a JSON object")
    return value


def names(number: int) -> Callable[[str], tuple[str, ...]]:
    """The type of `number` names with slashes between them."""

    def split(text: str) -> tuple[str, ...]:
        parts = tuple(text.split("/"))
        if len(parts) != number:
            raise ArgumentTypeError(f"{text!r} is not {number} names with / between them")
        return parts

    return split


def part(text: str) -> tuple[int, int]:
    """The type of K/N, part K of N."""
    numbers = [int(number) for number in text.split("/") if number.isdecimal()]
    if len(numbers) != 2 or not 1 <= numbers[0] <= numbers[1]:
        raise ArgumentTypeError(f"{text!r} is not K/N with K from 1 to N")
    return numbers[0], numbers[1]


def listed(text: str) -> tuple[str, ...]:
    """The type of names with commas between them."""
    return tuple(name.strip() for name in text.split(","))


def weights_file(text: str) -> Path | str:
    """The type of a file of weights, or RANDOM."""
    from captionrl.config.backbones import RANDOM

    return RANDOM if text == RANDOM else Path(text)


SHARED: dict[str, dict[str, Any]] = {
    "allowed-failures": {"type": int, "default": 0, "metavar": "N", "help": "missing or broken videos to leave out"},
    "beam": {"type": positive, "default": 5, "metavar": "N", "help": "beam width"},
    "device": {"choices": ("auto", "cpu", "cuda"), "default": "auto", "help": "auto: CUDA if there is a GPU"},
    "fps": {"type": rate, "default": 3.0, "help": "frames per second"},
    "json": {"action": "store_true", "help": "print JSON"},
    "length-normalised": {"action": "store_true", "help": "rank a beam's captions by their log-probability a token"},
    "overrides": {"type": json_object, "metavar": "JSON", "help": "laid over the paper's YAML"},
    "papers": {"type": Path, "help": "the directory of the papers' YAML; else papers or, lacking that, the package's"},
    "precision": {"choices": ("float32", "bfloat16"), "default": "float32", "help": "of the arithmetic"},
    "scale": {
        "choices": ("mini", "laptop", "paper", "own"),
        "required": True,
        "help": "mini data; real data, small models; the papers' sizes; your own",
    },
    "split": {"choices": ("train", "val", "test"), "default": "test", "help": "the items to use"},
    "state": {"type": Path, "default": Path("work/state"), "help": "where unfinished work is kept"},
    "workers": {"type": positive, "default": 1, "metavar": "N", "help": "parallel threads or processes"},
}
PAPER = ("papers", "scale", "overrides")  # the options of `load`
EXTRACTION = ("fps", "allowed-failures", "workers", "state")  # those of commands/extraction.py


def shared(parser: ArgumentParser, *options: str) -> None:
    for option in options:
        parser.add_argument(f"--{option}", **SHARED[option])


def paths(parser: ArgumentParser, nargs: str | None = None, **options: str) -> None:
    """Required options, each a path (with `nargs="+"` one or more), by their help."""
    for option, what in options.items():
        parser.add_argument(f"--{option}", type=Path, nargs=nargs, required=True, help=what)


def diagnosis(parser: ArgumentParser, run: str) -> None:
    """The options of a report about the checkpoints of one run, which is of the kind `run`."""
    parser.add_argument(
        "checkpoints", type=Path, nargs="+", metavar="CHECKPOINT", help=f"of one {run} run, a seed each"
    )
    paths(parser, captions="a prepared corpus", features="its feature store")
    shared(parser, "split", "json")


def print_report(args: Namespace, report: Mapping[str, Any], render: Callable[[Any], str]) -> None:
    """Print a report as text or, with --json, as JSON."""
    print(json.dumps(report, indent=1) if args.json else render(report))


def load(args: Namespace, paper: str) -> "Paper":
    """The settings of a paper, by the options of PAPER."""
    from captionrl.config import find_paper, load_paper

    return load_paper(find_paper(args.papers, paper), args.scale, args.overrides)


def check_one_each(checkpoints: Sequence[Path], **options: Sequence[Path]) -> None:
    """Raise UserError unless each of `options` has as many files as there are checkpoints."""
    for name, given in options.items():
        if len(given) != len(checkpoints):
            raise UserError(f"--{name}: {len(given)} files for {len(checkpoints)} of --checkpoint; give one for each")
