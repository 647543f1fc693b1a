"""What is changed in the desk: hints, cast and palette, kept in the output in the files that colorize.py takes up."""

import csv
import io
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from datasets.errors import BadUsageError
from imaging.hints import Hint
from imaging.palette import Palette
from jobs.parts.colorize import cast as casting
from jobs.parts.colorize.cast import NO_CAST, Cast, ab_of, colour_of, folded, kept_cast, name_of, read_cast
from jobs.parts.colorize.hints import COLUMNS, Hints, digest_of, kept_hints, parse_hints, read_hints
from jobs.parts.desk.catalogue import Catalogue
from jobs.parts.desk.marking import Marking
from jobs.parts.ledger.ledger import CAST, HINTS, PALETTE
from jobs.parts.ledger.palette_usage import is_current
from jobs.parts.runtime.outcome import as_json

_MOST = 200  # hints of a page
_CSV = "text/csv; charset=utf-8"


@dataclass(frozen=True)
class Given:
    """A hint as somebody gave it: pixels of the page, and a colour as CSS has it, or a name of the cast."""

    x: float
    y: float
    radius: float
    colour: str

    @classmethod
    def of(cls, value: Any) -> "Given":
        """From JSON. Raises BadUsageError where it is no hint."""
        try:
            x, y, radius = (round(float(value[name]), 1) for name in ("x", "y", "radius"))
            colour = str(value["colour"]).strip()
        except (KeyError, TypeError, ValueError) as error:
            raise BadUsageError(f"no hint: {value!r}; it has x, y, radius and colour") from error
        return cls(x, y, radius, colour)

    def without(self, name: str, cast: Cast) -> "Given":
        """The hint with the colour itself, if it gives this name of the cast."""
        return replace(self, colour=cast.css(name)) if folded(self.colour) == name else self


