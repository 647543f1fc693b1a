"""Finds ink lines, and measures how far colour runs over them.

H, W: pixels of a page. ab is in CIELAB units.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from imaging.color import F32, U8

_PEN = 1.5  # pixels: standard deviation of the blur before strokes are searched
_STROKE = 12.0  # levels: least curvature across a stroke, times the blur's variance
_BESIDE, _BEYOND = 3.0, 10.0  # pixels from a stroke's middle: just past its ink; where colours no longer mix
_LEVEL, _STEP = 4.0, 12.0  # ab: below the first a side has one colour; above the second a line is a boundary


class Strokes(NamedTuple):
    """n pixels in the middle of ink lines.

    x, y: position, (n,) float32, pixels.
    normal_x, normal_y: unit normal of the line there, (n,) float32.
    """

    x: F32
    y: F32
    normal_x: F32
    normal_y: F32

    def only(self, kept: NDArray[np.bool_]) -> "Strokes":
        """The strokes for which `kept` (n,) is true."""
        return Strokes(*(values[kept] for values in self))

    def around(self, values: F32, offset: float) -> F32:
        """`values` (H, W, 2) at `offset` pixels along each normal, bilinear: (n, 2)."""
        x, y = self.x + offset * self.normal_x, self.y + offset * self.normal_y
        found = [
            cv2.remap(
                values, x[i : i + 30000, None], y[i : i + 30000, None], cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE
            )
            for i in range(0, len(x), 30000)  # remap takes fewer than 32768 rows
        ]
        return np.concatenate(found).reshape(-1, 2) if found else np.empty((0, 2), np.float32)


def find_strokes(gray: U8) -> Strokes:
    """The middles of dark lines: ridges of the Hessian of the blurred page (Steger 1998).

    gray: (H, W) levels.
    """
    soft = cv2.GaussianBlur(gray.astype(np.float32), (0, 0), _PEN)
    xx, yy, xy = (cv2.Sobel(soft, -1, dx, dy, ksize=3) / 4 for dx, dy in ((2, 0), (0, 2), (1, 1)))
    half, middle = np.hypot((xx - yy) / 2, xy), (xx + yy) / 2
    strong = ((middle + half) * _PEN**2 > _STROKE) & (np.abs(middle - half) < (middle + half) / 2)
    y, x = np.nonzero(strong)
    turn = 0.5 * np.arctan2(2 * xy[y, x], (xx - yy)[y, x])
    columns = (values.astype(np.float32) for values in (x, y, np.cos(turn), np.sin(turn)))
    strokes, pair = Strokes(*columns), np.dstack([soft, soft])
    sides = np.minimum(strokes.around(pair, 1)[:, 0], strokes.around(pair, -1)[:, 0])
    return strokes.only(soft[y, x] <= sides)


def near_strokes(strokes: Strokes, shape: tuple[int, int], *, reach: int = 3) -> NDArray[np.bool_]:
    """(H, W) whether a pixel lies within `reach` pixels of a stroke's middle."""
    marked = np.zeros(shape, np.uint8)
    marked[strokes.y.astype(int), strokes.x.astype(int)] = 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return cv2.dilate(marked, disk).astype(bool)


class Bleed(NamedTuple):
    """Sums over a page's strokes, so that pages are added before they are divided.

    off: how much chroma changes between 3 and 10 pixels off the line, on both sides; summed over the boundaries.
    across: how much it changes from one side to the other, 10 pixels off the line on each; summed over the boundaries.
    boundaries: strokes where the truth has one colour on each side and two across.
    false: the chroma step over plain strokes, summed.
    plain: strokes where the truth has no step.

    Bleed is off / across. 0: all of the change is at the line. A ramp over the whole way gives 0.7. Above 1, chroma
    changes more beside lines than across them. A page of one colour has no bleed, whatever its truth.
    false / plain is in ab units.
    """

    off: float
    across: float
    boundaries: int
    false: float
    plain: int


def bleed(ours: F32, truth: F32, strokes: Strokes) -> Bleed:
    """How far colour runs over the lines.

    ours, truth: (H, W, 2) ab of the joined pages.
    strokes: those of the page's ink.

    Only strokes are counted on whose sides the truth changes by less than 4 ab units between 3 and 10 pixels off the
    middle. Such a stroke is a boundary if the truth steps by more than 12 from 3 pixels on one side to 3 on the other.
    It is plain if the truth steps by less than 3.
    """

    def profile(values: F32, of: Strokes) -> list[F32]:
        return [of.around(values, offset) for offset in (-_BEYOND, -_BESIDE, _BESIDE, _BEYOND)]

    def length(step: F32) -> F32:
        return np.hypot(step[:, 0], step[:, 1])

    left, left_side, right_side, right = profile(truth, strokes)
    level = (length(left - left_side) < _LEVEL) & (length(right - right_side) < _LEVEL)
    step = length(right_side - left_side)
    boundary, plain = strokes.only(level & (step > _STEP)), strokes.only(level & (step < _STEP / 4))
    left, left_side, right_side, right = profile(ours, boundary)
    off = length(left - left_side) + length(right - right_side)
    _, one, other, _ = profile(ours, plain)
    false = length(other - one)
    return Bleed(float(off.sum()), float(length(right - left).sum()), len(off), float(false.sum()), len(false))
