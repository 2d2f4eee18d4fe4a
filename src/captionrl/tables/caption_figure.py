"""A picture of one captioned file: its frames, the caption, and where the captioner looked while it wrote it."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from captionrl.errors import UserError
from captionrl.evaluation.describe import Description
from captionrl.features.store import sample_uniformly
from captionrl.files import LONGEST_NAME
from captionrl.tables.drawing import (
    MARGIN,
    WIDTH,
    Sheet,
    coloured,
    film_strip,
    plain,
    read_frames,
    segment_cells,
    word_rows,
)

FRAMES = 8  # shown of a clip
SUFFIX = ".caption.png"
LEFT = 1.1  # room for the words beside their attention


def figure_paths(files: Sequence[Path], directory: Path) -> dict[Path, Path]:
    """Where the picture of each file goes: DIRECTORY/<stem>.caption.png, which no two files may share; a stem that is
    too long for that is cut.

    Raises UserError where they would, where it is one of the files or none that can be replaced, and where `directory`
    is none.
    """
    if directory.exists() and not directory.is_dir():
        raise UserError(f"--figure: {directory} is no directory; give one")
    paths = {file: directory / (_cut(file.stem, LONGEST_NAME - len(SUFFIX)) + SUFFIX) for file in files}
    owners: dict[Path, Path] = {}
    read = {(fact.st_dev, fact.st_ino) for fact in map(os.stat, filter(os.path.exists, files))}
    for file, path in paths.items():
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: is no regular file, and would be replaced; give --figure another directory")
        if path.exists() and (path.stat().st_dev, path.stat().st_ino) in read:
            raise UserError(f"{path}: would be replaced by the picture of {file}; give --figure another directory")
        if owners.setdefault(path, file) != file:
            raise UserError(f"{path}: would show both {owners[path]} and {file}; caption them in two calls")
    return paths


def _cut(name: str, most: int) -> str:
    """Its beginning of at most `most` bytes."""
    data = os.fsencode(name)
    return name if len(data) <= most else data[:most].decode("utf-8", "ignore")


def draw_caption_figure(media: Path, fps: float, found: Description, numbers: np.ndarray, out: Path) -> None:
    """Draw the caption `found` for `media` from its sampled frames numbered `numbers` [N] (frame k at k / fps s)."""
    found = found.over_frames(len(numbers))
    chosen = sample_uniformly(numbers, FRAMES).tolist()
    weights = found.segment_attention() if len(numbers) > 1 else None  # a single frame leaves no choice
    keys = [] if weights is None else [int(numbers[peak]) for peak in weights.argmax(1)]
    frames = read_frames(media, fps, [*chosen, *keys])
    sheet = Sheet()
    left = LEFT if weights is not None and found.segments is None else MARGIN
    width = min(WIDTH - MARGIN - left, 4 * len(chosen))  # a still image need not fill the sheet
    y = sheet.title(media.name)
    y = sheet.text(coloured(found), MARGIN, y + 0.04, WIDTH - 2 * MARGIN, 10)
    y = film_strip(sheet, frames, chosen, fps, left, y + 0.1, width)
    if weights is not None and len(weights):
        if found.segments is None:
            word_rows(sheet, found, width, left, y + 0.05)
        else:
            what = plain("Each segment: its key frame, its words, its attention over time (dashed: the manager's)")
            y = sheet.text(what, MARGIN, y + 0.1, WIDTH - 2 * MARGIN)
            segment_cells(sheet, found, numbers, frames, fps, y + 0.05)
    sheet.save(out)
