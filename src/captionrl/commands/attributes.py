"""List the most frequent nouns, verbs and adjectives of a corpus' training captions."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from captionrl.commands import arguments

EXAMPLE = "captionrl attributes --captions work/msvd-mini/captions --tagger dictionary --out attributes.tsv"
BESIDE: tuple[str, ...] = ()  # nothing is written beside --out


def add_arguments(parser: ArgumentParser) -> None:
    arguments.paths(parser, captions="a prepared corpus", out="the list (.tsv)")
    parser.add_argument("--tagger", choices=("corenlp", "dictionary"), required=True, help="finds parts of speech")
    parser.add_argument(
        "--max-attributes", type=arguments.positive, default=400, metavar="N", help="length of the list"
    )
    parser.add_argument("--corenlp", type=Path, help="tagger corenlp: the zip file of Stanford CoreNLP, or its folder")
    arguments.shared(parser, "workers", "state")


def run(args: Namespace) -> None:
    from captionrl.datasets.mine import mine
    from captionrl.datasets.prepared import load_captions

    captions, most, states = load_captions(args.captions), args.max_attributes, args.state / "attributes"
    mine(captions, args.tagger, most, corenlp=args.corenlp, workers=args.workers, states=states).save(args.out)
