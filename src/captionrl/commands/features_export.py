"""Write a store's features to files for other programs."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from captionrl.commands import arguments

EXAMPLE = "captionrl features-export work/msrvtt-mini/features/mini.h5 --out msrvtt-mini.npz"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("store", type=Path, metavar="STORE", help="a feature store (.h5)")
    arguments.paths(parser, out="a file .npz, or a new folder of .npy files")


def run(args: Namespace) -> None:
    from captionrl.features.export import export_features

    store = export_features(args.store, args.out)
    options = f"--fps {store.attributes['fps']:g}" + (f" --grid {store.grid}" if store.grid else "")
    print(f"{args.out}: {len(store)} items, {store.dim} numbers a row; `captionrl features import` with {options}")
