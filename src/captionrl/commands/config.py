"""Print the settings of a paper, or of one key, as they are at a scale."""

from argparse import ArgumentParser, Namespace

from captionrl.commands import arguments

EXAMPLE = "captionrl config hrl --scale mini"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("paper", metavar="PAPER", help="such as hrl")
    parser.add_argument("key", metavar="KEY", nargs="?", help="print this key alone, such as phases")
    arguments.shared(parser, *arguments.PAPER)


def run(args: Namespace) -> None:
    from captionrl.config import find_paper
    from captionrl.config.settings import render_settings

    print(render_settings(find_paper(args.papers, args.paper), args.scale, args.overrides, args.key))
