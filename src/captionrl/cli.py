"""`captionrl …`: what every rule calls. A rule's shell line can be pasted into a terminal.

Each command is one function; what it imports, and nothing else, is what `code_version` hashes for it. That is why the
imports stand inside the functions.
"""

import argparse
import errno
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from captionrl import __version__
from captionrl.errors import UserError


def corpus(args: argparse.Namespace) -> None:
    from captionrl.datasets.prepare import describe, prepare
    from captionrl.datasets.read import read_corpus

    read = read_corpus(args.name, args.raw)
    metadata = prepare(read, args.out, args.min_count) if args.out else describe(read, args.min_count)
    if args.json:
        print(json.dumps(metadata, indent=1, ensure_ascii=False))
    else:
        print(f"{metadata['name']}: {metadata['origin']}")
        for split, numbers in metadata["splits"].items():
            print(
                f"  {split:5} {numbers['items']:>6} items {numbers['captions']:>7} captions "
                f"{numbers['mean_length']:6.2f} words each, ids {numbers['split_hash'][:12]}"
            )
        print(f"  vocabulary of {metadata['vocabulary']} words seen at least {metadata['min_count']} times in train")


def segment(args: argparse.Namespace) -> None:
    from captionrl.datasets.prepared import load_captions
    from captionrl.datasets.segment import segment
    from captionrl.datasets.segments import write_segments

    tokens = load_captions(args.captions).tokens
    segmented = segment(tokens, args.backend, corenlp=args.corenlp, workers=args.workers, state=args.state / "segments")
    write_segments(args.out, segmented)


def world(args: argparse.Namespace) -> None:
    from captionrl.datasets.mini.write import write_world
    from captionrl.files import write_json
    from captionrl.provenance import code_version

    files = write_world(args.name, args.raw, version=code_version("world"), workers=args.workers)
    write_json(args.raw / "raw.json", files)


def require(args: argparse.Namespace) -> None:
    from captionrl.datasets.manifest import require
    from captionrl.datasets.read import read_corpus
    from captionrl.files import write_json

    write_json(args.raw / "raw.json", require(read_corpus(args.name, args.raw), args.raw))


def download(args: argparse.Namespace) -> None:
    from captionrl.datasets.download import fetch
    from captionrl.datasets.manifest import manifest

    wanted = [entry for entry in manifest().get(args.group, []) if args.name in (None, entry.name)]
    if not wanted:
        raise UserError(f"{args.group} {args.name or ''}: not in downloads.yaml; there are {', '.join(manifest())}")
    for entry in wanted:
        print(fetch(entry, args.into))


def backbone(args: argparse.Namespace) -> None:
    from captionrl.config import BackbonePhase
    from captionrl.training.backbone import train_backbone

    train_backbone(args.images, args.out, args.state, phase=BackbonePhase(), seed=0, device=args.device)


def features(args: argparse.Namespace) -> None:
    from captionrl.datasets.coco import read_media
    from captionrl.datasets.manifest import present
    from captionrl.datasets.prepared import load_captions
    from captionrl.device import pick_device
    from captionrl.features.backbones import load_backbone
    from captionrl.features.extract import extract
    from captionrl.features.shipped import shipped_weights
    from captionrl.provenance import code_version

    weights = args.weights or shipped_weights(args.backbone)
    if weights is None:
        raise UserError(f"--weights: the package has none of {args.backbone}; name the file that has")
    if args.images:
        media = read_media(args.images)
        present(media.values(), args.raw)
    else:
        splits = load_captions(args.captions).items.values()
        media = {item.id: item.media for items in splits for item in items if item.media}
    extract(
        [(item, args.raw / path) for item, path in media.items()],
        load_backbone(args.backbone, weights, pick_device(args.device), args.precision),
        args.out,
        args.out.with_suffix(".json"),
        fps=args.fps,
        state=args.state / "features",
        allowed_failures=args.allowed_failures,
        code_version=code_version("features"),
        workers=args.workers,
    )


