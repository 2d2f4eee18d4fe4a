"""TERM and INT are noted, not obeyed, until the work says so."""

import signal

import pytest

from captionrl.interrupt import Interrupted, stop_flag


def test_signals_are_only_noted_meanwhile():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with stop_flag() as received:
        assert not received
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert received == [signal.SIGTERM, signal.SIGINT]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_interrupted_work_exits_with_the_status_of_a_temporary_failure():
    with pytest.raises(SystemExit) as raised:
        raise Interrupted
    assert raised.value.code == 75
