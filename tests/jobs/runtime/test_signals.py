"""Stopping a job by a signal."""

import os
import signal

import pytest

from jobs.parts.runtime.signals import Stopped, stoppable


def test_an_error_of_code_that_the_signal_broke_into_is_the_stop() -> None:
    """As `queue.get` raises it, whose lock is taken again while the signal arrives."""

    def broken_into() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            raise RuntimeError("release unlocked lock")

    with pytest.raises(Stopped, match="SIGTERM"), stoppable():
        broken_into()


def test_an_error_without_a_signal_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="of its own"), stoppable():
        raise RuntimeError("of its own")


def test_handlers_are_as_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stoppable():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
