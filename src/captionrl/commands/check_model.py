"""Check that a captioner of your own keeps the decoder protocol."""

import sys
from argparse import ArgumentParser, Namespace

from captionrl.commands import arguments

EXAMPLE = "captionrl check-model models:Transformer"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODULE:NAME", help="the model, as a run's `model:` names it")
    parser.add_argument("--sizes", type=arguments.json_object, default={}, metavar="JSON", help="not its defaults")


def run(args: Namespace) -> None:
    from captionrl.testing import check_model

    failed = False
    for what, fault in check_model(args.model, args.sizes):
        print(f"FAILED  {what}: {fault}" if fault else f"ok      {what}")
        failed = failed or bool(fault)
    if failed:
        sys.exit(1)
