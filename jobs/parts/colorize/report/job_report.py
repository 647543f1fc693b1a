"""The report of a colouring job, as one static HTML page: what became of every chapter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.parts.colorize.report.drift_chart import DriftChart
from jobs.parts.report.render import render

_TEMPLATE = Path(__file__).with_name("job_report.html.j2")
STATUSES = {
    "done": "published whole",
    "partial": "published; some of its pages could not be read and stand in it as they were",
    "quarantined": "could not be read as a chapter; nothing was published",
    "failed": "the job could not finish it; a rerun tries again",
}

_COUNTS = ("pages", "coloured", "kept", "flagged", "doubted")


@dataclass(frozen=True)
class ChapterLine:
    """What became of one chapter. pages = coloured + kept + flagged where the chapter could be read.

    status: one of STATUSES.
    kept: pages left as they were because they are in colour already.
    flagged: pages that could not be read.
    doubted: coloured pages that the gate has something against.
    code, message: why the chapter is not done, or what a person should check.
    warnings: what was changed or left out on the way.
    seconds: of work.
    """

    source: str
    output: str
    status: str
    pages: int
    coloured: int
    kept: int
    flagged: int
    code: str
    message: str
    seconds: float
    warnings: str = ""
    doubted: int = 0

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status={self.status!r} of {self.source!r}: choose one of {', '.join(STATUSES)}")


@dataclass(frozen=True)
class PagePreview:
    """A coloured page, shown in small.

    picture: path relative to the report, without suffix; `.jpg` is the page, and where it is layered there is an `.svg`
        for each layer.
    width, height: of the page, pixels.
    code, message: what the gate has against the page. A sample has no code.
    """

    chapter: str
    name: str
    picture: str
    width: int
    height: int
    code: str = ""
    message: str = ""
    layered: bool = True


def render_job_report(
    *,
    title: str,
    summary: Mapping[str, str],
    chapters: Sequence[ChapterLine],
    drifts: Sequence[DriftChart] = (),
    previews: Sequence[PagePreview] = (),
    settings: Mapping[str, object],
    refresh: int = 0,
) -> str:
    """The report as one HTML page, to be written as UTF-8. Chapters that need a person come first, then those done.

    summary: names and values for the head of the page.
    drifts: charts of the palette's colours; none without a palette.
    settings: the job's options.
    refresh: seconds after which a browser is to load it again; 0 for the report of a job that has ended.
    """
    done = [chapter for chapter in chapters if chapter.status == "done"]
    statuses = Counter(chapter.status for chapter in chapters)
    page_counts = {name: sum(getattr(c, name) for c in chapters) for name in _COUNTS}
    return render(
        _TEMPLATE,
        title=title,
        summary=summary,
        statuses=[(status, statuses[status], meaning) for status, meaning in STATUSES.items()],
        chapter_count=len(chapters),
        page_counts=page_counts,
        unfinished=max(
            0, sum(chapter.pages - chapter.coloured - chapter.kept - chapter.flagged for chapter in chapters)
        ),
        sections=[
            ("attention", "Chapters to look at", [c for c in chapters if c.status != "done"]),
            ("doubted", "Chapters done, with pages to look at", [c for c in done if c.doubted]),
            ("done", "Chapters done", [c for c in done if not c.doubted]),
        ],
        drifts=drifts,
        previews=previews,
        settings=settings,
        refresh=refresh,
    )
