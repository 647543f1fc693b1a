"""The report of a job that is still at work: its pages so far, how fast, and how long yet.

It is written to where the report will be, and as JSON to `_mangahue/progress.json`: when the work begins, after a
chapter or a chunk of a long one if the last time was a while ago, and when the work ends.
"""

import logging
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from datasets.errors import MangahueError
from jobs.parts.colorize.conclude import chapter_line, previews_of
from jobs.parts.colorize.plan import JobState
from jobs.parts.colorize.report.job_report import PagePreview, render_job_report
from jobs.parts.colorize.tasks import ChunkDone
from jobs.parts.ledger.ledger import PROGRESS, REPORT_PAGE, Ledger
from jobs.parts.ledger.manifest import Manifest
from jobs.parts.report.render import counted, duration, number
from jobs.parts.runtime.outcome import as_json, utc_now

log = logging.getLogger("mangahue")
EVERY = 20.0  # seconds
_SHARE = 50  # a report that takes a second is written every 50: a fiftieth of the job's time at most
_LAST = 12  # coloured pages that are shown
_PER_CHAPTER = 3  # of them


class LiveReport:
    """Use as a context, for as long as chapters are coloured.

    state: the job's, which is read only.
    settings: the options of the job.
    """

    def __init__(self, state: JobState, ledger: Ledger, settings: dict[str, Any]) -> None:
        self._state, self._ledger, self._settings = state, ledger, settings
        self._last: deque[PagePreview] = deque(maxlen=_LAST)
        self._pages = self._done = self._flagged = 0
        self._chunks: dict[str, list[ChunkDone]] = {}  # of chapters under way
        self._begun, self._started = time.monotonic(), utc_now()
        self._next = 0.0

    def __enter__(self) -> "LiveReport":
        self._begun = time.monotonic()
        self._write()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._put(PROGRESS, as_json(self._progress(ended=True)), "application/json")

    def add(self, manifest: Manifest) -> None:
        """Count a chapter that has ended, with all its pages."""
        self._chunks.pop(manifest.rel, None)
        self._done += 1
        self._pages += sum(page.index is not None for page in manifest.pages)
        self._flagged += sum(bool(page.code) for page in manifest.pages)
        shown = [page for page in manifest.pages if page.action == "coloured" and page.preview]
        self._last.extend(
            PagePreview(manifest.source, page.name, page.preview, page.width, page.height, page.code, page.message,
                        layered=page.is_shown)
            for page in shown[:: max(1, len(shown) // _PER_CHAPTER)][:_PER_CHAPTER]
        )  # fmt: skip
        self._write_if_due()

    def add_chunk(self, chunk: ChunkDone) -> None:
        """Count a chunk of a chapter that goes on; of one that has ended all is counted."""
        if chunk.rel not in self._state.results:
            self._chunks.setdefault(chunk.rel, []).append(chunk)
            self._write_if_due()

    def _write_if_due(self) -> None:
        if time.monotonic() >= self._next:
            self._write()

    def _write(self) -> None:
        begun = time.monotonic()
        progress = self._progress(ended=False)
        self._put(PROGRESS, as_json(progress), "application/json")
        self._put(REPORT_PAGE, self._page(progress).encode(), "text/html; charset=utf-8")
        took = time.monotonic() - begun
        self._next = begun + max(EVERY, _SHARE * took)

    def _progress(self, *, ended: bool) -> dict[str, Any]:
        seconds = time.monotonic() - self._begun
        under_way = [chunk for chunks in self._chunks.values() for chunk in chunks]
        done = self._done + sum(chunk.share for chunk in under_way)
        left = (len(self._state.tasks) - done) * seconds / done if done else None
        pages = self._pages + sum(chunk.pages for chunk in under_way)
        return {
            "started": self._started,
            "updated": utc_now(),
            "ended": ended,
            "chapters": len(self._state.tasks),
            "done": self._done,
            "pages": pages,
            "flagged": self._flagged + sum(chunk.flagged for chunk in under_way),
            "pages_per_second": round(pages / max(seconds, 1e-3), 3),
            "seconds_left": None if left is None else round(left, 1),
        }

    def _page(self, progress: dict[str, Any]) -> str:
        results = sorted(self._state.results.values(), key=lambda manifest: manifest.rel)
        return render_job_report(
            title="Colouring chapters",
            summary={
                "at work": f"{progress['done']} of {counted(progress['chapters'], 'chapter')}",
                "pages": f"{counted(progress['pages'], 'page')}, {progress['flagged']} to look at",
                "speed": f"{number(progress['pages_per_second'])} pages/s",
                "left": duration(progress["seconds_left"]),
                "as of": progress["updated"],
            },
            chapters=[chapter_line(manifest, self._ledger) for manifest in results],
            previews=_without_repeats([*self._last][::-1], previews_of(results)),
            settings=self._settings,
            refresh=round(EVERY),
        )

    def _put(self, key: str, data: bytes, kind: str) -> None:
        try:
            self._ledger.storage.put(key, data, content_type=kind)
        except MangahueError as error:  # the pages are what matters
            log.warning("the report of the job at work could not be stored: %s", error)


def _without_repeats(last: Sequence[PagePreview], others: Sequence[PagePreview]) -> list[PagePreview]:
    """The last coloured pages, then those that the report shows anyway."""
    return list({page.picture: page for page in [*last, *others]}.values())
