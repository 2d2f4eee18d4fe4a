"""Read a data set and print its statistics; with --out, prepare it for training."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from captionrl.commands import arguments

EXAMPLE = "captionrl corpus msrvtt-mini --raw data/msrvtt-mini"


def add_arguments(parser: ArgumentParser) -> None:
    from captionrl.datasets.read import NAMES

    parser.add_argument("name", help=NAMES)
    arguments.paths(parser, raw="the directory of the data set's files")
    parser.add_argument("--out", type=Path, help="write captions, vocabulary, split lists and metadata here")
    what = "a word rarer than this becomes <unk>"
    parser.add_argument("--min-count", type=arguments.positive, default=1, metavar="N", help=what)
    what = "the items in whose captions words are counted"
    parser.add_argument("--counted", choices=("train", "all"), default="train", help=what)
    what = "take punctuation out of the captions that models read"
    parser.add_argument("--no-punctuation", action="store_true", help=what)
    arguments.shared(parser, "json")


def run(args: Namespace) -> None:
    from captionrl.datasets.prepare import describe, prepare
    from captionrl.datasets.read import read_corpus

    read = read_corpus(args.name, args.raw)
    how = args.min_count, args.counted, not args.no_punctuation
    metadata = prepare(read, args.out, *how) if args.out else describe(read, *how)
    if args.json:
        print(json.dumps(metadata, indent=1, ensure_ascii=False))
        return
    print(f"{metadata['name']}: {metadata['origin']}")
    for split, numbers in metadata["splits"].items():
        print(
            f"  {split:5} {numbers['items']:>6} items {numbers['captions']:>7} captions "
            f"{numbers['mean_length']:6.2f} words each, ids {numbers['split_hash'][:12]}"
        )
    counted = "all captions" if metadata["counted"] == "all" else "train"
    print(f"  vocabulary of {metadata['vocabulary']} words seen at least {metadata['min_count']} times in {counted}")
