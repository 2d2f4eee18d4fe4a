"""Caption the images of COCO's evaluation server, in its file format."""

from argparse import ArgumentParser, Namespace

from captionrl.commands import arguments

EXAMPLE = (
    "captionrl submit --checkpoint checkpoints/coco-mini/stackcap/stack-cap/c2f/seed1.safetensors"
    " --images data/coco-mini/annotations/image_info_test2014.json"
    " --features work/coco-mini/features/mini-grid-test2014.h5 --out captions_test2014_stackcap_results.json"
)
BESIDE: tuple[str, ...] = ()  # nothing is written beside --out


def add_arguments(parser: ArgumentParser) -> None:
    arguments.paths(
        parser,
        checkpoint="of a run",
        images="image_info_test2014.json or captions_val2014.json",
        features="a store of all these images",
        out="captions_PART_ALG_results.json, such as captions_test2014_stackcap_results.json",
    )
    arguments.shared(parser, "beam", "length-normalised", "device")


def run(args: Namespace) -> None:
    from captionrl.evaluation.submit import submit

    how = {"beam": args.beam, "device": args.device, "length_normalised": args.length_normalised}
    submit(args.checkpoint, args.images, args.features, args.out, **how)
