"""Copy tables and figures into docs, with one page that shows all of them."""

from argparse import ArgumentParser, Namespace

from captionrl.commands import arguments

EXAMPLE = "captionrl publish --results results/mini --out docs/results/mini"


def add_arguments(parser: ArgumentParser) -> None:
    arguments.paths(parser, results="such as results/mini", out="such as docs/results/mini")


def run(args: Namespace) -> None:
    from captionrl.tables.publish import publish

    for path in publish(args.results, args.out):
        print(path)
