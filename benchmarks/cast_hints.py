"""Hints that name a colour of the cast, as somebody would give them on the pages of the generated series.

S: side of the square that the network sees.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from imaging.color import F32, U8

_CELL = 16.0  # ab: colours of a character that are nearer to each other than about that have one name
_LEAST_PART = 0.1  # of a character's pixels, that a name is worth
_GRAY = 8.0  # chroma: a grayer part needs no name
_SAME = 10.0  # ab: of a part's pixels
_ROOM = 2.0  # pixels from a hint's centre to the part's edge, at least
_RADIUS = 3.0  # pixels

Entry = tuple[int, F32]  # a character, from 1, and the ab of one of its parts


def name_parts(chromas: Sequence[F32], casts: Sequence[U8], count: int) -> list[Entry]:
    """The colours of the characters that are worth a name.

    chromas: (S, S, 2) true ab of pages.
    casts: (S, S), 0 for nobody, i for the i-th character.
    count: of the characters.
    """
    entries = []
    for who in range(1, count + 1):
        own = np.concatenate([chroma[cast == who] for chroma, cast in zip(chromas, casts, strict=True)])
        cells, of, counts = np.unique(np.round(own / _CELL), axis=0, return_inverse=True, return_counts=True)
        for number in range(len(cells)):
            color = own[of.reshape(-1) == number].mean(axis=0)
            if counts[number] >= _LEAST_PART * len(own) and np.hypot(*color) > _GRAY:
                entries.append((who, color.astype(np.float32)))
    return entries


def hint_parts(chroma: F32, cast: U8, entries: Sequence[Entry]) -> F32:
    """One hint for each part that can be seen, at its roomiest place, with the colour of its name: (S, S, 3) as
    `draw_hints` returns it.

    chroma: (S, S, 2) true ab: where a part is.
    cast: (S, S).
    """
    side = cast.shape[0]
    drawn = np.zeros((side, side, 3), np.float32)
    rows, columns = np.ogrid[:side, :side]
    for who, color in entries:
        part: NDArray[np.uint8] = ((cast == who) & (np.hypot(*np.moveaxis(chroma - color, -1, 0)) < _SAME)).astype(
            np.uint8
        )
        room = cv2.distanceTransform(part, cv2.DIST_L2, 3)
        y, x = np.unravel_index(int(room.argmax()), room.shape)
        if room[y, x] >= _ROOM:
            drawn[(rows - y) ** 2 + (columns - x) ** 2 <= min(_RADIUS, float(room[y, x])) ** 2] = (1.0, *color)
    return drawn
