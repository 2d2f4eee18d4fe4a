"""Extract the features of every item's frames into a store."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from captionrl.commands import arguments

EXAMPLE = (
    "captionrl features --backbone mini --raw data/msrvtt-mini --captions work/msrvtt-mini/captions --out features.h5"
)
BESIDE = (".json",)  # what is written beside --out


def add_arguments(parser: ArgumentParser) -> None:
    from captionrl.config.backbones import KNOWN, RANDOM

    parser.add_argument("--backbone", required=True, help=KNOWN)
    what = f"the backbone's weights, unless a package or a rule brings them; {RANDOM}: none, for a test"
    parser.add_argument("--weights", type=arguments.weights_file, help=what)
    items = parser.add_mutually_exclusive_group(required=True)
    items.add_argument("--captions", type=Path, help="a prepared corpus, to extract its items")
    items.add_argument("--images", type=Path, help="an image list of COCO 2014, with or without captions, instead")
    what = "K/N: the K-th of N parts of the items alone, for jobs side by side; `captionrl features-join` joins them"
    parser.add_argument("--part", type=arguments.part, metavar="K/N", help=what)
    arguments.paths(parser, raw="the data set's files", out="the store (.h5); .json is written beside it")
    arguments.shared(parser, *arguments.EXTRACTION, "precision", "device")


def run(args: Namespace) -> None:
    from captionrl.commands.extraction import extract_media, media_of
    from captionrl.datasets.coco import read_media
    from captionrl.datasets.manifest import present
    from captionrl.device import pick_device
    from captionrl.features.backbones import load_backbone
    from captionrl.features.join import part_of
    from captionrl.features.weights import find_weights

    weights = find_weights(args.backbone, args.weights)
    if args.images:
        media = read_media(args.images)
        present(media.values(), args.raw)
    else:
        media = media_of(args.captions, args.allowed_failures)
    if args.part:
        media = part_of(media, *args.part)
    backbone = load_backbone(args.backbone, weights, pick_device(args.device), args.precision)
    if backbone.random:
        print(f"captionrl features: {args.backbone} with random weights: for tests alone", file=sys.stderr)
    extract_media(args, media, backbone)
