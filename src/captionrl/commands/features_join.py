"""Make one feature store of those that `captionrl features --part` made."""

from argparse import ArgumentParser, Namespace

from captionrl.commands import arguments

EXAMPLE = "captionrl features-join --parts 1.h5 2.h5 --captions work/msrvtt-mini/captions --out features.h5"
BESIDE = (".json",)  # what is written beside --out


def add_arguments(parser: ArgumentParser) -> None:
    arguments.paths(parser, nargs="+", parts="the stores of all parts; beside each its .json")
    arguments.paths(parser, captions="the prepared corpus", out="the store (.h5); .json is written beside it")
    arguments.shared(parser, "allowed-failures")


def run(args: Namespace) -> None:
    from captionrl.commands.extraction import media_of
    from captionrl.features.join import join

    items, allowed = list(media_of(args.captions, args.allowed_failures)), args.allowed_failures
    join(args.parts, items, args.out, args.out.with_suffix(".json"), allowed_failures=allowed)
