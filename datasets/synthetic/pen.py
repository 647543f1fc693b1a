"""The pen of the generated series: shapes, lines and screentone, drawn as ink and as colour in one go.

A canvas is (H, W, 4) uint8: gray level, a + 128, b + 128 and a label (0 nobody, i the i-th of the cast, LETTERING).
Each stroke writes all four, so the ink, its chroma and who is where can never disagree. Lengths are in units of the
pen's own frame (see Pen.placed), x to the right, y down. Line widths are in widths of the page's ink line.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from imaging.color import lightness_of_level

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Points = Sequence[tuple[float, float]] | F64

LETTERING = 255
_TONE = 0.74  # share of the gray level under a screentone dot that the dot leaves
_SHIFT = 4  # fractional bits of the coordinates given to OpenCV


class Material(NamedTuple):
    """A flat colour of the series, in CIELAB; the ink shows its lightness alone.

    lightness: L*, 0 to 100.
    a: CIELAB a.
    b: CIELAB b.
    """

    lightness: float
    a: float = 0.0
    b: float = 0.0


INK = Material(5)
PAPER = Material(100)


def level_of(lightness: float) -> int:
    """Return the gray level whose L* is nearest to `lightness`."""
    return int(np.searchsorted(lightness_of_level(), min(lightness, 100.0) - 0.2).clip(0, 255))


def halftone(height: int, width: int, period: float) -> F32:
    """Return a screen of dots at 45 degrees, the usual angle of one ink.

    height: in pixels.
    width: in pixels.
    period: from dot to dot along the diagonals, in pixels.

    Returns (height, width) thresholds in [0, 1]: `screen < s` is inked where a tone of strength s is laid.
    """
    turn = np.float32(np.pi * 2**0.5 / period)
    x, y = (np.cos(np.arange(n, dtype=np.float32) * turn) for n in (width, height))
    return np.float32(0.5) - np.outer(y, np.float32(0.5) * x)


def curve(points: Points, *, closed: bool = True, steps: int = 7) -> F64:
    """Return a Catmull-Rom spline (N, 2) through points.

    points: x, y.
    closed: whether it returns to the first point.
    steps: points of the spline to a span.
    """
    knots = np.asarray(points, dtype=np.float64)
    if closed:
        padded = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        padded = np.concatenate([knots[:1], knots, knots[-1:]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    p0, p1, p2, p3 = (padded[i : len(padded) - 3 + i, None, :] for i in range(4))
    spans = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    line = spans.reshape(-1, 2)
    return line if closed else np.concatenate([line, knots[-1:]])


def oval(x: float, y: float, rx: float, ry: float, start: float = 0.0, end: float = 360.0) -> F64:
    """Return points (41, 2) of an ellipse, or of its arc.

    x: of the middle.
    y: of the middle.
    rx: radius along x.
    ry: radius along y.
    start: where the arc starts, in degrees clockwise on the page, from the right.
    end: where the arc ends, likewise.
    """
    t = np.deg2rad(np.linspace(start, end, 41))
    return np.stack([x + rx * np.cos(t), y + ry * np.sin(t)], axis=1)


def blank(height: int, width: int) -> U8:
    """Return a canvas of paper (height, width, 4)."""
    canvas = np.empty((height, width, 4), dtype=np.uint8)
    canvas.view(np.uint32)[:] = np.array([255, 128, 128, 0], dtype=np.uint8).view(np.uint32)
    return canvas


def lay(under: U8, over: U8, mask: NDArray[np.bool_]) -> None:
    """Copy a canvas onto another of its size.

    under: is changed in place.
    over: is copied.
    mask: (H, W) where.
    """
    np.copyto(under.view(np.uint32), over.view(np.uint32), where=mask[..., None])


@dataclass(frozen=True)
class Pen:
    """A canvas, a frame on it, and what to draw with.

    canvas: (H, W, 4) as in the head of this module, drawn on in place.
    screen: (H, W) halftone thresholds.
    line: width of the ink line, in pixels.
    matrix: of the pen's frame: pixels = matrix @ point + origin.
    origin: of the pen's frame, in pixels.
    label: who is being drawn.
    dyes: materials that another one is drawn for.
    """

    canvas: U8
    screen: F32
    line: float
    matrix: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 1.0)
    origin: tuple[float, float] = (0.0, 0.0)
    label: int = 0
    dyes: Mapping[Material, Material] = field(default_factory=dict)

    @property
    def scale(self) -> float:
        """Pixels of a unit of the frame."""
        a, b, c, d = self.matrix
        return abs(a * d - b * c) ** 0.5

    def placed(self, x: float, y: float, scale: float = 1.0, *, flip: bool = False, tilt: float = 0.0) -> "Pen":
        """Return a pen with another frame.

        x: of the new frame's origin, in this frame.
        y: of the new frame's origin, in this frame.
        scale: of its unit.
        flip: whether it is mirrored left to right.
        tilt: how far it is turned, in degrees.
        """
        m = np.array(self.matrix).reshape(2, 2)
        c, s = np.cos(np.deg2rad(tilt)) * scale, np.sin(np.deg2rad(tilt)) * scale
        side = -1 if flip else 1
        turned = m @ np.array([[side * c, -side * s], [s, c]])
        ox, oy = m @ np.array([x, y]) + np.array(self.origin)
        a, b, c, d = (float(v) for v in turned.ravel())
        return replace(self, matrix=(a, b, c, d), origin=(float(ox), float(oy)))

    def at(self, points: Points) -> F64:
        """Return points of the frame as pixels of the canvas."""
        return np.asarray(points, dtype=np.float64) @ np.array(self.matrix).reshape(2, 2).T + np.array(self.origin)

    def paint(self, material: Material) -> tuple[int, int, int, int]:
        """Return what the canvas holds where this material is drawn."""
        material = self.dyes.get(material, material)
        return level_of(material.lightness), round(material.a) + 128, round(material.b) + 128, self.label

    def fill(
        self, points: Points, material: Material, *, line: float = 1.0, shade: float = 0.0, tone: float = 0.0
    ) -> None:
        """Draw a closed shape with its outline.

        points: of the outline.
        material: of the shape.
        line: width of the outline; 0 for none.
        shade: depth of the toned rim on the side away from the light, in units of the frame.
        tone: strength of a screentone over the whole shape.
        """
        pixels = self.at(points)
        cv2.fillPoly(self.canvas, [_fixed(pixels)], self.paint(material), cv2.LINE_8, _SHIFT)
        if tone:
            self._tone(pixels, 0.0, tone)
        if shade:
            self._tone(pixels, shade * self.scale, 0.62)
        if line:
            self._trace(pixels, self.line * line, INK, closed=True)

    def disc(
        self, x: float, y: float, rx: float, ry: float, material: Material, *, line: float = 1.0, shade: float = 0.0
    ) -> None:
        """Draw an ellipse with its outline.

        x: of the middle.
        y: of the middle.
        rx: radius along x.
        ry: radius along y.
        material: of the shape.
        line: width of the outline; 0 for none.
        shade: depth of the toned rim, as for `fill`.
        """
        self.fill(oval(x, y, rx, ry), material, line=line, shade=shade)

    def stroke(self, points: Points, width: float = 1.0, material: Material = INK, *, closed: bool = False) -> None:
        """Draw a line.

        points: of the line.
        width: in ink lines.
        material: of the line.
        closed: whether it returns to its first point.
        """
        self._trace(self.at(points), self.line * width, material, closed=closed)

    def limb(self, points: Points, width: float, material: Material, *, line: float = 1.0) -> None:
        """Draw a round-ended band with its outline: an arm, a leg, a tail.

        points: along the band's middle.
        width: in units of the frame.
        material: of the band.
        line: width of the outline; 0 for none.
        """
        pixels = self.at(points)
        if line:
            self._trace(pixels, width * self.scale + 2 * line * self.line, INK, closed=False)
        self._trace(pixels, width * self.scale, material, closed=False)

    def puff(self, circles: Sequence[tuple[float, float, float]], material: Material, *, shade: float = 0.0) -> None:
        """Draw the union of discs with one outline round all: a cloud, a tree's foliage.

        circles: (x, y, radius) of each.
        material: of the union.
        shade: depth of the toned rims, as for `fill`.
        """
        for x, y, r in circles:
            self.stroke(oval(x, y, r, r), 2.0, closed=True)
        for x, y, r in circles:
            self.fill(oval(x, y, r, r), material, line=0)
        if shade:
            for x, y, r in circles:
                self._tone(self.at(oval(x, y, r, r)), shade * self.scale, 0.55)

    def wash(self, top: float, bottom: float, above: Material, below: Material) -> None:
        """Draw a band across the whole canvas that turns from one material into another.

        top: y where the band begins.
        bottom: y where it ends.
        above: material at the top.
        below: material at the bottom.
        """
        first, last = (round(float(v)) for v in self.at([(0, top), (0, bottom)])[:, 1])
        rows = np.arange(max(first, 0), min(last, self.canvas.shape[0]))
        share = ((rows - first) / max(last - first, 1))[:, None]
        colors = np.array(self.paint(above)) * (1 - share) + np.array(self.paint(below)) * share
        self.canvas[rows] = np.round(colors).astype(np.uint8)[:, None]

    def fade(self, top: float, bottom: float, strong: float, weak: float = 0.0) -> None:
        """Lay a screentone across the whole canvas.

        top: y where it begins.
        bottom: y where it ends.
        strong: its strength at `top`.
        weak: its strength at `bottom`.
        """
        first, last = (round(float(v)) for v in self.at([(0, top), (0, bottom)])[:, 1])
        low, high = max(min(first, last), 0), min(max(first, last), self.canvas.shape[0])
        strength = strong + (np.arange(low, high) - first) / ((last - first) or 1) * (weak - strong)
        dots = self.screen[low:high] < strength[:, None].astype(np.float32)
        _darken(self.canvas[low:high], dots)

    def hatch(self, points: Points, spacing: float, angle: float, width: float = 0.6) -> None:
        """Draw parallel ink lines inside a closed shape.

        points: of the shape.
        spacing: from line to line, in units of the frame.
        angle: in degrees.
        width: in ink lines.
        """
        mask, left, top = self._mask(self.at(points))
        if mask.size == 0:
            return
        y, x = np.indices(mask.shape, dtype=np.float32)
        turn = np.deg2rad(angle)
        across = (x + left) * np.float32(np.sin(turn)) - (y + top) * np.float32(np.cos(turn))
        inked = (across % max(spacing * self.scale, 3.0) < max(self.line * width, 1.0)) & (mask > 0)
        self.canvas[top : top + mask.shape[0], left : left + mask.shape[1]][inked] = self.paint(INK)

    def ring(self, box: Points, width: float) -> None:
        """Thicken the silhouette of what carries this pen's label.

        box: two opposite corners of the part of the frame where it is.
        width: in ink lines.
        """
        reach = max(1, round(self.line * width))
        corners = self.at(box)
        left, top = (int(v) for v in np.maximum(corners.min(axis=0), 0))
        right, bottom = (int(v) for v in np.maximum(corners.max(axis=0), 0))
        area = self.canvas[top:bottom, left:right]
        if area.size == 0:
            return
        own = (area[..., 3] == self.label).astype(np.uint8)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        around = cv2.dilate(own, kernel) > own
        area[around] = replace(self, label=0).paint(INK)

    def _trace(self, pixels: F64, width: float, material: Material, *, closed: bool) -> None:
        cv2.polylines(
            self.canvas, [_fixed(pixels)], closed, self.paint(material), max(1, round(width)), cv2.LINE_8, _SHIFT
        )

    def _mask(self, pixels: F64) -> tuple[U8, int, int]:
        """Return a shape as (h, w), 0 or 1, cut to its box on the canvas, and the box's left and top."""
        height, width = self.canvas.shape[:2]
        left, top = (int(v) for v in np.clip(np.floor(pixels.min(axis=0)), 0, (width, height)))
        right, bottom = (int(v) for v in np.clip(np.ceil(pixels.max(axis=0)) + 1, 0, (width, height)))
        mask = np.zeros((bottom - top, right - left), dtype=np.uint8)
        if mask.size:
            cv2.fillPoly(mask, [_fixed(pixels - (left, top))], 1, cv2.LINE_8, _SHIFT)
        return mask, left, top

    def _tone(self, pixels: F64, depth: float, strength: float) -> None:
        mask, left, top = self._mask(pixels)
        if mask.size == 0:
            return
        if depth:
            cv2.fillPoly(mask, [_fixed(pixels - (left + depth, top + depth * 0.6))], 0, cv2.LINE_8, _SHIFT)
        area = slice(top, top + mask.shape[0]), slice(left, left + mask.shape[1])
        _darken(self.canvas[area], (self.screen[area] < strength) & (mask > 0))


def _darken(area: U8, dots: NDArray[np.bool_]) -> None:
    gray = area[..., 0]
    np.copyto(gray, (gray * np.float32(_TONE)).astype(np.uint8), where=dots)


def _fixed(pixels: F64) -> NDArray[np.int32]:
    return np.round(np.clip(pixels, -30000, 30000) * (1 << _SHIFT)).astype(np.int32)
