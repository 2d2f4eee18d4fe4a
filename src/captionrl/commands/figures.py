"""Draw a paper's figures, and an HTML page of them."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from captionrl.commands import arguments

EXAMPLE = (
    "captionrl figures sle --scale mini --curves checkpoints/coco-mini/sle/*/*/seed*.csv"
    " --predictions work/coco-mini/predictions/sle/*/seed1.json --tables results/mini/sle/table*.csv --out figures"
)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("paper", metavar="PAPER", help="such as hrl")
    arguments.paths(parser, out="the directory of the figures and of figures.html")
    parser.add_argument("--checkpoints", type=Path, nargs="*", default=[], help="of the runs that caption examples")
    parser.add_argument("--curves", type=Path, nargs="*", default=[], help="…/CORPUS/PAPER/RUN/PHASE/seedK.csv")
    what = "…/CORPUS/predictions/PAPER/SYSTEM/seedK.json, of the systems whose captions are shown"
    parser.add_argument("--predictions", type=Path, nargs="*", default=[], help=what)
    parser.add_argument("--tables", type=Path, nargs="*", default=[], help="…/TABLE.csv, whose numbers are drawn")
    parser.add_argument("--work", type=Path, default=Path("work"), help="holds CORPUS/captions and CORPUS/features")
    parser.add_argument("--raw", type=Path, default=Path("data"), help="holds CORPUS/, the data set's files")
    arguments.shared(parser, *arguments.PAPER, "device")


def run(args: Namespace) -> None:
    from captionrl.tables.examples import Sources, by_captioner, by_system
    from captionrl.tables.figures import draw_figures

    paper = arguments.load(args, args.paper)
    sources = Sources(by_captioner(args.checkpoints), by_system(args.predictions), args.work, args.raw, args.device)
    for path in draw_figures(paper, args.scale, args.curves, args.tables, sources, args.out):
        print(path)
