"""Stopping a job: by SIGTERM, as clusters and `ray job stop` do, or by Ctrl-C."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):  # like KeyboardInterrupt: code that catches errors must not catch it
    """The job was stopped to stop. The message is the signal's name."""


@contextmanager
def stoppable() -> Iterator[None]:
    """While the block runs, the first SIGTERM or SIGINT raises Stopped in the main thread. Later ones are ignored.

    A signal can break into code that then raises an error of its own: a lock that was just taken again is "released
    unlocked". That error is Stopped too.
    """
    stopped: list[Stopped] = []

    def stop(number: int, frame: FrameType | None) -> None:
        for again in before:
            signal.signal(again, signal.SIG_IGN)
        stopped.append(Stopped(signal.Signals(number).name))
        raise stopped[0]

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    except Exception as error:
        if stopped:
            raise stopped[0] from error
        raise
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is stop:
                signal.signal(number, handler)
