"""Store a few frames of every item, as input of a backbone that is to be trained."""

from argparse import ArgumentParser, Namespace

from captionrl.commands import arguments

EXAMPLE = (
    "captionrl frames --backbone mini-frames --raw data/msvd-mini --captions work/msvd-mini/captions --out frames.h5"
)
BESIDE = (".json",)  # what is written beside --out


def add_arguments(parser: ArgumentParser) -> None:
    from captionrl.config.backbones import FEATURES, FRAMES

    names = [name for name in FEATURES if name.endswith(FRAMES)]
    parser.add_argument("--backbone", required=True, help=f"{', '.join(names)} or timm:MODEL{FRAMES}")
    arguments.paths(parser, captions="a prepared corpus, to store the frames of its items")
    parser.add_argument("--max-frames", type=arguments.whole(1, 10_000), default=5, metavar="N", help="frames per item")
    arguments.paths(parser, raw="the data set's files", out="the store (.h5); .json is written beside it")
    arguments.shared(parser, *arguments.EXTRACTION)


def run(args: Namespace) -> None:
    from captionrl.commands.extraction import extract_media, media_of
    from captionrl.features.frame_sampler import frame_sampler

    extract_media(args, media_of(args.captions, args.allowed_failures), frame_sampler(args.backbone, args.max_frames))
