"""Show the trainings that run at this moment: how far, which score, how long still."""

import sys
import time
from argparse import ArgumentParser, Namespace

from captionrl.commands import arguments

EXAMPLE = "captionrl watch --every 5"


def add_arguments(parser: ArgumentParser) -> None:
    what = "seconds from one look to the next, until interrupted; without it: one look"
    parser.add_argument("--every", type=arguments.positive, metavar="SECONDS", help=what)
    arguments.shared(parser, "state")


def run(args: Namespace) -> None:
    from captionrl.state import list_states
    from captionrl.training.records import read_history, summary

    while True:
        rows = [row for row in list_states(args.state) if row["holder"]]
        lines = [f"{row['title']}  {summary(read_history(args.state / row['directory']))}" for row in rows]
        clear = "\033[H\033[2J" if args.every and sys.stdout.isatty() else ""
        print(clear + "\n".join(lines or [f"{args.state}: nothing is being trained or extracted"]), flush=True)
        if not args.every:
            return
        time.sleep(args.every)
