"""The metrics of a job for Prometheus, by Ray's own metrics: pages, chapters, bytes, seconds, retries, quarantines.

On every node Ray exports each metric as `ray_` and its name; deploy/grafana.json shows them. A label has few values. It
is never the name of a chapter or page, because each name would make a series of its own. This module does not import
Ray. Where Ray is not in use, as in tests of the stages, nothing is counted.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

from datasets.errors import Code

Action = Literal["coloured", "kept", "flagged"]
Status = Literal["done", "partial", "quarantined", "failed"]
Direction = Literal["read", "written"]
Stage = Literal["open", "prepare", "paint", "finish", "assemble"]
Retried = Literal["sandbox", "paint"]


@dataclass(frozen=True)
class Described:
    """A metric with one label.

    description: what it counts.
    label: the label's name.
    values: the values that the label may have.
    buckets: a histogram's upper bounds; a counter has none.
    """

    description: str
    label: str
    values: tuple[str, ...]
    buckets: tuple[float, ...] = ()


METRICS = {
    "mangahue_pages_total": Described("Pages, by what was done to them.", "action", get_args(Action)),
    "mangahue_chapters_total": Described("Chapters, by what became of them.", "status", get_args(Status)),
    "mangahue_bytes_total": Described("Bytes of members read, archives written.", "direction", get_args(Direction)),
    "mangahue_stage_seconds": Described(
        "Wall time of one chunk in one stage; of one chapter in assemble.",
        "stage",
        get_args(Stage),
        (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 600),
    ),
    "mangahue_retries_total": Described("Things tried again, by what failed.", "what", get_args(Retried)),
    "mangahue_quarantines_total": Described("Chapters quarantined, by code.", "code", tuple(Code)),
}


def count_pages(action: Action, count: int = 1) -> None:
    """Count pages of a chapter that has an outcome."""
    _record("mangahue_pages_total", action, count)


def count_chapter(status: str) -> None:
    """Count a chapter that has an outcome.

    status: one of Status.
    """
    _record("mangahue_chapters_total", status, 1)


def count_bytes(direction: Direction, count: int) -> None:
    """Count bytes of members read from the source, or of archives written to the output."""
    _record("mangahue_bytes_total", direction, count)


def observe_stage(stage: Stage, seconds: float) -> None:
    """Record how long a stage took for a chunk."""
    _record("mangahue_stage_seconds", stage, seconds)


@contextmanager
def timed(stage: Stage) -> Iterator[None]:
    """Record how long the block takes, whether it ends well or not."""
    begun = time.monotonic()
    try:
        yield
    finally:
        observe_stage(stage, time.monotonic() - begun)


def count_retry(what: Retried) -> None:
    """Count something that is about to be tried again."""
    _record("mangahue_retries_total", what, 1)


def count_quarantine(code: str) -> None:
    """Count a chapter that is quarantined.

    code: one of datasets.errors.Code.
    """
    _record("mangahue_quarantines_total", code, 1)


def _record(name: str, value: str, amount: float) -> None:
    """Count, or observe. Raises ValueError for a label value that is not listed, with or without Ray."""
    described = METRICS[name]
    if value not in described.values:
        raise ValueError(f"{name} has no {described.label} {value!r}; choose one of {', '.join(described.values)}")
    if not _in_use():
        return
    tags = {described.label: str(value)}
    if described.buckets:
        _metric(name).observe(amount, tags)
    elif amount > 0:  # Ray refuses an increment of 0
        _metric(name).inc(amount, tags)


def _in_use() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


@cache
def _metric(name: str) -> Any:
    from ray.util.metrics import Counter, Histogram  # Ray is in use here, so it is loaded already

    described = METRICS[name]
    if described.buckets:
        return Histogram(name, described.description, list(described.buckets), (described.label,))
    return Counter(name, described.description, (described.label,))
