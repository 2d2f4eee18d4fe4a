"""Score HRL with its own goals, with those of other clips and with none."""

from argparse import ArgumentParser, Namespace

from captionrl.commands import arguments

EXAMPLE = (
    "captionrl goals checkpoints/msrvtt-mini/hrl/hrl-16/hrl/seed1.safetensors --captions work/msrvtt-mini/captions"
    " --features work/msrvtt-mini/features/mini.h5"
)


def add_arguments(parser: ArgumentParser) -> None:
    arguments.diagnosis(parser, "HRL")


def run(args: Namespace) -> None:
    from captionrl.evaluation.goals import goal_scores, render

    report = goal_scores(args.checkpoints, args.captions, args.features, args.split)
    arguments.print_report(args, report, render)
