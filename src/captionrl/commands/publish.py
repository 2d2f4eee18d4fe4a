"""Copy tables and figures into docs and README."""

from argparse import ArgumentParser, Namespace

from captionrl.commands import arguments

EXAMPLE = "captionrl publish --results results/mini --out docs/results/mini --readme README.md"


def add_arguments(parser: ArgumentParser) -> None:
    readme = "whose tables to replace"
    arguments.paths(parser, results="such as results/mini", out="such as docs/results/mini", readme=readme)


def run(args: Namespace) -> None:
    from captionrl.tables.publish import publish

    for path in publish(args.results, args.out, args.readme):
        print(path)
