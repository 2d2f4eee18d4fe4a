"""Work stops on a signal: at its next step, saved, with a status that means "run me again"."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

RESUME_ME = 75  # the exit status of interrupted work (EX_TEMPFAIL): the same command goes on


class Interrupted(SystemExit):
    """Raised by work that has saved all it did, after TERM or INT."""

    def __init__(self) -> None:
        super().__init__(RESUME_ME)


@contextmanager
def stop_flag() -> Iterator[list[int]]:
    """A list that is empty until TERM or INT arrives; the signals' old handlers come back at the end."""
    received: list[int] = []
    old = {number: signal.signal(number, lambda n, _: received.append(n)) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
