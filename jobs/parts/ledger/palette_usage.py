"""Palette usage: which palette colours the pages of a chapter use. It decides which chapters an edit concerns.

A page's record lists each colour it uses, by the colour's number in the palette as text (JSON has no other keys):
[share of the page, a, b before the palette lock, a, b after it]. A driver keeps one row of numbers per colour and
chapter.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imaging.color import F32
from imaging.drift import Looks
from imaging.palette import Use

Recorded = Mapping[str, Sequence[float]]
_WIDTH = 13  # numbers per row


@dataclass(frozen=True)
class ColorUsage:
    """A palette colour in a chapter.

    number: its number in the palette.
    ab: what the palette had for it then.
    share: its share of a page, summed over the chapter's pages.
    before, after: its colour on the pages before and after the palette lock, one look per page.
    """

    number: int
    ab: tuple[float, float]
    share: float
    before: Looks
    after: Looks


def as_record(used: Mapping[int, Use]) -> dict[str, list[float]]:
    """The colours that a page uses, as its record holds them."""
    return {
        str(number): [round(use.share, 4), *(round(value, 1) for value in (*use.before, *use.after))]
        for number, use in used.items()
    }


def pack(pages: Iterable[Recorded], palette: Sequence[Sequence[float]]) -> bytes:
    """The palette usage of a chapter as bytes. Empty where no page uses a colour.

    pages: what `as_record` made for each page.
    palette: ab of each palette colour.
    All pages are computed at once, because planning a job does this for every manifest.
    """
    entries = [(int(number), *values) for page in pages for number, values in page.items()]
    if not entries:
        return b""
    table = np.array(entries)
    numbers, of = np.unique(table[:, 0].astype(int), return_inverse=True)
    count = np.bincount(of)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(of, values) / count

    columns = [numbers, *np.array(palette)[numbers].T, count * mean(table[:, 1]), count]
    for a, b in (table[:, 2:4].T, table[:, 4:6].T):
        means = mean(a), mean(b)
        square = mean((a - means[0][of]) ** 2 + (b - means[1][of]) ** 2)
        columns += [*means, square, mean(np.hypot(a, b))]
    return np.stack(columns, axis=1).astype(np.float32).tobytes()


def unpack(packed: bytes) -> list[ColorUsage]:
    """The inverse of `pack`."""
    return [
        ColorUsage(int(row[0]), (row[1], row[2]), row[3], _looks(row[4], row[5:9]), _looks(row[4], row[9:13]))
        for row in _rows(packed).tolist()
    ]


def is_current(packed: bytes, palette: Sequence[Sequence[float]]) -> bool:
    """Whether each colour that was used has the same ab in this palette as it had then."""
    rows = _rows(packed)
    numbers = rows[:, 0].astype(int)
    if not len(rows):
        return True
    return int(numbers.max()) < len(palette) and bool((np.array(palette, np.float32)[numbers] == rows[:, 1:3]).all())


def _rows(packed: bytes) -> F32:
    return np.frombuffer(packed, np.float32).reshape(-1, _WIDTH)


def _looks(count: float, row: Sequence[float]) -> Looks:
    a, b, square, chroma = row
    return Looks(int(count), (a, b), square, chroma)
