"""The features of a store in numpy's files, for other programs."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from captionrl.errors import UserError
from captionrl.features.store import FeatureStore
from captionrl.files import atomic, atomic_folder


def export_features(path: Path, out: Path) -> FeatureStore:
    """Write every item's array of the store `path`, float16 [rows, dim]; `out` appears only when whole.

    out: a file .npz, with an array an item; or without a suffix a new folder, with an .npy an item. One array at a time
    is in memory. Imported again, in the order of the same corpus, the store has the same digest. Returns the store.
    Raises UserError for a store of frames.
    """
    store = FeatureStore(path)
    if out.suffix == ".npz":
        with atomic(out) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for item, array in _arrays(store):
                with archive.open(zipfile.ZipInfo(f"{item}.npy"), "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)
    elif out.suffix:
        raise UserError(f"{out}: give a file .npz or, without a suffix, a folder")
    elif out.exists():
        raise UserError(f"{out}: exists already; remove it, or name another folder")
    else:
        with atomic_folder(out) as folder:
            for item, array in _arrays(store):
                np.save(folder / f"{item}.npy", array, allow_pickle=False)
    return store


def _arrays(store: FeatureStore) -> Iterator[tuple[str, np.ndarray]]:
    for item in store.items:
        array = store.read(item)
        if array.dtype != np.float16:
            raise UserError(f"{store.path}: holds frames, not features; export a store of features")
        yield item, array
