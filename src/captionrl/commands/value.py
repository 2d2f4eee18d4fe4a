"""Score a value network on prefixes of captions sampled from its own policy."""

from argparse import ArgumentParser, Namespace

from captionrl.commands import arguments

EXAMPLE = (
    "captionrl value checkpoints/coco-mini/policy_value/value-network/value/seed1.safetensors"
    " --captions work/coco-mini/captions --features work/coco-mini/features/mini-grid.h5"
)


def add_arguments(parser: ArgumentParser) -> None:
    arguments.diagnosis(parser, "actor-critic")


def run(args: Namespace) -> None:
    from captionrl.evaluation.value import render, value_errors

    report = value_errors(args.checkpoints, args.captions, args.features, args.split)
    arguments.print_report(args, report, render)
