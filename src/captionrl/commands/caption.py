"""Caption videos, GIFs or images with a trained checkpoint."""

import json
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from captionrl.commands import arguments

EXAMPLE = (
    "captionrl caption checkpoints/msrvtt-mini/hrl/hrl-16/hrl/seed1.safetensors"
    " data/msrvtt-mini/TestVideo/video800.mp4 --figure ."
)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="of a run")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="a video, GIF or image")
    arguments.shared(parser, "beam", "length-normalised", "json", "device")
    parser.add_argument(
        "--figure", type=Path, metavar="DIR", help="draw caption and attention of FILE as DIR/STEM.caption.png"
    )
    what = "the backbone's weights, if they are not where the rules put them"
    parser.add_argument("--weights", type=arguments.weights_file, help=what)


def run(args: Namespace) -> None:
    from captionrl.evaluation.media import load_captioner
    from captionrl.features.video import MediaError
    from captionrl.tables.caption_figure import draw_caption_figure, figure_paths

    pictures = figure_paths(args.files, args.figure) if args.figure else {}
    captioner = load_captioner(args.checkpoint, args.weights, args.device)
    report, failed = [], False
    for file in args.files:
        try:
            found, frames = captioner.caption(file, args.beam, length_normalised=args.length_normalised)
        except MediaError as error:
            print(f"captionrl caption: {error}", file=sys.stderr)
            failed = True
            continue
        if args.figure:
            try:
                draw_caption_figure(file, captioner.metadata.fps, found, frames, pictures[file])
            except (MediaError, OSError) as error:  # no space, no permission: the captions are made all the same
                said = f"{pictures[file]}: {error.strerror or error}" if isinstance(error, OSError) else error
                print(f"captionrl caption: {said}", file=sys.stderr)
                failed = True
        facts = {"caption": " ".join(found.words), "segments": found.segments, "log_probability": found.log_probability}
        report.append({"file": str(file), **facts, "frames": len(frames)})
        if not args.json:
            print(f"{file}: {found.text}")
    if args.json:
        print(json.dumps(report, indent=1, ensure_ascii=False))
    if failed:
        sys.exit(2)
