"""Features that a user already has, in other programs' files, as a feature store."""

import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from captionrl.errors import UserError
from captionrl.features.arrays import DAMAGED, FLOATS, Array
from captionrl.features.sources import Found, Open, list_arrays, list_rows, read_table, tables
from captionrl.features.store import FeatureStore, check_item_ids, write_store
from captionrl.files import damage_named, write_json
from captionrl.progress import progress

LARGEST = 2**29  # numbers of an item; 1,000 frames of 14 x 14 cells of 2048 are 4e8


@dataclass(frozen=True)
class Kind:
    """What features are, which their files do not say."""

    backbone: str  # its name
    fps: float = 0.0  # frames a second; 0: not known, or stills
    grid: int = 0  # cells a side, where rows are the cells of each frame
    dim: int | None = None  # numbers a row, if it is known
    weights_sha256: str | None = None  # of the backbone; if nobody knows it, the contents' digest stands for it

    @staticmethod
    def of(store: FeatureStore) -> "Kind":
        """Features by the backbone of a store."""
        backbone, fps, weights = (store.attributes[name] for name in ("backbone", "fps", "weights_sha256"))
        return Kind(str(backbone), float(fps), store.grid, store.dim, str(weights))


def import_features(
    items: Sequence[str],
    source: Path,
    out: Path,
    *,
    kind: Kind,
    code_version: str,
    key: str | None = None,
    by_number: bool = False,
    ids_file: Path | None = None,
    allowed_failures: int = 0,
) -> dict[str, Any]:
    """Write the features of `items` to the store `out`, float16 [rows, dim] each, and its manifest beside it (.json).

    source: of a form that features/sources.py reads. key: what an item's array is called where it has several.
    by_number: items and names find each other by the number at their ends (COCO's). ids_file: the ids of the rows of an
    array, one a line. An item's array is floats [dim] or [rows, dim], of a grid also [(frames,) grid, grid, dim]; one
    at a time is in memory.

    Prints how many names are no item's. Returns the manifest. Raises UserError, and writes nothing, where more than
    `allowed_failures` items have no features, and for what is malformed.
    """
    check_item_ids(items)
    if not 0 <= kind.fps < math.inf:
        raise UserError(f"--fps: {kind.fps}; give a number of frames a second, or 0")
    if source.resolve() in (out.resolve(), *out.resolve().parents):
        raise UserError(f"{out}: would be written into {source}, the features that are read; name another place")
    found = Found(items, source, by_number)
    with ExitStack() as stack:
        arrays = _read(found, ids_file, key, kind, allowed_failures, stack)
        first = next(arrays)
        attributes = {
            "backbone": kind.backbone,
            "fps": kind.fps,
            "transform": "the user's own",
            "code_version": code_version,
            "dim": first[1].shape[1],
            "grid": kind.grid,
            **({"weights_sha256": kind.weights_sha256} if kind.weights_sha256 else {}),
        }
        summary = write_store(out, itertools.chain([first], arrays), attributes)
    if found.others:
        print(f"{source}: {found.others} names are no item's and left out, such as {found.other!r}", file=sys.stderr)
    summary["failures"] = dict.fromkeys(found.missing(), "not among the imported features")
    write_json(out.with_suffix(".json"), summary)
    return summary


def _read(
    found: Found, ids_file: Path | None, key: str | None, kind: Kind, allowed: int, stack: ExitStack
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (item, float16 [rows, dim]) of the items that have features: in their order, or in that of tsv files."""
    source, dim = found.source, kind.dim
    if not source.exists():
        raise UserError(f"{source}: no such file or folder; name that of your features")
    opened: Iterator[tuple[str, Open]]
    if parts := tables(source):
        opened = itertools.chain.from_iterable(read_table(found, path) for path in parts)
    else:
        with damage_named(source, *DAMAGED):
            arrays = list_rows(found, ids_file, key, stack) if ids_file else dict(list_arrays(found, key, stack))
        found.complain(allowed)
        opened = ((item, arrays[item]) for item in found.items if item in arrays)
    with progress(total=len(found.items), title="features", unit="item") as bar:
        for item, open_array in opened:
            place = found.places[item]
            with damage_named(place, *DAMAGED), open_array() as array:
                numbers = _checked(array, place, dim, kind.grid)
            dim = numbers.shape[1]
            yield item, numbers
            bar.update()
    found.complain(allowed)


def _checked(array: Array, place: str, dim: int | None, grid: int) -> np.ndarray:
    """float16 [rows, dim]; what an array claims to be is looked at before it is read."""
    shape, cells = array.shape, max(1, grid**2)
    is_grid = grid > 0 and len(shape) in (3, 4) and shape[-3:-1] == (grid, grid)
    if array.dtype not in FLOATS.values() or not (len(shape) in (1, 2) or is_grid) or 0 in shape:
        forms = f"[(frames,) {grid}, {grid}, dim] or [frames * {cells}, dim]" if grid else "[dim] or [rows, dim]"
        raise UserError(f"{place}: {array.dtype} {list(shape)}; features must be floats {forms}")
    rows = math.prod(shape[:-1])
    if rows % cells:
        raise UserError(f"{place}: {rows} rows, which are no whole frames of {grid} x {grid} cells; correct --grid")
    if dim not in (None, shape[-1]):
        raise UserError(f"{place}: {shape[-1]} numbers a row, but others have {dim}; take one extractor's")
    if math.prod(shape) > LARGEST:
        raise UserError(f"{place}: {list(shape)}, more than {LARGEST} numbers for one item; sample fewer frames")
    given = array.load(...).reshape(rows, shape[-1])
    with np.errstate(over="ignore"):
        numbers = given.astype(np.float16)
    if not np.isfinite(numbers).all():
        raise UserError(f"{place}: not finite, or beyond float16 (65504); extract it again")
    if given.any() and not numbers.any():
        raise UserError(f"{place}: all its numbers are too small for float16 (6e-8); scale them")
    return numbers
