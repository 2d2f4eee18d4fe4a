"""Train the mini backbone on labelled pictures."""

from argparse import ArgumentParser, Namespace

from captionrl.commands import arguments

EXAMPLE = "captionrl backbone --images data/imagenet-mini/images.npz --out mini.safetensors"
BESIDE: tuple[str, ...] = ()  # nothing is written beside --out


def add_arguments(parser: ArgumentParser) -> None:
    arguments.paths(parser, images="images.npz of imagenet-mini", out="the weights (.safetensors)")
    arguments.shared(parser, "device", "state")


def run(args: Namespace) -> None:
    from captionrl.config import BackbonePhase
    from captionrl.training.backbone import train_backbone

    train_backbone(args.images, args.out, args.state, phase=BackbonePhase(), seed=0, device=args.device)
