"""Functions that Numba compiles once a machine, where it finds a place to keep what it has compiled."""

import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Any:
    """`function`, compiled at its first call, without Python's lock; kept on disk if there is a place.

    There is none in a read-only installation of somebody without a home; then every process compiles anew. So it does
    once where the kept index was cut off, which Numba would stumble over for ever.
    """
    try:
        dispatcher = njit(cache=True, nogil=True)(function)
    except RuntimeError:  # "no locator available"
        return njit(nogil=True)(function)
    with suppress(AttributeError, OSError):  # Numba has no public name for it
        kept = dispatcher._cache._cache_file  # type: ignore[attr-defined]
        try:
            kept._load_index()
        except (EOFError, pickle.UnpicklingError):
            Path(kept._index_path).unlink()
    return dispatcher
