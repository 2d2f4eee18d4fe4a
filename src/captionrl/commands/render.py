"""Render a mini data set in the file formats of a real one."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from captionrl.commands import arguments

EXAMPLE = "captionrl render msrvtt-mini --raw data/msrvtt-mini --workers 2"


def add_arguments(parser: ArgumentParser) -> None:
    from captionrl.datasets.mini.write import NAMES

    parser.add_argument("name", help=", ".join(NAMES))
    arguments.paths(parser, raw="the directory to write")
    arguments.shared(parser, "workers")


def run(args: Namespace) -> None:
    from captionrl.datasets.manifest import check_raw
    from captionrl.datasets.mini.write import write_world
    from captionrl.files import sweep_killed, write_json
    from captionrl.provenance import code_version

    check_raw(args.raw)
    files = write_world(args.name, args.raw, version=code_version("render"), workers=args.workers)
    write_json(args.raw / "raw.json", files)
    for directory in (args.raw, *filter(Path.is_dir, args.raw.rglob("*"))):
        sweep_killed(directory)
