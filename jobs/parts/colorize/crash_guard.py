"""Counts predictions that were begun and never ended, because the predictor died.

A predictor may be killed for the memory it takes, hang in a driver, or vanish. Ray then starts another and gives it the
same chunk, again and again. So each predictor reports what it begins and ends to an actor that outlives it. The next
predictor works through that chunk page by page. A page at which two predictors died while it was alone in its batch is
left as it is.
"""

import faulthandler
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class CrashGuard:
    """Counts by key how often something was begun. On Ray one actor holds the counts of a job; see
    pipeline.RemoteCrashGuard."""

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()

    def begin(self, key: str) -> int:
        """Note that `key` is begun. Returns how often it was begun before without an end."""
        self._begun[key] += 1
        return self._begun[key] - 1

    def end(self, key: str) -> None:
        """Forget `key`: it ended well."""
        self._begun.pop(key, None)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """End this process, hard, if the block takes longer than `seconds`. The place where it hung is printed.

    An exception would not do: it does not get through to a driver that hangs.
    """
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
