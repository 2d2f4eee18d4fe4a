"""From media files to a feature store, in shards, so that a killed extraction goes on where it was.

Threads decode (PyAV releases the GIL) while this thread runs the backbone on a GPU; on a CPU they run that too, each on
a core of its own, so that all cores work whichever of both takes longer. Every `shard_items` items become one file
in `state/<fingerprint>/`, renamed into place when whole; at the end they are joined. The fingerprint covers all that
decides the features but the media files themselves, whose size and time of change each shard records, item by item.
So nobody resumes into another run's shards, and a clip that was replaced is extracted anew. Told to stop (TERM, INT),
it keeps every finished item; killed, every finished shard.
"""

import json
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
import torch

from captionrl.errors import UserError
from captionrl.features.image import MediaError
from captionrl.features.resize import Resize
from captionrl.features.store import DAMAGED, FeatureStore, check_item_ids, write_store
from captionrl.features.video import read_clip
from captionrl.files import damage_named, fingerprint, sweep, write_json
from captionrl.interrupt import Interrupted, stop_flag
from captionrl.progress import progress
from captionrl.state import open_state


class Extractor(Protocol):
    """What makes rows of frames: a `Backbone` features, a `FrameKeeper` JPEGs."""

    @property
    def name(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def grid(self) -> int: ...
    @property
    def resize(self) -> Resize: ...
    @property
    def weights_sha256(self) -> str: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def transform(self) -> str: ...
    def forward(self, frames: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
        """Rows of a clip's samples [N], on the CPU: sample n shows frame shown[n] of uint8 [M, H, W, 3]."""


Item = tuple[str, Path]  # id, media file
Features = torch.Tensor  # [frames, dim]
Clip = tuple[torch.Tensor, torch.Tensor]  # of `read_clip`
SHOWN = 20  # failures printed one by one; beyond that a count
AHEAD = 8  # clips a worker that may wait, decoded, for their turn: a long one must not leave the others idle


def extract(
    items: Sequence[Item],
    backbone: Extractor,
    out: Path,
    manifest: Path,
    *,
    state: Path,
    code_version: str,
    fps: float = 3.0,
    shard_items: int = 64,
    allowed_failures: int = 0,
    workers: int | None = None,
) -> dict[str, Any]:
    """Write the features of all items to the store `out`, and a summary with a digest of them to `manifest`.

    A clip that cannot be read stops no other. When all have been tried, more than `allowed_failures` of them are a
    UserError that lists the causes, and the next call tries only those again; fewer are left out of the store and
    listed in the manifest (which is returned). `workers` decoding threads; by default one for each usable core.
    """
    check_item_ids(item for item, _ in items)
    attributes = {
        "backbone": backbone.name,
        "weights_sha256": backbone.weights_sha256,
        "fps": fps,
        "transform": backbone.transform,
        "code_version": code_version,
        "dim": backbone.dim,
        "grid": backbone.grid,
    }
    identity = {
        **attributes,
        "device": backbone.device.type,
        "torch": torch.__version__,
        "shard_items": shard_items,
        "items": fingerprint([item for item, _ in items]),
    }
    with open_state(state, identity, f"{backbone.name} features of {len(items)} items") as directory:
        sweep(directory)
        shards = [
            Shard(directory / f"shard-{start // shard_items:05d}.h5", items[start : start + shard_items])
            for start in range(0, len(items), shard_items)
        ]
        with _one_core_a_thread():
            _fill(shards, backbone, fps, attributes, workers or len(os.sched_getaffinity(0)))
        failures = {item: cause for shard in shards for item, cause in shard.failures.items()}
        if len(failures) > allowed_failures:
            fix = "repair or fetch their files and run again, the others are kept"
            raise UserError(*complaint(failures, len(items), allowed_failures, fix))
        for path in (out, manifest):
            sweep(out.parent, path.name)
        summary = write_store(out, (pair for shard in shards for pair in shard.read()), attributes)
        summary["failures"] = failures
        write_json(manifest, summary)
    return summary


def complaint(failures: Mapping[str, str], items: int, allowed: int, fix: str) -> list[str]:
    """Too many of `items` items failed: which {item: cause}, and what to do."""
    lines = [f"  {item}: {cause}" for item, cause in islice(failures.items(), SHOWN)]
    if len(failures) > SHOWN:
        lines.append(f"  ... and {len(failures) - SHOWN} more")
    return [f"{len(failures)} of {items} items have no features ({allowed} may fail); {fix}:", *lines]


class Shard:
    """Some consecutive items, and the file of the features that are known of them."""

    def __init__(self, path: Path, items: Sequence[Item]):
        self.path, self.items = path, items
        self.stamps = {item: _stamp(media) for item, media in items}
        self.failures: dict[str, str] = {}  # item -> cause
        kept: set[str] = set()
        if path.exists():
            with damage_named(path, *DAMAGED), h5py.File(path, "r") as file:
                stamps = json.loads(file.attrs["stamps"])
                kept = {item for item in file["features"] if stamps[item] == self.stamps[item]}
        self.missing = [(item, media) for item, media in items if item not in kept]

    def write(self, new: dict[str, np.ndarray], attributes: dict[str, Any]) -> None:
        """Write the file anew: what it held of use, and `new`, in the order of the items."""
        missing = {item for item, _ in self.missing}
        kept = dict(self.read()) if self.path.exists() else {}
        arrays = {item: array for item, array in kept.items() if item not in missing} | new
        ordered = ((item, arrays[item]) for item, _ in self.items if item in arrays)
        write_store(self.path, ordered, {**attributes, "stamps": json.dumps(self.stamps)})

    def take(self, found: Mapping[str, Features | MediaError], attributes: dict[str, Any]) -> None:
        """Write what was found of the missing items, and remember which of them failed."""
        mine = {item: found[item] for item, _ in self.missing if item in found}
        self.failures |= {item: error.cause for item, error in mine.items() if isinstance(error, MediaError)}
        if mine:
            new = {item: features.numpy() for item, features in mine.items() if isinstance(features, torch.Tensor)}
            self.write(new, attributes)

    def read(self) -> Iterator[tuple[str, np.ndarray]]:
        store = FeatureStore(self.path)
        for item in store.items:
            yield item, store.read(item)


def _stamp(media: Path) -> list[int]:
    """Changes when a file does; costs no reading."""
    try:
        status = os.stat(media)
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]


def _fill(shards: Sequence[Shard], backbone: Extractor, fps: float, attributes: dict[str, Any], workers: int) -> None:
    """Write every shard that misses items. Raises Interrupted, with all finished items written, on TERM or INT."""
    todo = [item for shard in shards for item in shard.missing]
    bar = progress(total=len(todo), title=f"{backbone.name} features", unit="item", disable=not todo)
    start, frames_done = time.monotonic(), 0
    with _Ahead(todo, backbone, fps, workers) as ahead, bar, stop_flag() as stopped:
        for number, shard in enumerate(shards):
            found: dict[str, Features | MediaError] = {}
            for item, features in islice(ahead, len(shard.missing)):
                found[item] = features
                if isinstance(features, MediaError):
                    bar.write(f"{item}: {features}", file=sys.stderr)
                else:
                    frames_done += len(features)
                bar.set_postfix_str(f"{frames_done / (time.monotonic() - start):.0f} frames/s", refresh=False)
                bar.update()
                if stopped:
                    break
            if stopped:
                found |= ahead.stop()
                for unfinished in shards[number:]:
                    unfinished.take(found, attributes)
                raise Interrupted
            shard.take(found, attributes)


class _Ahead:
    """(item, features or the error) of items in order, while threads work on those that come next."""

    def __init__(self, items: Sequence[Item], backbone: Extractor, fps: float, workers: int) -> None:
        self.backbone, self.fps = backbone, fps
        self.on_cpu = backbone.device.type == "cpu"
        self.pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
        self.coming, self.most = iter(items), AHEAD * workers
        self.begun: deque[tuple[str, Future[Features | Clip | MediaError]]] = deque()

    def __iter__(self) -> Iterator[tuple[str, Features | MediaError]]:
        while True:
            for item, media in islice(self.coming, self.most - len(self.begun)):
                self.begun.append((item, self.pool.submit(self._work, media)))
            if not self.begun:
                return
            item, future = self.begun.popleft()
            done = future.result()
            yield item, self.backbone.forward(*done) if isinstance(done, tuple) else done

    def _work(self, media: Path) -> Features | Clip | MediaError:
        """Of a media file the features, or for a GPU to make them of, its frames."""
        try:
            frames, shown = map(torch.from_numpy, read_clip(media, self.fps, self.backbone.resize))
        except MediaError as error:
            return error
        return self.backbone.forward(frames, shown) if self.on_cpu else (frames, shown)

    def stop(self) -> dict[str, Features | MediaError]:
        """Begin nothing more; what threads had finished, or were at, of those items that nobody has been given yet."""
        self.pool.shutdown(cancel_futures=True)
        ended = [(item, future) for item, future in self.begun if not future.cancelled()]
        self.begun.clear()
        done = {item: future.result() for item, future in ended}
        return {item: found for item, found in done.items() if not isinstance(found, tuple)}

    def __enter__(self) -> "_Ahead":
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown(cancel_futures=True)


@contextmanager
def _one_core_a_thread() -> Iterator[None]:
    """Torch's own threads would compete with ours; and results no longer depend on how many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
