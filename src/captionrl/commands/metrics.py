"""Collect a paper's numbers and learning curves for DVC, and its claims beside ours."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from captionrl.commands import arguments

EXAMPLE = (
    "captionrl metrics hrl --scale mini --tables results/mini/hrl/table?.csv"
    " --curves checkpoints/*-mini/hrl/*/*/seed*.csv --out metrics.json"
)
BESIDE = ("claims.md", "claims.csv")  # what is written beside --out, and may be a user's


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("paper", metavar="PAPER", help="such as hrl")
    arguments.paths(
        parser, out="the numbers (.json); curves/CORPUS-RUN.csv, claims.md and claims.csv are written beside it"
    )
    arguments.paths(parser, "+", tables="the paper's tables (.csv)")
    parser.add_argument("--curves", type=Path, nargs="*", default=[], help="…/CORPUS/PAPER/RUN/PHASE/seedK.csv")
    arguments.shared(parser, *arguments.PAPER)


def run(args: Namespace) -> None:
    from captionrl.tables.claims import has_claims, write_claims
    from captionrl.tables.metrics import write_metrics

    paper = arguments.load(args, args.paper)
    if has_claims(paper):
        write_claims(paper, args.tables, args.out.with_name("claims.md"))
    write_metrics(paper, args.tables, args.curves, args.out)
