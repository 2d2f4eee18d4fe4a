"""Begin a project with videos, GIFs or pictures of your own."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

EXAMPLE = "captionrl init my-project --corpus clips"


def add_arguments(parser: ArgumentParser) -> None:
    from captionrl.project import BACKBONE

    parser.add_argument("folder", type=Path, metavar="FOLDER", help="to write the project into; . is this one")
    parser.add_argument("--name", default="mine", help="of the project: settings in papers/NAME, a target of snakemake")
    parser.add_argument("--corpus", default="clips", metavar="NAME", help="of the media: they go into data/NAME")
    what = "what turns frames into features; mini knows rendered pictures only"
    parser.add_argument("--backbone", default=BACKBONE, metavar="NAME", help=what)


def run(args: Namespace) -> None:
    from captionrl.project import write_project

    write_project(args.folder, args.name, args.corpus, args.backbone)
    print(f"{args.folder}: see data/{args.corpus}/README for what goes there; then run `snakemake` in {args.folder}")
