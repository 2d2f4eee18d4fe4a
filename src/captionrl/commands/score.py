"""Score a file of captions, of any model, against references."""

import sys
from argparse import ArgumentParser, Namespace

from captionrl.commands import arguments

EXAMPLE = (
    "captionrl score --references data/coco-mini/annotations/captions_val2014.json"
    " --hypotheses results/mini/stackcap/captions_val2014_stackcap_results.json"
)


def add_arguments(parser: ArgumentParser) -> None:
    hypotheses = "COCO results, or {id: caption}"
    arguments.paths(parser, references="COCO captions, or {id: [captions]}", hypotheses=hypotheses)
    parser.add_argument("--items", action="store_true", help="with --json: each item's scores too")
    arguments.shared(parser, "json")


def run(args: Namespace) -> None:
    from captionrl.evaluation.score_files import render, score_files

    report = score_files(args.references, args.hypotheses, args.items)
    arguments.print_report(args, report, render)
    if report["CIDEr-D"]["n"] == 1:
        what = "of one item CIDEr-D is 0 whatever it says, since no word is rare, and intervals are points"
        print(f"captionrl score: {what}; score more items", file=sys.stderr)
