"""Types and options that several commands share; none of it is part of a command's code version."""

import json
import math
import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captionrl.errors import UserError
from captionrl.files import UNREADABLE, unique_keys

if TYPE_CHECKING:
    from captionrl.config import Paper


def whole(least: int, most: int) -> Callable[[str], int]:
    """The type of a whole number from `least` to `most`, neither negative."""

    def number(text: str) -> int:
        if not text.isdecimal() or len(text) > 20 or not least <= int(text) <= most:
            raise ArgumentTypeError(f"{text[:40]!r} is not a whole number from {least:,} to {most:,}")
        return int(text)

    return number


def real(least: float, most: float) -> Callable[[str], float]:
    """The type of a number from `least` to `most`."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise ArgumentTypeError(f"{text[:40]!r} is not a number from {least:,} to {most:,}")
        return value

    return number


positive = whole(1, 10**9)
captions = whole(1, 1000)  # of a beam, as in papers' YAML, or of a set
seconds = whole(1, 365 * 24 * 3600)
seed = whole(0, 2**63 - 1)  # torch takes no larger one
cells = whole(1, 1000)  # a side of a grid
rate = real(0, 1000)  # frames a second
amount = real(0, 10**9)  # days, GiB


def json_object(text: str) -> dict[str, Any]:
    """The type of a JSON object."""
    try:
        value = json.loads(text, object_pairs_hook=unique_keys(repr(text)))
    except json.JSONDecodeError as error:
        raise ArgumentTypeError(f"{text!r} is not JSON ({error.msg})") from None
    except (RecursionError, ValueError):
        raise ArgumentTypeError(f"{text[:40]!r}... is {UNREADABLE}") from None
    except UserError as error:  # a key that stands twice
        raise ArgumentTypeError(str(error)) from None
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
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise ArgumentTypeError(f"{text!r} is not K/N with K from 1 to N")
    return int(found[1]), int(found[2])


def listed(text: str) -> tuple[str, ...]:
    """The type of names with commas between them."""
    return tuple(name.strip() for name in text.split(","))


def weights_file(text: str) -> Path | str:
    """The type of a file of weights, or RANDOM."""
    from captionrl.config.backbones import RANDOM

    return RANDOM if text == RANDOM else Path(text)


SHARED: dict[str, dict[str, Any]] = {
    "allowed-failures": {
        "type": whole(0, 10**9),
        "default": 0,
        "metavar": "N",
        "help": "missing or broken videos to leave out",
    },
    "beam": {"type": captions, "default": 5, "metavar": "N", "help": "beam width"},
    "device": {"choices": ("auto", "cpu", "cuda"), "default": "auto", "help": "auto: CUDA if there is a GPU"},
    "fps": {"type": real(0.001, 1000), "default": 3.0, "help": "frames per second"},
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
    "workers": {"type": whole(1, 1000), "default": 1, "metavar": "N", "help": "parallel threads or processes"},
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
