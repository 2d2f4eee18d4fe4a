"""Convert bottom-up region features that you have into a store."""

from argparse import ArgumentParser, Namespace

from captionrl.commands import arguments

EXAMPLE = "captionrl regions --source data/coco/bottomup --captions work/coco/captions --out bottomup.h5"


def add_arguments(parser: ArgumentParser) -> None:
    source = "a folder of .npz files, or of the original .tsv files"
    arguments.paths(parser, source=source, captions="a prepared corpus", out="the store (.h5)")


def run(args: Namespace) -> None:
    from captionrl.datasets.prepared import load_captions
    from captionrl.features.regions import store_regions
    from captionrl.provenance import code_version

    items = [item.id for items in load_captions(args.captions).items.values() for item in items]
    manifest = args.out.with_suffix(".json")
    store_regions(items, args.source, args.out, manifest, code_version=code_version("regions"))
