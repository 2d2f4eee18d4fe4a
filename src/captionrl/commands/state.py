"""List or delete the saved states of unfinished work."""

from argparse import ArgumentParser, Namespace

from captionrl.commands import arguments

EXAMPLE = "captionrl state list"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("what", choices=("list", "prune"), help="prune deletes")
    parser.add_argument("--days", type=arguments.amount, default=30, help="prune: states not written for this long")
    what = "prune: then the oldest, until what is left takes at most so many GiB"
    parser.add_argument("--gib", type=arguments.amount, metavar="N", help=what)
    arguments.shared(parser, "state")


def run(args: Namespace) -> None:
    import math

    from captionrl.state import list_states, prune_states

    most = math.inf if args.gib is None else args.gib * 2**30
    rows = list_states(args.state) if args.what == "list" else prune_states(args.state, args.days, most)
    for row in rows:
        holder = f"  (in use by {row['holder']})" if row["holder"] else ""
        print(f"{row['directory']}  {row['bytes'] / 2**20:8.1f} MiB  {row['days']:6.1f} days  {row['title']}{holder}")
    print(f"{len(rows)} {'kept' if args.what == 'list' else 'deleted'}")
