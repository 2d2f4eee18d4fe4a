"""Make a feature store of features that you have."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from captionrl.commands import arguments
from captionrl.errors import UserError

EXAMPLE = (
    "captionrl features-import clips.npz --captions work/clips/captions --name own:clip --fps 2"
    " --out work/clips/features/own--clip.h5"
)
BESIDE = (".json",)  # what is written beside --out


def add_arguments(parser: ArgumentParser) -> None:
    what = "a folder, or a file: .npy, .npz, .h5, .hdf5, .pt, .pth, .safetensors, .tsv"
    parser.add_argument("source", type=Path, metavar="SOURCE", help=what)
    arguments.paths(parser, captions="a prepared corpus", out="the store (.h5); .json is written beside it")
    named = parser.add_mutually_exclusive_group(required=True)
    named.add_argument("--name", help="what papers' YAML calls this backbone: own:NAME, or bottomup")
    named.add_argument("--like", type=Path, metavar="STORE", help="instead: as this store, of the same extractor")
    parser.add_argument("--fps", type=arguments.rate, default=0.0, help="frames per second; 0: not known, or stills")
    parser.add_argument("--grid", type=arguments.cells, metavar="N", help="rows are the N x N cells of each frame")
    parser.add_argument("--key", help="of an item's arrays, which is its features; by default feat, features or x")
    parser.add_argument("--ids", choices=("exact", "number"), default="exact", help="number: that at the names' ends")
    parser.add_argument("--ids-file", type=Path, metavar="FILE", help="the ids of the rows of one array, one a line")
    arguments.shared(parser, "allowed-failures")


def run(args: Namespace) -> None:
    from captionrl.config.backbones import is_imported
    from captionrl.datasets.prepared import load_captions
    from captionrl.features.imports import Kind, import_features
    from captionrl.features.store import FeatureStore
    from captionrl.provenance import code_version

    if args.name and not is_imported(args.name):
        raise UserError(f"--name: {args.name!r}; features of your own are called own:NAME, such as own:clip")
    kind = Kind.of(FeatureStore(args.like)) if args.like else Kind(args.name, args.fps, args.grid or 0)
    items = [item.id for items in load_captions(args.captions).items.values() for item in items]
    import_features(
        items,
        args.source,
        args.out,
        kind=kind,
        code_version=code_version("features-import"),
        key=args.key,
        by_number=args.ids == "number",
        ids_file=args.ids_file,
        allowed_failures=args.allowed_failures,
    )
