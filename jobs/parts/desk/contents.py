"""What the page is told of an output folder, as JSON has it: chapters, pages, palette."""

import hashlib
from typing import Any

from jobs.parts.colorize.cast import rgb_of
from jobs.parts.colorize.report.drift_chart import css_of
from jobs.parts.desk.catalogue import Catalogue
from jobs.parts.desk.edits import Edits
from jobs.parts.desk.marking import Marking
from jobs.parts.ledger.manifest import Manifest
from jobs.parts.ledger.palette_usage import unpack

_EXAMPLES = 3  # pages that a change of the palette is shown on
_SAMPLED = 6  # pages whose colours are offered where the job has no palette


class Contents:
    """The contents of a catalogue, with what was edited."""

    def __init__(self, catalogue: Catalogue, edits: Edits, marking: Marking) -> None:
        self._catalogue, self._edits, self._marking = catalogue, edits, marking

    def overview(self) -> dict[str, Any]:
        """All but the pages."""
        palette, counts = self._edits.palette(), self._color_counts()
        return {
            "out": self._catalogue.ledger.storage.uri,
            "chapters": [_line(chapter, summary) for chapter, summary in self._catalogue.chapters.items()],
            "palette": [
                {"number": number, "name": color.name, "css": css_of(color), "pages": counts.get(number, 0)}
                for number, color in enumerate(palette.colors if palette else ())
            ],
        }

    def cast(self) -> list[dict[str, Any]]:
        """The colours that have a name, and how many pages have a hint that gives it."""
        return [
            {"name": name, "css": "#{:02x}{:02x}{:02x}".format(*rgb_of(css)), "pages": pages}
            for name, css, pages in self._edits.named()
        ]

    def hint_name(self, chapter: str, number: int) -> str:
        """How --hints names a page."""
        page = self._catalogue.page(chapter, number)
        return self._catalogue.hint_name(self._catalogue.chapter(chapter), page)

    def pages(self, chapter: str) -> dict[str, Any]:
        """The pages of a chapter in reading order, with their hints, and what each is a reference for."""
        whole = self._catalogue.chapter(chapter)
        hints, reach = self._edits.by_page(), self._marking.reach(whole.rel)
        pages = []
        for number, page in enumerate(whole.pages):
            if page.index is None:
                continue
            given = hints.get(self._catalogue.hint_name(whole, page), [])
            pages.append(
                {
                    "number": number, "name": page.name, "action": page.action, "code": page.code,
                    "message": page.message, "width": page.width, "height": page.height,
                    "version": hashlib.sha256(f"{page.sha256}{whole.version}".encode()).hexdigest()[:16],
                    "hints": [vars(each) for each in given], "index": page.index,
                    "reference": reach.get(page.name, ""),
                }
            )  # fmt: skip
        return {"rel": whole.rel, "pages": sorted(pages, key=lambda page: page["index"])}

    def sampled(self) -> list[tuple[str, int]]:
        """Coloured pages of chapters that are spread over the folder."""
        published = [chapter for chapter, summary in self._catalogue.chapters.items() if summary.count("coloured")]
        chosen = published[:: max(1, len(published) // _SAMPLED)][:_SAMPLED]
        each = -(-_SAMPLED // max(1, len(chosen)))
        found = []
        for chapter in chosen:
            coloured = [n for n, page in enumerate(self._catalogue.chapter(chapter).pages) if page.action == "coloured"]
            found += [(chapter, number) for number in coloured[:: max(1, len(coloured) // each)][:each]]
        return found

    def examples(self, number: int) -> list[list[Any]]:
        """[chapter, number, share] of up to three pages that use a colour of the palette most."""
        found: list[tuple[float, str, int]] = []
        for chapter, summary in self._catalogue.chapters.items():
            if len(found) >= _EXAMPLES * 4:
                break
            if any(usage.number == number for usage in unpack(summary.palette_usage)):
                pages = enumerate(self._catalogue.chapter(chapter).pages)
                found += [(page.colors[str(number)][0], chapter, n) for n, page in pages if str(number) in page.colors]
        return [[chapter, n, share] for share, chapter, n in sorted(found, reverse=True)[:_EXAMPLES]]

    def _color_counts(self) -> dict[int, int]:
        """The number of pages that use each colour of the palette."""
        counts: dict[int, int] = {}
        for summary in self._catalogue.chapters.values():
            for usage in unpack(summary.palette_usage):
                counts[usage.number] = counts.get(usage.number, 0) + usage.before.count
        return counts


def _line(chapter: str, summary: Manifest) -> dict[str, Any]:
    shown = summary.standing or summary
    counts = {action: shown.count(action) for action in ("coloured", "kept", "flagged")}
    doubted = sum(page.action == "coloured" and bool(page.code) for page in shown.pages)
    return {
        "id": chapter, "rel": summary.rel, "status": summary.status, "code": summary.code, "message": summary.message,
        "doubted": doubted, **counts,
    }  # fmt: skip
