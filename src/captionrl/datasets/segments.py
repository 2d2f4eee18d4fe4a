"""The file that keeps the segments of every caption of a corpus; `segment.py` makes them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from captionrl.datasets.parquet import read_table
from captionrl.errors import UserError
from captionrl.files import atomic, write_json

SCHEMA = pa.schema([("item", pa.string()), ("index", pa.int32()), ("boundary", pa.list_(pa.bool_()))])


@dataclass(frozen=True)
class Segmented:
    """By item the segmentation of each caption, aligned with its tokens; and what made them, for provenance."""

    boundary: dict[str, list[list[bool]]]
    record: dict[str, Any]


def write_segments(path: Path, segmented: Segmented) -> None:
    """Write the segmentations to `path` (parquet) and, last, the record beside it (.json)."""
    rows = [(item, index, row) for item, rows in segmented.boundary.items() for index, row in enumerate(rows)]
    columns = dict(zip(SCHEMA.names, zip(*rows, strict=True), strict=True)) if rows else {n: [] for n in SCHEMA.names}
    with atomic(path) as temporary:
        pq.write_table(pa.table(columns, schema=SCHEMA), temporary, compression="zstd")
    write_json(path.with_suffix(".json"), segmented.record)


def load_segments(path: Path, captions: dict[str, list[list[str]]]) -> dict[str, list[list[bool]]]:
    """Read back what `write_segments` wrote; UserError unless it fits the tokens of `captions` exactly."""
    table = read_table(path, SCHEMA, "segment the corpus again")
    boundary: dict[str, list[list[bool]]] = {}
    for item, index, row in zip(*(table[name].to_pylist() for name in SCHEMA.names), strict=True):
        if index != len(boundary.setdefault(item, [])):
            raise UserError(f"{path}: item {item}: caption {index} is out of order; segment the corpus again")
        boundary[item].append(row)
    if fault := _misfit(boundary, captions):
        raise UserError(f"{path}: {fault}; these are not the captions it was made from: segment the corpus again")
    return {item: boundary[item] for item in captions}


def _misfit(boundary: dict[str, list[list[bool]]], captions: dict[str, list[list[str]]]) -> str | None:
    for item in _different(boundary, captions):
        return f"item {item} is in one of segments and captions only"
    for item, texts in captions.items():
        if len(texts) != len(boundary[item]):
            return f"item {item} has {len(boundary[item])} segmentations for {len(texts)} captions"
        for index, (tokens, row) in enumerate(zip(texts, boundary[item], strict=True)):
            if row is None or len(row) != len(tokens):
                return f"item {item}: caption {index} has {len(row or ())} boundaries for {len(tokens)} tokens"
            if None in row or (row and not row[-1]):
                return f"item {item}: caption {index} does not end with a boundary"
    return None


def _different(one: Iterable[str], other: Iterable[str]) -> list[str]:
    return sorted(set(one) ^ set(other))