def frames(args: argparse.Namespace) -> None:
    from captionrl.datasets.prepared import load_captions
    from captionrl.features.extract import extract
    from captionrl.features.frame_sampler import frame_sampler
    from captionrl.provenance import code_version

    splits = load_captions(args.captions).items.values()
    extract(
        [(item.id, args.raw / item.media) for items in splits for item in items if item.media],
        frame_sampler(args.backbone, args.most),
        args.out,
        args.out.with_suffix(".json"),
        fps=args.fps,
        state=args.state / "features",
        allowed_failures=args.allowed_failures,
        code_version=code_version("frames"),
        workers=args.workers,
    )


def attributes(args: argparse.Namespace) -> None:
    from captionrl.datasets.mine import mine
    from captionrl.datasets.prepared import load_captions

    captions, states = load_captions(args.captions), args.state / "attributes"
    mine(captions, args.tagger, args.most, corenlp=args.corenlp, workers=args.workers, states=states).save(args.out)


def annotations(args: argparse.Namespace) -> None:
    from captionrl.features.annotations import write_annotations
    from captionrl.provenance import code_version

    write_annotations(args.captions, args.raw, args.out, fps=args.fps, code_version=code_version("annotations"))


def regions(args: argparse.Namespace) -> None:
    from captionrl.datasets.prepared import load_captions
    from captionrl.features.regions import store_regions
    from captionrl.provenance import code_version

    items = [item.id for items in load_captions(args.captions).items.values() for item in items]
    manifest = args.out.with_suffix(".json")
    store_regions(items, args.source, args.out, manifest, code_version=code_version("regions"))


def train(args: argparse.Namespace) -> None:
    from captionrl.config import load_paper
    from captionrl.training.run import Job, train_phase

    name, run, phase = args.phase
    job = Job(
        run=run,
        phase=phase,
        corpus=args.corpus,
        seed=args.seed,
        captions=args.captions,
        features=args.features,
        segments=args.segments,
        attributes=args.attributes,
        weights=args.weights,
        start=args.start,
        out=args.out,
        state=args.state,
        device=args.device,
        precision=args.precision,
    )
    train_phase(load_paper(args.papers / name, args.scale, args.overrides), job)


def predict(args: argparse.Namespace) -> None:
    from captionrl.evaluation.predict import predict, predict_sets

    if args.set and args.stage is not None:
        raise UserError("--stage: not together with --set, whose captions are the last stage's; leave one of them out")
    if args.look_ahead is not None and (args.set or args.stage is not None):
        raise UserError("--look-ahead: not together with --set or --stage; leave one of them out")
    _as_many(args.checkpoint, out=args.out)
    for checkpoint, out in zip(args.checkpoint, args.out, strict=True):
        files = (checkpoint, args.captions, args.features, out)
        if args.set:
            predict_sets(*files, split=args.split, how=args.set, size=args.size, device=args.device)
        else:
            split, beam, stage, look_ahead, device = args.split, args.beam, args.stage, args.look_ahead, args.device
            predict(*files, split=split, beam=beam, device=device, stage=stage, look_ahead=look_ahead)


def submit(args: argparse.Namespace) -> None:
    from captionrl.evaluation.submit import submit

    submit(args.checkpoint, args.images, args.features, args.out, beam=args.beam, device=args.device)


def caption(args: argparse.Namespace) -> None:
    from captionrl.evaluation.media import load_captioner
    from captionrl.features.video import MediaError
    from captionrl.tables.caption_figure import draw_caption_figure, figure_paths

    pictures = figure_paths(args.files, args.figure) if args.figure else {}
    captioner = load_captioner(args.checkpoint, args.weights, args.device)
    report, failed = [], False
    for file in args.files:
        try:
            found, frames = captioner.caption(file, args.beam)
        except MediaError as error:
            print(f"captionrl caption: {error}", file=sys.stderr)
            failed = True
            continue
        facts = {"caption": " ".join(found.words), "segments": found.segments, "log_probability": found.log_probability}
        report.append({"file": str(file), **facts, "frames": len(frames)})
        if args.figure:
            draw_caption_figure(file, captioner.metadata.fps, found, frames, pictures[file])
        if not args.json:
            print(f"{file}: {found.text}")
    if args.json:
        print(json.dumps(report, indent=1, ensure_ascii=False))
    if failed:
        sys.exit(2)


