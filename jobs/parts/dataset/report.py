"""The report on a data set: what it holds, how large and how colourful its pages are, what was left out and why."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets.storage import Storage
from jobs.parts.dataset.duplicates import Duplicate
from jobs.parts.dataset.facts import PageFacts
from jobs.parts.report.charts import draw_histogram
from jobs.parts.report.render import render

REPORT = "report.html"
MOST_PREVIEWS = 60
_PREVIEWS = "report/"
_MOST_ROWS = 200  # of a table
_SPLITS = {"train": "training", "holdout": "held out"}
_RATIOS = {1 / 3: "1:3", 1 / 2: "1:2", 2 / 3: "2:3", 1: "1:1", 3 / 2: "3:2", 2: "2:1", 3: "3:1"}  # width to height
_SHAPE = "width : height"
_TEMPLATE = Path(__file__).with_name("dataset_report.html.j2")

Rejected = Mapping[str, str]  # source, code, message


def publish_report(
    out: Storage,
    *,
    title: str,
    pages: Sequence[PageFacts],
    duplicates: Sequence[Duplicate] | None,
    rejected: Sequence[Rejected],
    previews: Sequence[tuple[PageFacts, bytes]],
    settings: Mapping[str, object],
    note: str = "",
    unpaired: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write report.html and its pictures beside the shards, in the place of an earlier one.

    pages: the rows in the shards.
    duplicates: the rows that were left out; None where none were looked for.
    rejected: what could not be read.
    previews: some of the rows, each with its small JPEG (facts.preview_of).
    note: one sentence on the whole, if there is something to say.
    unpaired: colour pictures that were looked for and are not paired: color, outcome, confidence and why, and gray, the
        nearest page or None.
    """
    chosen = list(previews[:: -(-len(previews) // MOST_PREVIEWS) or 1])
    keys = [f"{_PREVIEWS}{number:03}.jpg" for number in range(1, len(chosen) + 1)]
    for key, (_, picture) in zip(keys, chosen, strict=True):
        out.put(key, picture, content_type="image/jpeg")
    for entry in list(out.list(_PREVIEWS)):
        if entry.key not in keys:
            out.delete(entry.key)
    panels = [panel for page in pages for panel in page.panels]
    masked = [page for page in pages if page.masked]
    html = render(
        _TEMPLATE,
        title=title,
        summary={
            "pages": f"{len(pages):,}",
            "pairs": f"{sum(page.gray and page.color for page in pages):,}",
            "chapters": f"{len({page.chapter for page in pages}):,}",
            "panels": f"{len(panels):,}",
            **({} if duplicates is None else {"near-duplicates left out": f"{len(duplicates):,}"}),
            "not read": f"{len(rejected):,}",
        },
        note=note,
        splits=[(name, _counts([page for page in pages if page.split == split])) for split, name in _SPLITS.items()],
        masked=(len(masked), sum(page.masked for page in masked) / max(1, len(masked))),
        charts=[
            (draw_histogram("Height of pages", [page.height for page in pages]), "pixels"),
            (draw_histogram("Shape of pages", [page.width / page.height for page in pages], marks=_RATIOS), _SHAPE),
            (draw_histogram("Height of panels", [height for _, height in panels]), "pixels"),
            (draw_histogram("Shape of panels", [w / max(1, h) for w, h in panels], marks=_RATIOS), _SHAPE),
            (draw_histogram("Panels on a page", [len(page.panels) for page in pages]), "panels"),
            (
                draw_histogram("Colourfulness of colour pages", [
                    page.colorfulness for page in pages if page.colorfulness is not None
                ]),
                "Hasler and Süsstrunk; 0: gray",
            ),
        ],
        previews=list(zip(keys, [page for page, _ in chosen], strict=True)),
        reasons=sorted(Counter(failure["code"] for failure in rejected).items()),
        rejected=rejected[:_MOST_ROWS],
        rejected_count=len(rejected),
        duplicates=(duplicates or ())[:_MOST_ROWS],
        duplicate_count=len(duplicates or ()),
        unpaired=unpaired[:_MOST_ROWS],
        unpaired_count=len(unpaired),
        settings=settings,
    )  # fmt: skip
    out.put(REPORT, html.encode(), content_type="text/html; charset=utf-8")


def _counts(pages: Sequence[PageFacts]) -> list[int]:
    """Chapters, pages, pairs, pages with the gray picture alone, pages with the colour picture alone."""
    pairs = sum(page.gray and page.color for page in pages)
    gray, color = (sum(has) - pairs for has in ([page.gray for page in pages], [page.color for page in pages]))
    return [len({page.chapter for page in pages}), len(pages), pairs, gray, color]
