"""Extract the features of every item's frames into a store."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import get_args

from captionrl.commands import arguments
from captionrl.errors import UserError

EXAMPLE = (
    "captionrl features --backbone mini --raw data/msrvtt-mini --captions work/msrvtt-mini/captions --out features.h5"
)


def add_arguments(parser: ArgumentParser) -> None:
    from captionrl.config import Backbone

    others = ("annotations", "bottomup")  # which have commands of their own, like those of frames
    names = [name for name in get_args(Backbone) if name not in others and not name.endswith("-frames")]
    parser.add_argument("--backbone", required=True, help=", ".join(names))
    parser.add_argument(
        "--weights", type=Path, help="the backbone's weights; a mini backbone has its own in the package"
    )
    items = parser.add_mutually_exclusive_group(required=True)
    items.add_argument("--captions", type=Path, help="a prepared corpus, to extract its items")
    items.add_argument("--images", type=Path, help="an image list of COCO 2014, with or without captions, instead")
    arguments.paths(parser, raw="the data set's files", out="the store (.h5); .json is written beside it")
    arguments.shared(parser, *arguments.EXTRACTION, "precision", "device")


def run(args: Namespace) -> None:
    from captionrl.commands.extraction import extract_media, media_of
    from captionrl.datasets.coco import read_media
    from captionrl.datasets.manifest import present
    from captionrl.device import pick_device
    from captionrl.features.backbones import load_backbone
    from captionrl.features.shipped import shipped_weights

    weights = args.weights or shipped_weights(args.backbone)
    if weights is None:
        raise UserError(f"--weights: the package has none of {args.backbone}; give the file of its weights")
    if args.images:
        media = read_media(args.images)
        present(media.values(), args.raw)
    else:
        media = media_of(args.captions)
    extract_media(args, media, load_backbone(args.backbone, weights, pick_device(args.device), args.precision))
