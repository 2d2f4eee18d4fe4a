"""Train one phase of one run."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from captionrl.commands import arguments

EXAMPLE = (
    "captionrl train hrl/xe-baseline/xe --scale mini --corpus msrvtt-mini --seed 1 --captions work/msrvtt-mini/captions"
    " --features work/msrvtt-mini/features/mini.h5 --out xe.safetensors"
)
BESIDE = (".metrics.jsonl", ".csv", ".json")  # what is written beside --out


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("phase", type=arguments.names(3), metavar="PAPER/RUN/PHASE", help="such as hrl/xe-baseline/xe")
    parser.add_argument("--corpus", required=True, help="the name of the corpus in the paper's YAML; mini: with -mini")
    parser.add_argument("--seed", type=arguments.seed, required=True, help="of initial weights, batches and samples")
    arguments.paths(parser, captions="the prepared corpus", out="the checkpoint (.safetensors)")
    parser.add_argument("--features", type=Path, help="its feature store; HRL's boundary critic needs none")
    parser.add_argument("--segments", type=Path, help="its captions' segments, for HRL's boundary critic")
    parser.add_argument("--attributes", type=Path, help="its attributes (.tsv), for attribute prediction")
    what = "of the captioner's CNN, without --start; if neither a package nor a rule brings them"
    parser.add_argument("--weights", type=arguments.weights_file, help=what)
    parser.add_argument("--start", type=Path, help="the checkpoint to start from")
    arguments.shared(parser, "precision", *arguments.PAPER, "device", "state")


def run(args: Namespace) -> None:
    from dataclasses import fields

    from captionrl.training.run import Job, train_phase

    paper, run, phase = args.phase
    given = {**vars(args), "run": run, "phase": phase}
    train_phase(arguments.load(args, paper), Job(**{field.name: given[field.name] for field in fields(Job)}))
