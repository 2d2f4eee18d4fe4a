"""From the frames of media files to a store: what the commands features and frames share."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from captionrl.datasets.prepared import load_captions
from captionrl.errors import UserError
from captionrl.features.extract import Extractor, extract
from captionrl.features.weights import spec_of
from captionrl.provenance import code_version


def media_of(captions: Path, allowed_failures: int) -> dict[str, str]:
    """{id: media file relative to the raw directory} of the items of a prepared corpus that have one.

    Raises UserError where more than `allowed_failures` have none.
    """
    items = [item for items in load_captions(captions).items.values() for item in items]
    none = [item.id for item in items if not item.media]
    if len(none) > allowed_failures:
        what = f"{len(none)} of {len(items)} items have no media to make features of (such as {none[0]!r})"
        raise UserError(f"{captions}: {what}; name their files, take them out, or allow as many failures")
    return {item.id: item.media for item in items if item.media}


def extract_media(args: Namespace, media: Mapping[str, str], extractor: Extractor) -> None:
    """Write what `extractor` makes of the frames of `media` {id: file relative to args.raw} to the store args.out."""
    extract(
        [(item, args.raw / path) for item, path in media.items()],
        extractor,
        args.out,
        args.out.with_suffix(".json"),
        fps=args.fps,
        state=args.state / "features",
        allowed_failures=args.allowed_failures,
        code_version=code_version(args.command, spec_of(args.backbone).loader),
        workers=args.workers,
    )
