"""What prediction was begun and never ended: the memory of predictors that die.

A predictor may be killed for the memory it takes, hang in a driver, or just vanish; Ray starts another and gives it
the same chunk, for ever. So each predictor tells what it begins and ends to an actor that outlives it, and the next one
goes more carefully: pages one by one, and a page that two predictors died at alone is left as it is.
"""

import faulthandler
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray


class CrashGuard:
    """Counts by key what was begun. On Ray one actor for a job holds it, as `RemoteCrashGuard`."""

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()

    def begin(self, key: str) -> int:
        """Note it, and return how often it was begun before without an end."""
        self._begun[key] += 1
        return self._begun[key] - 1

    def end(self, key: str) -> None:
        self._begun.pop(key, None)


class RemoteCrashGuard:
    """The counts of a job, as a predictor on Ray sees them. Picklable."""

    def __init__(self) -> None:
        # On the node of a predictor it may die too: another starts, with no counts.
        actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(CrashGuard)
        self._actor: Any = actor.remote()

    def begin(self, key: str) -> int:
        return int(ray.get(self._actor.begin.remote(key)))

    def end(self, key: str) -> None:
        ray.get(self._actor.end.remote(key))


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """End this process, hard, if what is done inside takes longer: no exception gets through to a driver that hangs.

    The place where it hung is printed.
    """
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
