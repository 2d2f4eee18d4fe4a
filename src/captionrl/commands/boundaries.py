"""Score HRL's boundary critic against the best rule that sees only the last word."""

from argparse import ArgumentParser, Namespace

from captionrl.commands import arguments

EXAMPLE = (
    "captionrl boundaries --checkpoint checkpoints/msrvtt-mini/hrl/boundary-critic/boundary-critic/seed1.safetensors"
    " --captions work/msrvtt-mini/captions --segments work/msrvtt-mini/segments/grammar.parquet"
)


def add_arguments(parser: ArgumentParser) -> None:
    checkpoint = "of a boundary critic"
    arguments.paths(parser, checkpoint=checkpoint, captions="a prepared corpus", segments="its captions' segments")
    arguments.shared(parser, "split", "json")
    parser.set_defaults(split="val")


def run(args: Namespace) -> None:
    from captionrl.evaluation.boundaries import render, score_boundaries

    report = score_boundaries(args.checkpoint, args.captions, args.segments, args.split)
    arguments.print_report(args, report, render)
