"""Caption a split by beam search, or with sets of captions per item."""

from argparse import ArgumentParser, Namespace

from captionrl.commands import arguments
from captionrl.errors import UserError

EXAMPLE = (
    "captionrl predict --checkpoint checkpoints/msrvtt-mini/hrl/hrl-16/hrl/seed1.safetensors"
    " --captions work/msrvtt-mini/captions --features work/msrvtt-mini/features/mini.h5 --out captions.json"
)
BESIDE: tuple[str, ...] = ()  # nothing is written beside --out
DEFAULT = 5  # captions of a beam or a set


def add_arguments(parser: ArgumentParser) -> None:
    arguments.paths(parser, "+", checkpoint="of a run; one per seed", out="{item: caption}; one per checkpoint")
    arguments.paths(parser, captions="a prepared corpus", features="its feature store")
    what = "write {item: [captions]}: random samples, or all captions of the beam"
    parser.add_argument("--set", choices=("sample", "beam-set"), help=what)
    parser.add_argument("--size", type=arguments.captions, metavar="N", help="--set: captions per item, 5 by default")
    parser.add_argument("--beam", type=arguments.captions, metavar="N", help="without --set: beam width, 5 by default")
    arguments.shared(parser, "split", "length-normalised", "device")
    what = "Stack-Cap: the decoder stage that writes the captions, 0 for the coarse one; without it the last one"
    parser.add_argument("--stage", type=arguments.whole(0, 100), metavar="N", help=what)
    what = "look-ahead search: the weight of the log-probability in a beam's score; the value network has the rest"
    parser.add_argument("--look-ahead", type=arguments.real(0, 1), metavar="WEIGHT", help=what)
    what = "of the beam's captions, write the one that the model's image-text embedding finds nearest to the picture"
    parser.add_argument("--rerank", action="store_true", help=what)


def run(args: Namespace) -> None:
    from captionrl.evaluation.predict import predict, predict_sets

    if args.set and args.beam is not None:
        raise UserError("--beam: not together with --set, which has --size captions an item; leave one of them out")
    if args.size is not None and not args.set:
        raise UserError("--size: only --set writes more than one caption an item; give that, or leave it out")
    if args.set and args.stage is not None:
        raise UserError("--stage: not together with --set, whose captions are the last stage's; leave one of them out")
    if args.look_ahead is not None and (args.set or args.stage is not None):
        raise UserError("--look-ahead: not together with --set or --stage; leave one of them out")
    if args.length_normalised and (args.set == "sample" or args.look_ahead is not None):
        raise UserError("--length-normalised: only beam search ranks captions so; leave it out")
    if args.rerank and (args.set or args.stage is not None or args.look_ahead is not None):
        raise UserError("--rerank: not together with --set, --stage or --look-ahead; leave one of them out")
    arguments.check_one_each(args.checkpoint, out=args.out)
    shared = {"split": args.split, "device": args.device, "length_normalised": args.length_normalised}
    for checkpoint, out in zip(args.checkpoint, args.out, strict=True):
        files = (checkpoint, args.captions, args.features, out)
        if args.set:
            predict_sets(*files, **shared, how=args.set, size=args.size or DEFAULT)
        else:
            beam = args.beam or DEFAULT
            predict(*files, **shared, beam=beam, stage=args.stage, look_ahead=args.look_ahead, rerank=args.rerank)
