"""Score a run's predictions for a table."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from captionrl.commands import arguments
from captionrl.errors import UserError

EXAMPLE = (
    "captionrl evaluate --predictions work/msrvtt-mini/predictions/hrl/hrl-16/seed1.json"
    " --checkpoint checkpoints/msrvtt-mini/hrl/hrl-16/hrl/seed1.safetensors --captions work/msrvtt-mini/captions"
    " --out scores.json"
)
BESIDE: tuple[str, ...] = ()  # nothing is written beside --out


def add_arguments(parser: ArgumentParser) -> None:
    what = "that made them; one per prediction"
    arguments.paths(
        parser, "+", predictions="of a run; one per seed", checkpoint=what, out="the scores; one per prediction"
    )
    arguments.paths(parser, captions="a prepared corpus")
    what = "also score SPICE: the zip file of Stanford CoreNLP 3.6.0, which it parses with"
    parser.add_argument("--spice", type=Path, help=what)
    what = "also score Embedding: the reward model's checkpoint, one per prediction; needs --features"
    parser.add_argument("--embedding", type=Path, nargs="+", default=[], help=what)
    parser.add_argument("--features", type=Path, help="the feature store that the reward model was trained on")
    arguments.shared(parser, "split", "workers")


def run(args: Namespace) -> None:
    from captionrl.evaluation.score_run import evaluate_predictions

    if bool(args.embedding) != bool(args.features):
        raise UserError("--embedding and --features: one needs the other; give both or neither")
    arguments.check_one_each(args.checkpoint, predictions=args.predictions, out=args.out)
    if args.embedding:
        arguments.check_one_each(args.checkpoint, embedding=args.embedding)
    evaluate_predictions(
        args.predictions,
        args.checkpoint,
        args.captions,
        args.out,
        split=args.split,
        spice=args.spice,
        reward_models=args.embedding,
        features=args.features,
        workers=args.workers,
    )