def evaluate(args: argparse.Namespace) -> None:
    from captionrl.evaluation.score_run import evaluate_predictions

    if bool(args.embedding) != bool(args.features):
        raise UserError("--embedding and --features: one is of no use without the other; give both or none")
    _as_many(args.checkpoint, predictions=args.predictions, out=args.out)
    if args.embedding:
        _as_many(args.checkpoint, embedding=args.embedding)
    evaluate_predictions(
        args.predictions,
        args.checkpoint,
        args.captions,
        args.out,
        split=args.split,
        spice=args.spice,
        reward_models=args.embedding,
        features=args.features,
    )


def boundaries(args: argparse.Namespace) -> None:
    from captionrl.evaluation.boundaries import render, score_boundaries

    report = score_boundaries(args.checkpoint, args.captions, args.segments, args.split)
    print(json.dumps(report, indent=1) if args.json else render(report))


def goals(args: argparse.Namespace) -> None:
    from captionrl.evaluation.goals import goal_scores, render

    report = goal_scores(args.checkpoints, args.captions, args.features, args.split)
    print(json.dumps(report, indent=1) if args.json else render(report))


def retrieval(args: argparse.Namespace) -> None:
    from captionrl.evaluation.retrieval import render, retrieval_scores

    report = retrieval_scores(args.checkpoints, args.captions, args.features, args.split, args.fold)
    print(json.dumps(report, indent=1) if args.json else render(report))


def value(args: argparse.Namespace) -> None:
    from captionrl.evaluation.value import render, value_errors

    report = value_errors(args.checkpoints, args.captions, args.features, args.split)
    print(json.dumps(report, indent=1) if args.json else render(report))


def recognition(args: argparse.Namespace) -> None:
    from captionrl.evaluation.recognition import recognition_scores, render

    files = (args.attributes, args.captions, args.features)
    report = recognition_scores(args.checkpoints, *files, args.split, args.device)
    print(json.dumps(report, indent=1) if args.json else render(report))


def table(args: argparse.Namespace) -> None:
    from captionrl.config import load_paper
    from captionrl.files import read_json
    from captionrl.tables.table import build, write

    name, table = args.table
    scores: dict[str, list[Path]] = {}
    for path in args.scores:  # …/<run>/seed<k>.json
        scores.setdefault(path.parent.name, []).append(path)
    paper = load_paper(args.papers / name, args.scale, args.overrides)
    write(*build(paper, table, args.scale, read_json(args.metadata)["origin"], scores), args.out)


def leaderboard(args: argparse.Namespace) -> None:
    from captionrl.config import load_paper
    from captionrl.tables.leaderboard import write

    name, leaderboard = args.leaderboard
    write(load_paper(args.papers / name, args.scale, args.overrides), leaderboard, args.scale, args.out)


def metrics(args: argparse.Namespace) -> None:
    from captionrl.config import load_paper
    from captionrl.tables.metrics import write_metrics

    paper = load_paper(args.papers / args.paper, args.scale, args.overrides)
    write_metrics(paper, args.tables, args.curves, args.out)


def figures(args: argparse.Namespace) -> None:
    from captionrl.config import load_paper
    from captionrl.tables.examples import Sources, by_captioner, by_system
    from captionrl.tables.figures import draw_figures

    paper = load_paper(args.papers / args.paper, args.scale, args.overrides)
    sources = Sources(by_captioner(args.checkpoints), by_system(args.predictions), args.work, args.raw, args.device)
    for path in draw_figures(paper, args.scale, args.curves, args.tables, sources, args.out):
        print(path)


def score(args: argparse.Namespace) -> None:
    from captionrl.evaluation.command import render, score_files

    report = score_files(args.references, args.hypotheses, args.items)
    print(json.dumps(report, indent=1) if args.json else render(report))


def state(args: argparse.Namespace) -> None:
    from captionrl.state import list_states, prune_states

    rows = list_states(args.state) if args.what == "list" else prune_states(args.state, args.days)
    for row in rows:
        holder = f"  ({row['holder']} is at it)" if row["holder"] else ""
        print(f"{row['directory']}  {row['bytes'] / 2**20:8.1f} MiB  {row['days']:6.1f} days  {row['title']}{holder}")
    print(f"{len(rows)} {'kept' if args.what == 'list' else 'deleted'}")


