"""Build a table of a paper from score files."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from captionrl.commands import arguments

EXAMPLE = (
    "captionrl table hrl/table1 --scale mini --metadata work/msrvtt-mini/captions/metadata.json"
    " --scores work/msrvtt-mini/scores/hrl/*/seed*.json --out table1.csv"
)
BESIDE = (".comparisons.csv", ".md", ".tex", ".cells.jsonl")  # what is written beside --out


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("table", type=arguments.names(2), metavar="PAPER/TABLE", help="such as hrl/table1")
    out = "the table (.csv); .md, .tex, .comparisons.csv and .cells.jsonl are written beside it"
    arguments.paths(parser, metadata="metadata.json of the prepared corpus", out=out)
    arguments.paths(parser, "+", scores="…/RUN/seedK.json")
    arguments.shared(parser, *arguments.PAPER)


def run(args: Namespace) -> None:
    from captionrl.files import damage_named, read_json
    from captionrl.tables.formats import write
    from captionrl.tables.table import build

    paper, table = args.table
    scores: dict[str, list[Path]] = {}
    for path in args.scores:  # …/RUN/seedK.json
        scores.setdefault(path.parent.name, []).append(path)
    metadata = read_json(args.metadata)
    with damage_named(args.metadata, "not the metadata of a corpus", "prepare it again"):
        origin, items = metadata["origin"], metadata["splits"]["test"]["items"]
    write(*build(arguments.load(args, paper), table, args.scale, origin, scores, items), args.out)
