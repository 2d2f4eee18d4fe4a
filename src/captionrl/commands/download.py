"""Download files of downloads.yaml and verify their checksums."""

from argparse import ArgumentParser, Namespace

from captionrl.commands import arguments
from captionrl.errors import UserError

EXAMPLE = "captionrl download weights resnet152-394f9c45.pth --into data/weights"


def add_arguments(parser: ArgumentParser) -> None:
    from captionrl.datasets.manifest import manifest

    parser.add_argument("group", help=f"a group of downloads.yaml: {', '.join(manifest())}")
    parser.add_argument("name", nargs="?", help="one file of the group; without it all of them")
    arguments.paths(parser, into="the directory to write them to")


def run(args: Namespace) -> None:
    from captionrl.datasets.download import fetch
    from captionrl.datasets.manifest import manifest

    wanted = [entry for entry in manifest().get(args.group, []) if args.name in (None, entry.name)]
    if not wanted:
        raise UserError(f"{args.group} {args.name or ''}: not in downloads.yaml; there are {', '.join(manifest())}")
    for entry in wanted:
        print(fetch(entry, args.into))
