"""MSVD (Chen and Dolan, ACL 2011): 1,970 short clips of YouTube videos, some forty English captions each.

`AllVideoDescriptions.txt` holds lines CLIP CAPTION, and comments behind #. The split that everybody reports, 1,200, 100
and 670 clips, is that of S2VT (Venugopalan et al. 2015): its `youtube_mapping.txt` holds lines CLIP vidN, and N says
which part a clip is in. A clip's id is its file's name without `.avi`: YouTube's id, first and last second.
"""

import re
from pathlib import Path

from captionrl.datasets.corpus import Corpus, Item
from captionrl.datasets.formats import MSVD_CAPTIONS, MSVD_FOLDER, MSVD_LAST, MSVD_MAPPING
from captionrl.datasets.manifest import annotation
from captionrl.datasets.records import lines, plain_name
from captionrl.errors import UserError


def read(name: str, raw: Path) -> Corpus:
    """Read caption list and mapping. Items stand in the order of their numbers; repeated captions stay."""
    captions = _captions(annotation(raw, MSVD_CAPTIONS), str(raw / MSVD_CAPTIONS))
    place = str(raw / MSVD_MAPPING)
    numbered: dict[int, tuple[str, str]] = {}  # clip and place by number
    for at, line in lines(annotation(raw, MSVD_MAPPING), place):
        match = re.fullmatch(r"(\S+)\s+vid(\d{1,9})", line)
        number = int(match[2]) if match else 0
        if match is None or not 1 <= number <= MSVD_LAST["test"]:
            raise UserError(f"{at}: {line[:80]!r}; must be CLIP vidN, N from 1 to {MSVD_LAST['test']}; fix the line")
        if number in numbered:
            raise UserError(f"{at}: vid{number} is listed already ({numbered[number][1]}); keep one")
        numbered[number] = (plain_name(match[1], at), at)
    items: list[Item] = []
    for number, (clip, at) in sorted(numbered.items()):
        if clip not in captions:
            raise UserError(f"{at}: {clip} has no caption in {MSVD_CAPTIONS}; caption it or take it from the list")
        split = next(part for part, last in MSVD_LAST.items() if number <= last)
        items.append(Item(clip, split, f"{MSVD_FOLDER}/{clip}.avi"))
    kept = {item.id: captions[item.id] for item in items}
    left_out = f"{len(captions) - len(items)} clips in no list left out"
    origin = f"{MSVD_CAPTIONS}, split by the numbers of {MSVD_MAPPING}; {left_out}"
    return Corpus(name, items, kept, origin, (MSVD_CAPTIONS, MSVD_MAPPING))


def _captions(data: bytes, place: str) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = {}
    for at, line in lines(data, place):
        if line.startswith("#"):
            continue
        clip, _, caption = line.partition(" ")
        if not caption.strip():
            raise UserError(f"{at}: {line[:80]!r}; must be CLIP CAPTION; fix the line")
        captions.setdefault(clip, []).append(caption.strip())
    return captions
