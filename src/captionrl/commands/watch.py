"""Show the trainings that run at this moment: how far, which score, how long still."""

import sys
import time
from argparse import ArgumentParser, Namespace
from contextlib import closing, nullcontext

from captionrl.commands import arguments

EXAMPLE = "captionrl watch --every 5 --to trackio"
EVERY = 10  # seconds, where a tracker is fed


def add_arguments(parser: ArgumentParser) -> None:
    what = "seconds from one look to the next, until interrupted; without it: one look"
    parser.add_argument("--every", type=arguments.seconds, metavar="SECONDS", help=what)
    what = "show them in this tracker, too, until interrupted; its runs begin anew with each call"
    parser.add_argument("--to", choices=("wandb", "trackio"), help=what)
    arguments.shared(parser, "state")


def run(args: Namespace) -> None:
    from captionrl.state import list_states
    from captionrl.training.records import read_history, summary
    from captionrl.training.tracking import Tracker

    every = args.every or (EVERY if args.to else None)
    clear = "\033[H\033[2J" if every and sys.stdout.isatty() else ""
    with closing(Tracker(args.to)) if args.to else nullcontext() as tracker:
        while True:
            running = {args.state / row["directory"]: row["title"] for row in list_states(args.state) if row["holder"]}
            lines = [f"{title}  {summary(read_history(directory))}" for directory, title in running.items()]
            print(clear + "\n".join(lines or [f"{args.state}: nothing is being trained or extracted"]), flush=True)
            if tracker:
                tracker.look(running)
            if not every:
                return
            time.sleep(every)
