"""Score attribute prediction by its mean average precision."""

from argparse import ArgumentParser, Namespace

from captionrl.commands import arguments

EXAMPLE = (
    "captionrl recognition checkpoints/msvd-mini/e2e/e2e/e2e/seed1.safetensors"
    " --attributes work/msvd-mini/attributes/dictionary.tsv --captions work/msvd-mini/captions"
    " --features work/msvd-mini/features/mini-frames.h5"
)


def add_arguments(parser: ArgumentParser) -> None:
    arguments.diagnosis(parser, "e2e")
    arguments.paths(parser, attributes="the list that it was trained with (.tsv)")
    arguments.shared(parser, "device")


def run(args: Namespace) -> None:
    from captionrl.evaluation.recognition import recognition_scores, render

    files = (args.attributes, args.captions, args.features)
    report = recognition_scores(args.checkpoints, *files, args.split, args.device)
    arguments.print_report(args, report, render)
