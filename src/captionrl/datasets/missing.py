"""Which of the files in downloads.yaml a raw directory has. Whether they are right says `captionrl check-data`."""

from pathlib import Path

from captionrl.datasets import coco, listed
from captionrl.datasets.manifest import Entry, manifest, origin
from captionrl.datasets.records import has_entries


def entries_of(group: str, raw: Path) -> list[Entry]:
    """The entries of a group, none of one that is not in the manifest; of coco those of the split that is read."""
    return manifest().get("coco-2017" if group == "coco" and coco.is_2017(raw) else group, [])


def is_there(entry: Entry, raw: Path) -> bool:
    """Whether an entry's file or folder, or what serves as well, is there; of listed files all that are not gone."""
    if entry.listed and all((raw / name).is_file() for name in entry.listed):
        return (raw / entry.into).is_dir() and not listed.missing(entry, raw)
    return any(all(_exists(raw / place) for place in files) for files in entry.alternatives)


def _exists(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and has_entries(path))


def line(entry: Entry, raw: Path) -> str:
    """Which file or folder it is, what serves as well, what it holds, its size and where it comes from."""
    ways = [" and ".join(files) for files in entry.alternatives[1:]]
    instead = f" (or {', '.join(ways)})" if ways else ""
    size = f"; {'' if entry.bytes else 'about '}{entry.size:,} bytes" if entry.size else ""
    hand = "; put it there by hand" if entry.by_hand else ""
    return f"{raw}/{entry.into}{instead}: {entry.what}{size}; from: {origin(entry)}{hand}"
