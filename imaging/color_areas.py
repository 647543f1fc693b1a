"""How well a page's colours are right area by area, which the mean over pixels does not tell.

H, W: pixels of the page.
y, x: pixels of the work size, at most about `_WORK_PIXELS` in all.
N: areas.

CIEDE2000 rewards a cautious page: brown is never far off. Here each area is asked what its colour is called
(imaging.color_names), and how cloudy its colour is. An area is what lines enclose, parted where the name of the true
colour changes: painted pages have soft borders too, and lines leave openings. Its name is that of most of its pixels.
The median colour would not do: of an area half blue and half orange it is a gray that nobody sees.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from imaging.color import F32, U8, to_lab
from imaging.color_names import COLOR_NAMES, Names, color_names
from imaging.components import Mask
from imaging.lines import find_areas, find_lines

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

LEAST_AREAS = 10  # of a name, on all pages together: the share right of fewer is chance
_WORK_PIXELS = 250_000  # as imaging.lines looks for lines
_GAP = 8.0  # pixels: wider openings in a line are meant to be open
_LEAST = 0.001  # share of the page: what is smaller is no area
_SPECK = 5  # pixels: names of the truth are taken after a median of this width


@dataclass(frozen=True)
class AreaCounts:
    """What was counted in the areas of pages; that of several pages is the sum.

    right: (11,) areas of each of `COLOR_NAMES`, by the truth, that have the same name as coloured.
    total: (11,) areas of each name, by the truth.
    excess: spread of chroma beyond the truth's, in ab, summed over the pixels of the areas.
    chroma: chroma as coloured, in ab, summed over the same pixels.
    """

    right: I64
    total: I64
    excess: float
    chroma: float

    def named_right(self, least: int = LEAST_AREAS) -> float:
        """Return the share of areas that are named right, averaged over names and not over areas.

        least: names of fewer areas are left out.

        Returns a share in [0, 1]; NaN where no name has so many areas. A page all of one colour is right about one
        name only.
        """
        seen = self.total >= max(1, least)
        return float((self.right[seen] / self.total[seen]).mean()) if seen.any() else float("nan")

    def by_name(self) -> dict[str, tuple[int, int]]:
        """Return the areas named right and all areas of each name that the truth has."""
        counts = zip(COLOR_NAMES, self.right.tolist(), self.total.tolist(), strict=True)
        return {name: (right, total) for name, right, total in counts if total}

    @property
    def clouds(self) -> float:
        """The spread of chroma inside areas beyond the truth's, as a share of the mean chroma; 0 without any colour."""
        return self.excess / self.chroma if self.chroma else 0.0


class ColorAreas:
    """The areas of a page whose true colours are known.

    labels: (y, x) the area of each pixel, from 1; 0 for ink, and for what is too small.
    names: (N,) indices into `COLOR_NAMES`, by the truth.
    """

    def __init__(self, ink: U8, truth: U8, masked: Mask | None = None) -> None:
        """Find the areas.

        ink: (H, W) gray levels of the page.
        truth: (H, W, 3) sRGB.
        masked: (H, W) pixels that are in no area; None: any may be.
        """
        shrink = max(1.0, (ink.size / _WORK_PIXELS) ** 0.5)
        self._size = tuple(max(1, round(side / shrink)) for side in ink.shape[::-1])
        small = self._shrunk(truth)
        free = None if masked is None else self._shrunk(np.where(masked, np.uint8(255), np.uint8(0))) == 0
        self.labels = _find(self._shrunk(ink), color_names(cv2.medianBlur(small, _SPECK)), free)
        self._flat = self.labels.ravel()
        self._pixels = np.bincount(self._flat, minlength=1)[1:]
        self.names, self._spread, _ = self._look(small)

    def count(self, page: U8) -> AreaCounts:
        """Compare a coloured page with the truth.

        page: (H, W, 3) sRGB.
        """
        names, spread, chroma = self._look(self._shrunk(page))
        count = len(COLOR_NAMES)
        return AreaCounts(
            right=np.bincount(self.names[names == self.names], minlength=count),
            total=np.bincount(self.names, minlength=count),
            excess=float((np.maximum(spread - self._spread, 0) * self._pixels).sum()),
            chroma=chroma,
        )

    def _shrunk(self, page: U8) -> U8:
        small: U8 = cv2.resize(page, self._size, interpolation=cv2.INTER_AREA)
        return small

    def _look(self, small: U8) -> tuple[I64, F64, float]:
        """Return (N,) names, (N,) spreads of ab, and the sum of chroma over the areas' pixels.

        small: (y, x, 3) sRGB.
        """
        count, lab = len(COLOR_NAMES), to_lab(small)
        shape = (len(self._pixels) + 1, count)
        votes = np.bincount(self._flat * count + color_names(small).ravel(), minlength=shape[0] * count)
        variance = sum(self._variance(np.ascontiguousarray(lab[..., channel])) for channel in (1, 2))
        chroma = np.hypot(lab[..., 1], lab[..., 2])[self.labels > 0].sum(dtype=np.float64)
        return votes.reshape(shape)[1:].argmax(axis=1), np.sqrt(variance), float(chroma)

    def _variance(self, plane: F32) -> F64:
        """Return (N,) variances of (y, x) values in the areas."""

        def mean(values: F64) -> F64:
            sums = np.bincount(self._flat, weights=values, minlength=1)[1:]
            return sums / np.maximum(self._pixels, 1)

        values = plane.ravel().astype(np.float64)
        off = values - np.concatenate([[0.0], mean(values)])[self._flat]
        return mean(off * off)


def _find(ink: U8, names: Names, free: Mask | None) -> I32:
    """Return (y, x) labels from 1 of the areas.

    ink: (y, x) gray levels.
    names: (y, x) of the true colours.
    free: (y, x) where areas may be; None: anywhere.
    """
    lines = find_lines(ink)
    key = find_areas(lines, gap=_GAP) * len(COLOR_NAMES) + names
    parts = _connected(key, lines < 0.5 if free is None else (lines < 0.5) & free)
    large = np.bincount(parts.ravel()) >= _LEAST * ink.size
    large[0] = False
    return np.where(large, large.cumsum(), 0).astype(np.int32)[parts]


def _connected(key: I32, free: Mask) -> I32:
    """Return (y, x) components from 1 of neighbours with the same key; 0 where not free.

    OpenCV joins whatever is not 0. So the page is drawn at twice its size, with a pixel between two neighbours that is
    0 where their keys differ.
    """
    height, width = key.shape
    joined = np.zeros((2 * height - 1, 2 * width - 1), np.uint8)
    joined[::2, ::2] = free
    joined[1::2, ::2] = free[1:] & free[:-1] & (key[1:] == key[:-1])
    joined[::2, 1::2] = free[:, 1:] & free[:, :-1] & (key[:, 1:] == key[:, :-1])
    parts: I32 = cv2.connectedComponents(joined, connectivity=4)[1]
    return np.ascontiguousarray(parts[::2, ::2])
