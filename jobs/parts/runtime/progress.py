"""Progress of a long job: what is done, how fast, how long yet. A bar on a terminal, lines in a log elsewhere."""

import logging
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

log = logging.getLogger("mangahue")
_LOG_EVERY = 10.0  # seconds


class Meter:
    """Counts chapters against a known total, and pages as they come. Or pages alone, against theirs.

    Use as a context; `advance` after each step.
    unit: what is counted against the total: "chapters", "pages", or "steps", which have no pages.
    """

    def __init__(self, verb: str, total: int, unit: str = "chapters") -> None:
        self._verb, self._total, self._unit = verb, total, unit
        pages = " · {task.fields[pages]} pages" if unit == "chapters" else ""
        self._done = self._pages = 0
        self._start = self._logged_at = time.monotonic()
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} " + unit + pages + " · {task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(verb, total=total, pages=0, rate="")

    def __enter__(self) -> "Meter":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._bar.stop()
        if kind is None:
            self._log()

    def advance(self, done: int, pages: int = 0) -> None:
        """Count what was done since the last call.

        done: in the meter's unit.
        pages: the pages of that.
        """
        self._done += done
        self._pages += pages
        self._bar.update(self._task, completed=self._done, pages=self._pages, rate=self._rate())
        if time.monotonic() - self._logged_at > _LOG_EVERY and self._bar.disable:
            self._log()

    def _rate(self) -> str:
        count, unit = (self._done, self._unit) if self._unit == "steps" else (self._pages, "pages")
        return f"{count / max(1e-6, time.monotonic() - self._start):.2f} {unit}/s"

    def _log(self) -> None:
        self._logged_at = now = time.monotonic()
        left = (self._total - self._done) * (now - self._start) / self._done if self._done else float("nan")
        eta = "" if left != left else f", {left / 60:.1f} min left"
        pages = f"{self._pages} pages, " if self._unit == "chapters" else ""
        log.info("%s: %d/%d %s, %s%s%s", self._verb, self._done, self._total, self._unit, pages, self._rate(), eta)
