"""Split every caption of a prepared corpus into segments."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from captionrl.commands import arguments

EXAMPLE = "captionrl segment --captions work/msrvtt-mini/captions --backend grammar --out segments.parquet"
BESIDE = (".json",)  # what is written beside --out


def add_arguments(parser: ArgumentParser) -> None:
    arguments.paths(parser, captions="a prepared corpus", out="the segments (.parquet); .json is written beside it")
    what = "CoreNLP's parser, that of the mini data's grammar, or closed-class words"
    parser.add_argument("--backend", choices=("corenlp", "grammar", "shallow"), required=True, help=what)
    parser.add_argument("--corenlp", type=Path, help="backend corenlp: the zip file of Stanford CoreNLP")
    arguments.shared(parser, "workers", "state")


def run(args: Namespace) -> None:
    from captionrl.datasets.prepared import load_captions
    from captionrl.datasets.segment import segment
    from captionrl.datasets.segments import write_segments

    tokens = load_captions(args.captions).tokens
    segmented = segment(tokens, args.backend, corenlp=args.corenlp, workers=args.workers, state=args.state / "segments")
    write_segments(args.out, segmented)
