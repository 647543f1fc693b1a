"""A page in bands of rows: what is made on the way to it takes the memory of a band, and stays in the cache.

H, W: pixels of the page.
h, w: size of a small map.
n: rows of a band.

Whatever is computed for a band is the same, bit for bit, as on the page as a whole.
"""

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

ChromaRows = Callable[[slice], F32]
"""Returns a page's chroma in these rows: (2, n, W), a and b. The array is new, and may be changed."""

_PIXELS = 131_072  # of a band: its planes stay in the cache, and the calls for each band cost little


def bands(shape: tuple[int, int]) -> Iterator[slice]:
    """Yield the rows of each band of a page of this shape, (H, W), from the top."""
    height, width = shape
    step = max(1, _PIXELS // max(1, width))
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def with_margin(rows: slice, margin: int, height: int) -> tuple[slice, slice]:
    """Return these rows with up to `margin` more at either side, and where among them `rows` are.

    height: H.
    """
    wide = slice(max(rows.start - margin, 0), min(rows.stop + margin, height))
    return wide, slice(rows.start - wide.start, rows.stop - wide.start)


def resized_rows(plane: F32, shape: tuple[int, int], rows: slice, out: F32 | None = None) -> F32:
    """Return some rows of a map that is resized to the page.

    plane: (h, w).
    shape: (H, W).
    rows: of the page.
    out: (n, W), where to write them; None for a new array.

    Returns (n, W), bilinear as cv2.resize is, to within its rounding. OpenCV itself can begin at the first row only.
    """
    if len(plane) == 1:
        plane = np.repeat(plane, 2, axis=0)
    height, width = shape
    y = ((np.arange(rows.start, rows.stop) + 0.5) * (len(plane) / height) - 0.5).clip(0, len(plane) - 1)
    above = y.astype(np.intp)
    # Two rows at least: OpenCV rounds a row by itself differently.
    first = min(int(above[0]), len(plane) - 2)
    last = max(min(int(above[-1]) + 1, len(plane) - 1), first + 1)
    wide = cv2.resize(plane[first : last + 1], (width, last + 1 - first), interpolation=cv2.INTER_LINEAR)
    step = np.diff(wide, axis=0, append=wide[-1:])[above - first]
    step *= (y - above).astype(np.float32)[:, None]
    resized: F32 = np.take(wide, above - first, axis=0, out=out, mode="clip")
    resized += step
    return resized


def resized_chroma(chroma: F32, shape: tuple[int, int]) -> ChromaRows:
    """Return the rows of a chroma map (h, w, 2) ab that is resized to a page of this shape, (H, W)."""
    planes = cv2.split(chroma)

    def rows_of(rows: slice) -> F32:
        both = np.empty((2, rows.stop - rows.start, shape[1]), np.float32)
        for plane, out in zip(planes, both, strict=True):
            if plane.shape == shape:
                out[:] = plane[rows]
            else:
                resized_rows(plane, shape, rows, out)
        return both

    return rows_of


def whole(chroma: ChromaRows, shape: tuple[int, int]) -> F32:
    """Return all of a page's chroma: (H, W, 2) ab.

    shape: (H, W).
    """
    full = np.empty((*shape, 2), np.float32)
    for rows in bands(shape):
        full[rows] = cv2.merge(list(chroma(rows)))
    return full
