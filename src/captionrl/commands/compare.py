"""Compare the numbers of a table with the intervals of a published one."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

EXAMPLE = "captionrl compare results/mini/hrl/table1.csv docs/results/mini/hrl/table1.csv"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("table", type=Path, metavar="TABLE", help="a table that this machine made (.csv)")
    parser.add_argument("published", type=Path, metavar="PUBLISHED", help="the table to compare it with (.csv)")


def run(args: Namespace) -> None:
    from captionrl.tables.compare import compare

    print(compare(args.table, args.published))
