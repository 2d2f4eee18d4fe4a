"""Score an image-text embedding: recall of captions by image and of images by caption."""

from argparse import ArgumentParser, Namespace

from captionrl.commands import arguments

EXAMPLE = (
    "captionrl retrieval checkpoints/coco-mini/policy_value/reward-model/embedding/seed1.safetensors"
    " --captions work/coco-mini/captions --features work/coco-mini/features/mini-grid.h5"
)


def add_arguments(parser: ArgumentParser) -> None:
    arguments.diagnosis(parser, "actor-critic")
    parser.add_argument("--fold", type=arguments.positive, default=100, metavar="N", help="images to search among")


def run(args: Namespace) -> None:
    from captionrl.evaluation.retrieval import render, retrieval_scores

    report = retrieval_scores(args.checkpoints, args.captions, args.features, args.split, args.fold)
    arguments.print_report(args, report, render)
