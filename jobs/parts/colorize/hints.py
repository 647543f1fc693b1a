"""--hints: colour hints that a person chose, by page.

The file is CSV with a header: page (the chapter's path below --source, and the page's name in it; of a picture that is
the source, its name alone), x, y and radius in pixels of the page, colour (#rrggbb, a CSS colour name, or a name of the
cast, jobs.parts.colorize.cast):

    page,x,y,radius,colour
    series/ch01.cbz/003.jpg,412,230,12,#e8772e
"""

import hashlib
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from datasets.errors import BadUsageError, ObjectNotFoundError
from datasets.names import composed, is_image, may_be_image
from datasets.storage import Storage
from imaging.hints import Hint
from jobs.parts.colorize.cast import NO_CAST, Cast, folded
from jobs.parts.colorize.csv_rows import rows_of
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

    file: what names it in errors: the option and where it was read from.
    by_page: the hints of each page, by chapter path and page name, composed.
    first: for each page the first line that names it, for errors.
    colours: for each page the colours of its hints, as they are written: some are names of the cast.
    given: whether the file is that of --hints. If not, it is the output's own: chapters may have left the source since.
    """

    file: str
    by_page: Mapping[str, tuple[Hint, ...]]
    first: Mapping[str, str]
    colours: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    given: bool = True

    def naming(self, name: str) -> list[str]:
        """The pages of which a hint gives this name of the cast."""
        return [page for page, colours in self.colours.items() if any(folded(each) == name for each in colours)]

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
                    f"{self.first[page]}: page {page!r} lies in no chapter of --source; give the chapter's path and "
                    f"the page's name in it: {min(known, default='ch01.cbz')}/001.jpg"
                )
            if cut is None:
                log.warning("%s: page %r lies in no chapter of --source", self.first[page], page)
                continue
            chapters.setdefault(known[page[:cut]], {})[page[cut + 1 :]] = hints
        return {rel: ChapterHints(hints) for rel, hints in chapters.items()}


def read_hints(uri: str, cast: Cast = NO_CAST) -> Hints:
    """Read the file of --hints. Raises BadUsageError naming the line and the value that is wrong, and where the file
    holds no hint.

    cast: the colours that have a name.
    """
    hints = parse_hints(read_given(uri, "--hints", "a CSV file of page,x,y,radius,colour"), f"--hints {uri}", cast)
    if not hints.by_page:
        raise BadUsageError(f"--hints {uri} holds no hint; give a line for each, or leave --hints out")
    return hints


def kept_hints(out: Storage, cast: Cast = NO_CAST) -> Hints | None:
    """The hints that an output folder keeps itself, in `_mangahue/hints.csv`; None where it keeps no such file.

    Raises as `read_hints`; a file without a hint is one where all were taken back.
    """
    try:
        data = out.read(HINTS)
    except ObjectNotFoundError:
        return None
    return replace(parse_hints(data, f"{out.uri}/{HINTS}", cast), given=False)


def parse_hints(data: bytes, file: str, cast: Cast = NO_CAST) -> Hints:
    """As `read_hints`, from the file's bytes, which may hold none. file: what names it in errors."""
    hints: dict[str, list[Hint]] = {}
    first: dict[str, str] = {}
    colours: dict[str, tuple[str, ...]] = {}
    for where, cells in rows_of(data, COLUMNS, file):
        page, hint = _parse_row(cells, where, cast)
        hints.setdefault(page, []).append(hint)
        first.setdefault(page, where)
        colours[page] = (*colours.get(page, ()), cells[-1])
    return Hints(file, {page: tuple(given) for page, given in hints.items()}, first, colours)


def _parse_row(cells: list[str], where: str, cast: Cast) -> tuple[str, Hint]:
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
        ab = cast.ab_of(colour)
    except BadUsageError as error:
        raise BadUsageError(f"{where}: {error}") from error
    if not page:
        raise BadUsageError(f"{where}: page is empty; give the chapter's path and the page's name in it")
    return composed(page), Hint(values[0], values[1], values[2], ab)
