"""Fetch, check and unpack a corpus' files, weights or tools."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from captionrl.commands import arguments
from captionrl.errors import UserError

OUTPUTS = ("record",)
BESIDE: tuple[str, ...] = ()  # nothing is written beside it
EXAMPLE = "captionrl download charades msvd --accept charades msvd"


def add_arguments(parser: ArgumentParser) -> None:
    from captionrl.datasets.manifest import PACKAGED, VARIABLE, read_manifest

    names = ", ".join(read_manifest(PACKAGED))
    parser.add_argument(
        "groups", nargs="*", metavar="GROUP", help=f"what to fetch: {names}; with --list all by default"
    )
    parser.add_argument(
        "--list", action="store_true", help="say what there is and what is there already; fetch nothing"
    )
    parser.add_argument("--into", type=Path, help="the directory of one group's files; else data/GROUP")
    parser.add_argument("--only", metavar="NAME", help="one entry of one group")
    what = "licences that you accept, beside those in params.yaml; --list says where their texts are"
    parser.add_argument("--accept", nargs="+", default=[], metavar="LICENCE", help=what)
    parser.add_argument("--manifest", type=Path, help=f"a manifest to take instead; also the variable {VARIABLE}")
    parser.add_argument("--record", type=Path, help="write what is there of one group as JSON")
    arguments.shared(parser, "allowed-failures", "state")


def run(args: Namespace) -> None:
    import os

    from captionrl.config import load_params
    from captionrl.datasets.download import check_record, describe, download, write_record
    from captionrl.datasets.manifest import VARIABLE, directory_of, manifest

    if args.manifest:
        os.environ[VARIABLE] = str(args.manifest)
    groups = args.groups or (list(manifest()) if args.list else [])
    if not groups:
        raise UserError(f"no group is named; there are {', '.join(manifest())}")
    if len(groups) > 1 and (args.into or args.only or args.record):
        raise UserError("--into, --only and --record are about one group; name one")
    raw_of = {group: args.into or directory_of(group) for group in groups}
    if args.list:
        print("\n".join(describe(raw_of)))
        return
    if args.record:
        check_record(args.record)
    accepted = [*args.accept, *(load_params().accept if Path("params.yaml").is_file() else [])]
    download(raw_of, accepted, only=args.only, allowed_failures=args.allowed_failures, states=args.state)
    if args.record:
        write_record(groups[0], raw_of[groups[0]], args.record)
