"""List or delete the saved states of unfinished work."""

from argparse import ArgumentParser, Namespace

from captionrl.commands import arguments

EXAMPLE = "captionrl state list"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("what", choices=("list", "prune"), help="prune deletes")
    parser.add_argument("--days", type=float, default=30, help="prune: states not written for this long")
    arguments.shared(parser, "state")


def run(args: Namespace) -> None:
    from captionrl.state import list_states, prune_states

    rows = list_states(args.state) if args.what == "list" else prune_states(args.state, args.days)
    for row in rows:
        holder = f"  (in use by {row['holder']})" if row["holder"] else ""
        print(f"{row['directory']}  {row['bytes'] / 2**20:8.1f} MiB  {row['days']:6.1f} days  {row['title']}{holder}")
    print(f"{len(rows)} {'kept' if args.what == 'list' else 'deleted'}")
