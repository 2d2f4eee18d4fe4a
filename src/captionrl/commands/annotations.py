"""Make features from Charades' annotation: ground truth instead of pixels."""

from argparse import ArgumentParser, Namespace

from captionrl.commands import arguments

EXAMPLE = (
    "captionrl annotations --raw data/charades-annotations-mini --captions work/charades-annotations-mini/captions"
    " --out annotations.h5"
)
BESIDE = (".json",)  # what is written beside --out


def add_arguments(parser: ArgumentParser) -> None:
    arguments.paths(parser, raw="the data set's files", captions="a prepared corpus", out="the store (.h5)")
    arguments.shared(parser, "fps")


def run(args: Namespace) -> None:
    from captionrl.features.annotations import write_annotations
    from captionrl.provenance import code_version

    write_annotations(args.captions, args.raw, args.out, fps=args.fps, code_version=code_version("annotations"))
