"""Progress bars: one that moves on a terminal, a line every ten seconds in a log file."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


class _Lines:
    """stderr, but every redrawing of a bar becomes a line of its own, unless it says what the last one said."""

    last = ""

    def write(self, text: str) -> int:
        text = text.replace("\r", "").strip()
        if text in ("", self.last):
            return 0
        self.last = text
        return sys.stderr.write(text + "\n")

    def flush(self) -> None:
        sys.stderr.flush()


def progress(iterable: Iterable[Any] | None = None, *, title: str, unit: str, **options: Any) -> tqdm:
    """A tqdm bar with rate and time left."""
    terminal = sys.stderr.isatty()
    file: Any = sys.stderr if terminal else _Lines()
    return tqdm(
        iterable,
        desc=title,
        unit=unit,
        file=file,
        mininterval=0.2 if terminal else 10,
        dynamic_ncols=terminal,
        **options,
    )
