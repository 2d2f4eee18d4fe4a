"""Check that all files of a data set are there, and list them in raw.json."""

from argparse import ArgumentParser, Namespace

from captionrl.commands import arguments

EXAMPLE = "captionrl check-data msrvtt-mini --raw data/msrvtt-mini"


def add_arguments(parser: ArgumentParser) -> None:
    from captionrl.datasets.read import NAMES

    parser.add_argument("name", help=NAMES)
    arguments.paths(parser, raw="the directory of the data set's files")
    arguments.shared(parser, "allowed-failures")


def run(args: Namespace) -> None:
    from captionrl.datasets.manifest import check_raw, require
    from captionrl.datasets.read import read_corpus
    from captionrl.files import write_json

    check_raw(args.raw)
    write_json(args.raw / "raw.json", require(read_corpus(args.name, args.raw), args.raw, args.allowed_failures))