def schema(args: argparse.Namespace) -> None:
    from captionrl.config import Paper, Params
    from captionrl.files import write_json

    for model in (Params, Paper):
        write_json(args.out / f"{model.__name__.lower()}.schema.json", model.model_json_schema())


def publish(args: argparse.Namespace) -> None:
    from captionrl.tables.publish import publish

    for path in publish(args.results, args.out, args.readme):
        print(path)


def main() -> None:
    args = parser().parse_args()
    try:
        args.function(args)
    except UserError as error:
        print(f"captionrl {args.command}: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # no space, no permission: the system's own words, and the file's name
        fix = "; make room and run the same command again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        where = f"{error.filename}: " if error.filename else ""
        print(f"captionrl {args.command}: {where}{error.strerror or error}{fix}", file=sys.stderr)
        sys.exit(1)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser("captionrl", description="Captioning with reinforcement learning, step by step.")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(function: Callable[[argparse.Namespace], None], what: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(function.__name__, help=what, description=what)
        sub.set_defaults(function=function)
        return sub

    def paths(sub: argparse.ArgumentParser, **names: str) -> None:
        for name, what in names.items():
            sub.add_argument(f"--{name}", type=Path, required=True, help=what)

    def files(sub: argparse.ArgumentParser, **names: str) -> None:
        for name, what in names.items():
            sub.add_argument(f"--{name}", type=Path, nargs="+", required=True, help=what)

    def common(sub: argparse.ArgumentParser, *names: str) -> None:
        if "device" in names:
            sub.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
        if "state" in names:
            sub.add_argument("--state", type=Path, default=Path("work/state"), help="where unfinished work is kept")
        if "paper" in names:
            sub.add_argument("--papers", type=Path, default=Path("papers"), help="the directory of the papers' YAML")
            sub.add_argument("--scale", choices=("mini", "paper"), required=True)
            sub.add_argument("--overrides", type=_mapping, default=None, help="JSON laid over the paper's YAML")

    sub = command(corpus, "read a corpus and print what was read; with --out, prepare it for training")
    sub.add_argument("name", help="charades, coco, flickr8k, msrvtt, msvd, tgif, or one of these with -mini")
    paths(sub, raw="the directory of the data set's own files")
    sub.add_argument("--out", type=Path, help="write captions, vocabulary, split lists and card here")
    sub.add_argument("--min-count", type=_positive, default=1, help="a word rarer than this in train is <unk>")
    sub.add_argument("--json", action="store_true", help="print JSON")

    sub = command(segment, "cut every caption of a prepared corpus into chunks")
    paths(sub, captions="a prepared corpus", out="the segments (.parquet); .json comes beside it")
    sub.add_argument("--backend", choices=("corenlp", "grammar", "shallow"), required=True)
    sub.add_argument("--corenlp", type=Path, help="backend corenlp: the zip file of Stanford CoreNLP")
    sub.add_argument("--workers", type=_positive, default=1, help="backend corenlp: parses at a time")
    common(sub, "state")

    sub = command(world, "render a mini data set in a real one's format")
    sub.add_argument("name", help="msrvtt-mini, charades-mini, coco-mini, tgif-mini or imagenet-mini")
    paths(sub, raw="where to write it")
    sub.add_argument("--workers", type=_positive, default=1, help="processes")

    sub = command(require, "check that a data set's own files are all there")
    sub.add_argument("name", help="charades, coco, flickr8k, msrvtt or tgif")
    paths(sub, raw="where they should be")

    sub = command(download, "fetch files of downloads.yaml, checked by their checksums")
    sub.add_argument("group", help="a group of downloads.yaml, such as weights")
    sub.add_argument("name", nargs="?", help="one file of the group; all of them without it")
    paths(sub, into="the directory to put them into")

    sub = command(backbone, "train the mini backbone on labelled stills")
    paths(sub, images="images.npz of imagenet-mini", out="the weights")
    common(sub, "device", "state")

    sub = command(features, "extract the features of every item's frames into a store")
    sub.add_argument("--backbone", required=True, help="resnet152, resnet101-grid, vgg16, mini or mini-grid")
    paths(sub, raw="the data set's files", out="the store (.h5)")
    sub.add_argument("--weights", type=Path, help="its weights; of mini and mini-grid, else, those of the package")
    items = sub.add_mutually_exclusive_group(required=True)
    items.add_argument("--captions", type=Path, help="its prepared captions: whose items")
    items.add_argument("--images", type=Path, help="a COCO file of 2014: the images it lists, with captions or without")
    sub.add_argument("--fps", type=float, default=3.0, help="frames a second")
    sub.add_argument("--allowed-failures", type=int, default=0, help="how many broken videos may be left out")
    sub.add_argument("--workers", type=_positive, default=1, help="decoding threads")
    what = "of the backbone's arithmetic (default: %(default)s)"
    sub.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help=what)
    common(sub, "device", "state")

    sub = command(frames, "keep a few frames of every item, as a backbone that is to be trained sees them")
    sub.add_argument("--backbone", required=True, help="inception-resnet-v2-frames or mini-frames")
    paths(sub, raw="the data set's files", captions="its prepared captions: whose items", out="the store (.h5)")
    sub.add_argument("--most", type=_positive, default=5, help="frames of an item (default: %(default)s)")
    sub.add_argument("--fps", type=float, default=3.0, help="frames a second that these are taken from")
    sub.add_argument("--allowed-failures", type=int, default=0, help="how many broken videos may be left out")
    sub.add_argument("--workers", type=_positive, default=1, help="decoding threads")
    common(sub, "state")

    sub = command(attributes, "list the most frequent nouns, verbs and adjectives of a corpus' training captions")
    paths(sub, captions="a prepared corpus", out="the list (.tsv)")
    sub.add_argument("--tagger", choices=("corenlp", "dictionary"), required=True)
    sub.add_argument("--most", type=_positive, default=400, help="attributes (default: %(default)s)")
    sub.add_argument("--corenlp", type=Path, help="for corenlp: its distribution, a folder or a zip")
    sub.add_argument("--workers", type=_positive, default=1, help="for corenlp: captions at a time")
    common(sub, "state")

    sub = command(annotations, "make features from Charades' annotation: ground truth in place of pixels")
    paths(sub, raw="the data set's files", captions="its prepared captions", out="the store (.h5)")
    sub.add_argument("--fps", type=float, default=3.0, help="steps a second")

    sub = command(regions, "make a feature store of region features that you have (Bottom-Up attention)")
    paths(sub, source="a folder of .npz files, or .tsv files", captions="a prepared corpus", out="the store (.h5)")

    sub = command(train, "train one phase of one run")
    sub.add_argument("phase", type=_parts(3), help="PAPER/RUN/PHASE, such as hrl/xe-baseline/xe")
    sub.add_argument("--corpus", required=True)
    sub.add_argument("--seed", type=int, required=True)
    paths(sub, captions="a prepared corpus", out="the checkpoint (.safetensors)")
    sub.add_argument("--features", type=Path, help="its feature store; HRL's critic needs none")
    sub.add_argument("--segments", type=Path, help="its captions' segments, for HRL's critic")
    sub.add_argument("--attributes", type=Path, help="its attributes (.tsv), for a phase that teaches to tell them")
    what = "of a CNN in the captioner, without --start: its weights; without both the package's, of mini"
    sub.add_argument("--weights", type=Path, help=what)
    sub.add_argument("--start", type=Path, help="the checkpoint to start from")
    what = "that losses are computed in (default: %(default)s)"
    sub.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help=what)
    common(sub, "paper", "device", "state")

    sub = command(predict, "caption a split by beam search, or write sets of captions")
    files(sub, checkpoint="of a trained run; several: its seeds", out="{item: caption}; one a checkpoint")
    paths(sub, captions="a prepared corpus", features="its store")
    how = "write {item: [captions]}: sampled at random (sample), or all that a beam as wide finds (beam-set)"
    sub.add_argument("--set", choices=("sample", "beam-set"), help=how)
    sub.add_argument("--size", type=_positive, default=5, help="captions a set (default: %(default)s)")
    sub.add_argument("--split", choices=("train", "val", "test"), default="test")
    sub.add_argument("--beam", type=_positive, default=5, help="width, without --set (default: %(default)s)")
    sub.add_argument("--stage", type=int, help="Stack-Cap: whose words, if not the last one's; 0 is the coarse one")
    what = (
        "look ahead with the value network: the log-probability's weight in the beam's scores, the rest is the value's"
    )
    sub.add_argument("--look-ahead", type=_share, metavar="WEIGHT", help=what)
    common(sub, "device")

    sub = command(submit, "caption the images that COCO's evaluation server scores, in its format")
    paths(
        sub,
        checkpoint="of a trained run",
        images="image_info_test2014.json or captions_val2014.json",
        features="a store of all these images",
        out="captions_PART_ALG_results.json, such as captions_test2014_stackcap_results.json",
    )
    sub.add_argument("--beam", type=_positive, default=5, help="width (default: %(default)s)")
    common(sub, "device")

    sub = command(caption, "caption videos, GIFs or images with a trained checkpoint")
    sub.add_argument("checkpoint", type=Path, help="of a trained run")
    sub.add_argument("files", type=Path, nargs="+", metavar="FILE", help="a video, GIF or image")
    sub.add_argument("--beam", type=_positive, default=5, help="width")
    sub.add_argument("--json", action="store_true", help="print JSON")
    sub.add_argument("--figure", type=Path, metavar="DIR", help="draw caption and attention of FILE as DIR/<stem>.png")
    sub.add_argument("--weights", type=Path, help="the backbone's weights, where they are not the pipeline's own")
    common(sub, "device")

    sub = command(evaluate, "score a run's predictions, for a table")
    files(sub, predictions="of a run; several: its seeds", checkpoint="they came from", out="the scores")
    paths(sub, captions="a prepared corpus")
    sub.add_argument("--spice", type=Path, help="score SPICE too: Stanford CoreNLP 3.6.0, which it parses with")
    what = "score Embedding too: the checkpoint, one a prediction, whose embedding scores captions; with --features"
    sub.add_argument("--embedding", type=Path, nargs="+", default=[], help=what)
    sub.add_argument("--features", type=Path, help="the store of the features that the reward model was trained on")
    sub.add_argument("--split", choices=("train", "val", "test"), default="test")

    sub = command(boundaries, "score HRL's internal critic against the best rule that sees the last word alone")
    paths(sub, checkpoint="of a critic", captions="a prepared corpus", segments="its captions' segments")
    sub.add_argument("--split", choices=("train", "val", "test"), default="val")
    sub.add_argument("--json", action="store_true", help="print JSON")

    sub = command(goals, "score HRL with its own goals, with other clips' and with none")
    sub.add_argument("checkpoints", type=Path, nargs="+", help="of one hrl run, a seed each")
    paths(sub, captions="a prepared corpus", features="its feature store")
    sub.add_argument("--split", choices=("train", "val", "test"), default="test")
    sub.add_argument("--json", action="store_true", help="print JSON")

    sub = command(retrieval, "score an embedding: captions find their pictures, pictures their captions")
    sub.add_argument("checkpoints", type=Path, nargs="+", help="of one run of actor-critic, a seed each")
    paths(sub, captions="a prepared corpus", features="its feature store")
    sub.add_argument("--split", choices=("train", "val", "test"), default="test")
    what = "pictures among which one is looked for (default: %(default)s)"
    sub.add_argument("--fold", type=_positive, default=100, help=what)
    sub.add_argument("--json", action="store_true", help="print JSON")

    sub = command(value, "score a value network on beginnings of its own policy's captions")
    sub.add_argument("checkpoints", type=Path, nargs="+", help="of one run of actor-critic, a seed each")
    paths(sub, captions="a prepared corpus", features="its feature store")
    sub.add_argument("--split", choices=("train", "val", "test"), default="test")
    sub.add_argument("--json", action="store_true", help="print JSON")

    sub = command(recognition, "score how well a captioner with a CNN of its own tells attributes")
    sub.add_argument("checkpoints", type=Path, nargs="+", help="of one run of e2e, a seed each")
    paths(sub, attributes="the list it was taught", captions="a prepared corpus", features="its frame store")
    sub.add_argument("--split", choices=("train", "val", "test"), default="test")
    sub.add_argument("--json", action="store_true", help="print JSON")
    common(sub, "device")

    sub = command(table, "build a paper's table from score files")
    sub.add_argument("table", type=_parts(2), help="PAPER/TABLE, such as hrl/table1")
    paths(sub, metadata="the corpus card", out="the table (.csv); .md, .tex and .cells.jsonl come beside it")
    sub.add_argument("--scores", type=Path, nargs="+", required=True, help="…/RUN/seedK.json")
    common(sub, "paper")

    sub = command(leaderboard, "write a paper's leaderboard of a server: the cited numbers, and what to upload")
    sub.add_argument("leaderboard", type=_parts(2), help="PAPER/TABLE, such as stackcap/table4")
    paths(sub, out="the table (.csv); .md and .tex come beside it")
    common(sub, "paper")

    sub = command(metrics, "gather a paper's numbers and learning curves for DVC")
    sub.add_argument("paper", metavar="PAPER", help="such as hrl")
    paths(sub, out="the numbers (.json); curves/CORPUS-RUN.csv come beside it")
    sub.add_argument("--tables", type=Path, nargs="+", required=True, help="the paper's tables (.csv)")
    sub.add_argument("--curves", type=Path, nargs="*", default=[], help="…/CORPUS/PAPER/RUN/PHASE/seedK.csv")
    common(sub, "paper")

    sub = command(figures, "draw a paper's figures, and a page that shows them all")
    sub.add_argument("paper", metavar="PAPER", help="such as hrl")
    paths(sub, out="the directory of the pictures and of figures.html")
    sub.add_argument("--checkpoints", type=Path, nargs="*", default=[], help="of the runs that caption examples")
    sub.add_argument("--curves", type=Path, nargs="*", default=[], help="…/CORPUS/PAPER/RUN/PHASE/seedK.csv")
    what = "…/CORPUS/predictions/PAPER/SYSTEM/seedK.json, of systems that are shown as they were predicted"
    sub.add_argument("--predictions", type=Path, nargs="*", default=[], help=what)
    sub.add_argument("--tables", type=Path, nargs="*", default=[], help="…/TABLE.csv, of which numbers are drawn")
    sub.add_argument("--work", type=Path, default=Path("work"), help="holds CORPUS/captions and CORPUS/features")
    sub.add_argument("--raw", type=Path, default=Path("data"), help="holds CORPUS/: the data sets' own files")
    common(sub, "paper", "device")

    sub = command(score, "score any model's captions against references")
    paths(sub, references="COCO captions, or {id: [captions]}", hypotheses="COCO results, or {id: caption}")
    sub.add_argument("--items", action="store_true", help="with --json: each item's own scores too")
    sub.add_argument("--json", action="store_true", help="print JSON")

    sub = command(state, "show or delete the saved states of trainings")
    sub.add_argument("what", choices=("list", "prune"))
    sub.add_argument("--days", type=float, default=30, help="prune: those untouched for this long")
    common(sub, "state")

    sub = command(schema, "write the JSON schemas of params.yaml and papers/*.yaml")
    paths(sub, out="the directory")

    sub = command(publish, "copy tables and figures into docs and README")
    paths(sub, results="such as results/mini", out="such as docs/results/mini", readme="whose tables to refresh")
    return top


def _as_many(checkpoints: Sequence[Path], **options: Sequence[Path]) -> None:
    """Raise UserError unless each of `options` has as many files as there are checkpoints."""
    for name, files in options.items():
        if len(files) != len(checkpoints):
            raise UserError(f"--{name}: {len(files)} files for {len(checkpoints)} of --checkpoint; give one for each")


def _parts(number: int) -> Callable[[str], tuple[str, ...]]:
    def split(text: str) -> tuple[str, ...]:
        parts = tuple(text.split("/"))
        if len(parts) != number:
            raise argparse.ArgumentTypeError(f"{text!r} needs {number} names with / between them")
        return parts

    return split


def _mapping(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON ({error.msg})") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON object")
    return value


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return share


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive whole number")
    return int(text)
