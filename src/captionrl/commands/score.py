"""Score files of captions, of any models, against references."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from captionrl.commands import arguments
from captionrl.errors import UserError

EXAMPLE = (
    "captionrl score --references data/coco-mini/annotations/captions_val2014.json"
    " --hypotheses results/mini/stackcap/captions_val2014_stackcap_results.json"
)


def add_arguments(parser: ArgumentParser) -> None:
    from captionrl.evaluation.score_files import FORMATS

    forms = "COCO's json, {id: captions}, JSON Lines, csv (image_id, caption) or txt (one a line)"
    arguments.paths(parser, nargs="+", references=forms)
    arguments.paths(parser, nargs="+", hypotheses="likewise; a file a system, compared with the first one")
    parser.add_argument("--metrics", type=arguments.listed, metavar="A,B", help="by default all but SPICE")
    parser.add_argument("--sets", action="store_true", help="several captions an item: how good, how diverse")
    parser.add_argument("--df", type=Path, metavar="FILE", help="captions that CIDEr-D's document frequencies are of")
    parser.add_argument("--subset", type=Path, metavar="FILE", help="of the ids to score, one a line")
    parser.add_argument("--spice", type=Path, metavar="DIR", help="SPICE too, with CoreNLP's files in DIR")
    what = "CLIPScore and RefCLIPScore too, by this model of open_clip, such as ViT-B-32/openai"
    parser.add_argument("--clip", metavar="NAME/TAG", help=what)
    parser.add_argument("--clip-weights", type=Path, metavar="FILE", help="of --clip")
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="of --clip: ID.jpg, ID.png, …, or as COCO names them"
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="of what is printed")
    parser.add_argument("--items", action="store_true", help="with json and csv: each item's scores")


def run(args: Namespace) -> None:
    from captionrl.evaluation.score_files import render, score_files

    clip = None
    if any((args.clip, args.clip_weights, args.pictures)):
        if not all((args.clip, args.clip_weights, args.pictures)):
            raise UserError("--clip, --clip-weights, --pictures: CLIPScore needs all three")
        from captionrl.evaluation.clip_score import Clip

        clip = Clip(args.clip, args.clip_weights, args.pictures)
    report = score_files(
        args.references,
        args.hypotheses,
        args.metrics,
        sets=args.sets,
        frequencies=args.df,
        subset=args.subset,
        spice=args.spice,
        clip=clip,
    )
    print(render(report, args.format, args.items))
    scores = next(iter(report.values()))
    cider = scores.get("CIDEr-D")
    if any(numbers["n"] == 1 for numbers in scores.values()):
        zero = " CIDEr-D is 0 whatever it says, since no word is rare, and" if cider and not args.df else ""
        print(f"captionrl score: of one item{zero} intervals are points; score more items", file=sys.stderr)
    elif cider and not any(cider["items"].values()):
        rare = "document frequencies are of one item, or of items that are alike, so that no word is rare"
        what = f"either no caption shares a word with its references, or {rare}"
        print(f"captionrl score: CIDEr-D of every item is 0: {what}", file=sys.stderr)
