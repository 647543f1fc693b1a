"""A job that is told to stop: by SIGTERM, as clusters and `ray job stop` do, or by Ctrl-C."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):  # like KeyboardInterrupt: what catches errors must let it pass
    """The job was told to stop; says by what."""


@contextmanager
def stoppable() -> Iterator[None]:
    """While it lasts, SIGTERM and SIGINT raise Stopped in the main thread, once: what follows is left in peace."""

    def stop(number: int, frame: FrameType | None) -> None:
        for again in before:
            signal.signal(again, signal.SIG_IGN)
        raise Stopped(signal.Signals(number).name)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is stop:
                signal.signal(number, handler)
