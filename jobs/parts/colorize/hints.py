"""--hints: colour hints that a person chose, by page.

The file is CSV with a header: page (the chapter's path below --source, and the page's name in it; of a picture that is
the source, its name alone), x, y and radius in pixels of the page, colour (#rrggbb, or a CSS colour name):

    page,x,y,radius,colour
    series/ch01.cbz/003.jpg,412,230,12,#e8772e
"""

import csv
import hashlib
import io
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

import numpy as np
from PIL import ImageColor

from datasets.errors import BadUsageError, ObjectNotFoundError
from datasets.names import composed, is_image, may_be_image
from datasets.storage import Storage
from imaging.color import to_lab
from imaging.hints import Hint
from jobs.parts.ledger.ledger import HINTS
from jobs.parts.runtime.options import read_given

log = logging.getLogger("mangahue")
COLUMNS = ("page", "x", "y", "radius", "colour")


@dataclass(frozen=True)
class ChapterHints:
    """The hints of one chapter.

    by_page: the hints of each page, by the page's name in the chapter, composed.
    """

    by_page: Mapping[str, tuple[Hint, ...]] = field(default_factory=dict)

    def of(self, *names: str) -> tuple[Hint, ...]:
        """The hints of a page, by the first of its names that has any, in whatever Unicode form."""
        return next((self.by_page[composed(name)] for name in names if composed(name) in self.by_page), ())

    def digest(self) -> str:
        """A digest in hex; "" without hints. A chapter with other hints is another one, and is coloured again."""
        if not self.by_page:
            return ""
        pages = (f"({name!r}, {_text(hints)})" for name, hints in sorted(self.by_page.items()))
        return _digest(f"[{', '.join(pages)}]")


def digest_of(hints: tuple[Hint, ...]) -> str:
    """A digest in hex of one page's hints; "" without hints."""
    return _digest(_text(hints)) if hints else ""


def _text(hints: tuple[Hint, ...]) -> str:
    """The hints as text. Its form never changes, because manifests of earlier versions hold its digest."""
    parts = [f"Spot(x={s.x!r}, y={s.y!r}, radius={s.radius!r}, ab=({s.ab[0]!r}, {s.ab[1]!r}))" for s in hints]
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Hints:
    """The hints of a job.

    uri: where they were read from.
    by_page: the hints of each page, by chapter path and page name, composed.
    lines: for each page the number of the first line that names it.
    colours: for each page the colours of its hints, as they are written.
    given: whether the file is that of --hints. If not, it is the output's own: chapters may have left the source since.
    """

    uri: str
    by_page: Mapping[str, tuple[Hint, ...]]
    lines: Mapping[str, int]
    colours: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    given: bool = True

    def by_chapter(self, rels: Iterable[str]) -> dict[str, ChapterHints]:
        """The hints of each chapter, by its `rel`, in whatever Unicode form they name it.

        Raises BadUsageError naming a page that lies in no chapter, where the file was given; else it is logged.
        """
        chapters: dict[str, dict[str, tuple[Hint, ...]]] = {}
        known = {composed(rel): rel for rel in sorted(rels, reverse=True)}  # of equal ones the first is coloured
        for page, hints in self.by_page.items():
            if page in known and (is_image(page) or (len(known) == 1 and may_be_image(page))):  # a chapter by itself
                chapters[known[page]] = {PurePosixPath(page).name: hints}
                continue
            cuts = (end for end in range(len(page) - 1, 0, -1) if page[end] == "/")  # chapters may lie in chapters
            cut = next((end for end in cuts if page[:end] in known), None)
            if cut is None and self.given:
                raise BadUsageError(
                    f"--hints {self.uri}, line {self.lines[page]}: page {page!r} lies in no chapter of --source; give "
                    f"the chapter's path and the page's name in it: {min(known, default='ch01.cbz')}/001.jpg"
                )
            if cut is None:
                log.warning("%s, line %d: page %r lies in no chapter of --source", self.uri, self.lines[page], page)
                continue
            chapters.setdefault(known[page[:cut]], {})[page[cut + 1 :]] = hints
        return {rel: ChapterHints(hints) for rel, hints in chapters.items()}


def read_hints(uri: str) -> Hints:
    """Read the file of --hints. Raises BadUsageError naming the line and the value that is wrong, and where the file
    holds no hint.
    """
    hints = parse_hints(read_given(uri, "--hints", "a CSV file of page,x,y,radius,colour"), uri)
    if not hints.by_page:
        raise BadUsageError(f"--hints {uri} holds no hint; give a line for each, or leave --hints out")
    return hints


def kept_hints(out: Storage) -> Hints | None:
    """The hints that an output folder keeps itself, in `_mangahue/hints.csv`; None where it keeps no such file.

    Raises as `read_hints`; a file without a hint is one where all were taken back.
    """
    try:
        data = out.read(HINTS)
    except ObjectNotFoundError:
        return None
    return replace(parse_hints(data, f"{out.uri}/{HINTS}"), given=False)


def parse_hints(data: bytes, uri: str) -> Hints:
    """As `read_hints`, from the file's bytes, which may hold none. uri: named in errors."""
    try:
        rows = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        header = tuple(cell.strip().lower() for cell in next(rows, []))
        if header != COLUMNS:
            raise BadUsageError(f"--hints {uri}, line 1: the header is {','.join(header)!r}; write {','.join(COLUMNS)}")
        hints: dict[str, list[Hint]] = {}
        lines: dict[str, int] = {}
        colours: dict[str, tuple[str, ...]] = {}
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            page, hint = _parse_row(row, f"--hints {uri}, line {rows.line_num}")
            hints.setdefault(page, []).append(hint)
            lines.setdefault(page, rows.line_num)
            colours[page] = (*colours.get(page, ()), row[-1].strip())
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadUsageError(f"--hints {uri}: {error}; it is a CSV file in UTF-8") from error
    return Hints(uri, {page: tuple(given) for page, given in hints.items()}, lines, colours)


def _parse_row(row: list[str], where: str) -> tuple[str, Hint]:
    cells = [cell.strip() for cell in row]
    if len(cells) != len(COLUMNS):
        raise BadUsageError(f"{where}: {len(cells)} cells; give five: {','.join(COLUMNS)}")
    page, *numbers, colour = cells
    values = []
    for name, text in zip(COLUMNS[1:4], numbers, strict=True):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (0 <= value < 1e6) or (name == "radius" and value == 0):
            raise BadUsageError(f"{where}: {name} is {text!r}; give pixels of the page, such as 12")
        values.append(value)
    try:
        ab = ab_of(colour)
    except BadUsageError as error:
        raise BadUsageError(f"{where}: {error}") from error
    if not page:
        raise BadUsageError(f"{where}: page is empty; give the chapter's path and the page's name in it")
    return composed(page), Hint(values[0], values[1], values[2], ab)


def ab_of(colour: str) -> tuple[float, float]:
    """The ab of a colour as CSS has it. Raises BadUsageError where it is none."""
    try:
        rgb = ImageColor.getrgb(colour)[:3]
    except ValueError as error:
        raise BadUsageError(f"colour is {colour!r}; give #rrggbb, or a name such as orange") from error
    _, a, b = to_lab(np.array([[rgb]], np.uint8))[0, 0].tolist()
    return a, b
