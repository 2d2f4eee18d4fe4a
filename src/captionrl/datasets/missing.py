"""What a raw directory lacks of the files in downloads.yaml, in words: for Snakemake's messages, not for a command."""

from pathlib import Path

from captionrl.datasets import coco
from captionrl.datasets.manifest import Entry, manifest, source


def missing_files(name: str, raw: Path) -> list[str]:
    """A line for each file, or folder of media, that a corpus has in downloads.yaml and `raw` has not.

    Which it is, what serves as well, what it holds and where it comes from. Whether all that is in a file or folder is
    right says `captionrl check-data`.
    """
    entries = manifest().get(name, [])
    if name == "coco":
        entries = _of_one_split(raw)
    elif name == "coco-82k":
        entries, _ = _splits()
    return [_line(entry, raw) for entry in entries if not _is_there(entry, raw)]


def _splits() -> tuple[list[Entry], list[Entry]]:
    """COCO's two sets of files: Karpathy's split with the images of 2014, COCO's own with those of 2017."""
    plain, entries = {coco.PARTS_ARCHIVE, *(f"{part}/" for part in coco.PARTS)}, manifest()["coco"]
    return [entry for entry in entries if entry.into not in plain], [entry for entry in entries if entry.into in plain]


def _of_one_split(raw: Path) -> list[Entry]:
    """Of these two, one of which suffices, the one that `coco.read` would read."""
    karpathy, others = _splits()
    return others if _is_there(others[0], raw) and not _is_there(karpathy[0], raw) else karpathy


def _is_there(entry: Entry, raw: Path) -> bool:
    if entry.into.endswith("/"):
        folder = raw / entry.into
        return folder.is_dir() and any(folder.iterdir())
    return any((raw / path).is_file() for path in (entry.into, *entry.instead))


def _line(entry: Entry, raw: Path) -> str:
    instead = f" (or {', '.join(entry.instead)})" if entry.instead else ""
    return f"{raw}/{entry.into}{instead}: {source(entry.into)}"