class Edits:
    """The hints, the cast and the palette of an output folder, and which pages differ from what these and the marked
    pages say. For several threads.
    """

    def __init__(self, catalogue: Catalogue, marking: Marking) -> None:
        self._catalogue, self._marking, self._storage = catalogue, marking, catalogue.ledger.storage
        self._lock = threading.Lock()

    def by_page(self) -> dict[str, list[Given]]:
        """The hints of each page that has any, by its name in the file."""
        return _rows(self._hints(self.cast()))

    def of_page(self, name: str) -> tuple[Hint, ...]:
        """The hints of a page, by its name in the file, as colouring takes them."""
        hints = self._hints(self.cast())
        return hints.by_page.get(name, ()) if hints else ()

    def as_hints(self, given: Iterable[Given]) -> tuple[Hint, ...]:
        """Hints that are not kept, as colouring takes them."""
        cast = self.cast()
        return tuple(Hint(each.x, each.y, each.radius, cast.ab_of(each.colour)) for each in given)

    def put(self, name: str, given: Sequence[Given]) -> None:
        """Set the hints of a page. Raises BadUsageError where they, or the page's name, can't be written so that
        colorize.py reads them.
        """
        if len(given) > _MOST:
            raise BadUsageError(f"{len(given)} hints for one page; give at most {_MOST}")
        with self._lock:
            cast = self._keep_cast()
            rows = {**_rows(self._hints(cast)), name: list(given)}
            data = _as_csv(rows)
            if len(parse_hints(data, "the desk", cast).by_page.get(name, ())) != len(given):
                raise BadUsageError(
                    f"the page's name {name!r} can't be written in a hint file; rename it in the source"
                )
            self._storage.put(HINTS, data, content_type=_CSV)

    def keep(self) -> None:
        """Keep hints and cast that the job was given, if the output keeps none yet: the next run is given no file."""
        with self._lock:
            cast = self._keep_cast()
            if self._storage.stat(HINTS) is None and (given := _rows(self._hints(cast))):
                self._storage.put(HINTS, _as_csv(given), content_type=_CSV)

    def cast(self) -> Cast:
        """The cast that the output keeps; before it keeps one, or hints of its own, that which its job was given."""
        config = self._catalogue.config
        kept = kept_cast(self._storage)
        of_the_job = bool(config.cast) and (kept is None or (bool(config.hints) and self._storage.stat(HINTS) is None))
        return read_cast(config.cast) if of_the_job else kept or NO_CAST

    def named(self) -> list[tuple[str, str, int]]:
        """The cast: each name, its colour, and the number of pages of which a hint gives the name."""
        cast = self.cast()
        hints = self._hints(cast)
        return [(name, css, len(hints.naming(name)) if hints else 0) for name, css in cast.colours.items()]

    def put_cast(self, name: str, colour: str) -> None:
        """Give a name of the cast a colour, or add it; no colour: take it out, and its hints keep the colour it had.

        Raises BadUsageError where the name or the colour is none.
        """
        self.keep()
        name = folded(name)
        with self._lock:
            cast = self.cast()
            colours = dict(cast.colours)
            if colour:
                colours[name_of(name)] = colour_of(colour)
            elif name in colours:
                del colours[name]
                rows = _rows(self._hints(cast))
                plain = {page: [each.without(name, cast) for each in given] for page, given in rows.items()}
                if plain:
                    self._storage.put(HINTS, _as_csv(plain), content_type=_CSV)
            else:
                raise BadUsageError(f"name is {name!r}, which the cast does not have; load the page again")
            self._put_cast(colours)

    def _keep_cast(self) -> Cast:
        cast = self.cast()
        if cast.colours and cast != kept_cast(self._storage):
            self._put_cast(cast.colours)
        return cast

    def _put_cast(self, colours: Mapping[str, str]) -> None:
        self._storage.put(CAST, _table(casting.COLUMNS, colours.items()), content_type=_CSV)

    def palette(self) -> Palette | None:
        """The palette as it is edited now; None for a job without one."""
        kept = self._catalogue.palette()
        return None if kept is None else Palette.from_dict(kept)

    def put_palette(self, edits: dict[int, str]) -> None:
        """Keep another ab for some colours, by their number. Raises as `edited`."""
        self.keep()
        with self._lock:
            edited = self.edited(edits)
            self._storage.put(PALETTE, as_json(edited.to_dict()))

    def edited(self, edits: dict[int, str]) -> Palette:
        """The palette with another ab for some colours, by their number. Raises BadUsageError where there is no such
        colour.
        """
        palette = self.palette()
        if palette is None or not all(0 <= number < len(palette.colors) for number in edits):
            raise BadUsageError("there is no such colour in the palette; run colorize.py with --palette auto")
        abs_ = {number: ab_of(css) for number, css in edits.items()}
        return Palette(
            tuple(replace(color, ab=abs_.get(number, color.ab)) for number, color in enumerate(palette.colors))
        )

    def changes(self) -> list[tuple[str, int]]:
        """(chapter, number) of each page that the next run does again: it is not as hints, palette and marks say."""
        hints = self._hints(self.cast())
        by_chapter = hints.by_chapter(m.rel for m in self._catalogue.chapters.values()) if hints else {}
        palette = self.palette()
        abs_ = [list(color.ab) for color in palette.colors] if palette else []
        marked = self._marking.marked()
        found: list[tuple[str, int]] = []
        for chapter, summary in self._catalogue.chapters.items():
            if summary.standing is None:
                continue
            given, marks = by_chapter.get(summary.rel), marked.of(summary.rel)
            same = summary.hints == (given.digest() if given else "") and marks.hold(summary)
            if same and (not abs_ or is_current(summary.palette_usage, abs_)):
                continue
            whole = self._catalogue.chapter(chapter)
            edited = {str(n) for n, (then, now) in enumerate(zip(whole.palette, abs_, strict=False)) if then != now}
            for number, page in enumerate(whole.pages):
                hinted = page.hints != digest_of(given.of(page.name) if given else ())
                stays = not hinted and edited.isdisjoint(page.colors) and marks.holds(page)
                if page.action == "coloured" and not stays:
                    found.append((chapter, number))
        return found

    def _hints(self, cast: Cast) -> Hints | None:
        """Those that the output keeps; before it keeps any, those that its job was given."""
        kept = kept_hints(self._storage, cast)
        if kept is None and self._catalogue.config.hints:
            return replace(read_hints(self._catalogue.config.hints, cast), given=False)
        return kept


def _rows(hints: Hints | None) -> dict[str, list[Given]]:
    pages = hints.by_page.items() if hints else ()
    return {
        page: [Given(h.x, h.y, h.radius, colour) for h, colour in zip(of_page, hints.colours[page], strict=True)]
        for page, of_page in pages
        if hints
    }


def _as_csv(rows: Mapping[str, Sequence[Given]]) -> bytes:
    """The file of hints."""
    numbers = ((page, each, (each.x, each.y, each.radius)) for page, given in rows.items() for each in given)
    return _table(COLUMNS, ((page, *(f"{value:.9g}" for value in at), each.colour) for page, each, at in numbers))


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    out = csv.writer(text, lineterminator="\n")
    out.writerow(columns)
    out.writerows(rows)
    try:
        return text.getvalue().encode()
    except UnicodeEncodeError as error:
        raise BadUsageError("the page's name is no Unicode, and can't be written in a hint file; rename it") from error
