"""Write a paper's table of an evaluation server: the cited numbers, and what to upload."""

from argparse import ArgumentParser, Namespace

from captionrl.commands import arguments

EXAMPLE = "captionrl leaderboard stackcap/table4 --scale mini --out table4.csv"
BESIDE = (".md", ".tex")  # what is written beside --out


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("leaderboard", type=arguments.names(2), metavar="PAPER/TABLE", help="such as stackcap/table4")
    arguments.paths(parser, out="the table (.csv); .md and .tex are written beside it")
    arguments.shared(parser, *arguments.PAPER)


def run(args: Namespace) -> None:
    from captionrl.tables.leaderboard import write

    paper, leaderboard = args.leaderboard
    write(arguments.load(args, paper), leaderboard, args.scale, args.out)
