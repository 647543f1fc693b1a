"""Panels of a page, found by the gutters between them.

H, W: pixels of the page.

The page is examined with its longer side at 900 pixels. It is cut in two along its widest gutter: a straight band of
paper from one side to the other, upright, level or slanted. The halves are cut in turn, and so on. A cell that can not
be cut is a panel if it is framed, or drawn to its edges; a figure on bare paper is not. At last closed frames are
looked for that lie within other panels or over several.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from imaging.color import U8

Counted = NDArray[np.uint16]
Points = NDArray[np.float32]  # (K, 2) x, y

_LONG = 900  # pixels of the longer side: at this size the finest gutters are two or three pixels wide
_PAPER, _NIGHT = 228, 28  # gray levels of a white gutter, and of a black one
_OPEN = 0.004  # share of ink in a gutter that nothing crosses, less than the border lines of a panel have
_CROSSED = 0.25  # share of ink in a gutter that art or text crosses, if lines bound it on both sides
_BOUND = 0.6  # share of ink on a line that bounds a gutter
_WIDEST = 0.08  # widest crossed gutter, to the page's longer side
_SLANTS = np.tan(np.radians(np.arange(-32, 33, 1.0)))
_SAMPLES, _LIKELY = 24, 3  # pixels at which slanted lines are first sampled; slants that are tried in full
_INKED = 4096  # ink and all pixels are counted in one sum, which float32 holds for up to 4,095 pixels
_LEAST = 0.015  # share of the page's area; a smaller panel is dropped
_ALL = 0.9  # the same; a single panel as large as this is the page
_SLIVER = 0.004  # the same; a cut takes off at least this much
_FRAMED = 0.7  # the least share of a panel's edge that is not paper
_SAME = 0.75  # intersection over union from which two contours count as one panel


@dataclass(frozen=True)
class Panel:
    """A panel of a page.

    corners: (x, y) of a convex polygon on the page, in pixels, clockwise.
    """

    corners: tuple[tuple[int, int], ...]

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The panel's bounds: left, top, right, bottom."""
        xs, ys = zip(*self.corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)


def find_panels(gray: U8) -> list[Panel]:
    """Find the panels of a page, from top to bottom.

    gray: (H, W) levels.

    Returns no panels where neither a gutter nor a frame is found. Panels do not overlap, except for frames that lie
    over others. A page that is one panel up to all its edges has none: it is the page.
    """
    height, width = gray.shape
    scale = min(1.0, _LONG / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if min(size) < 32:
        return []
    small = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    found: list[Points] = []
    rim = np.concatenate([small[:2].ravel(), small[-2:].ravel(), small[:, :2].ravel(), small[:, -2:].ravel()])
    inks = [small < _PAPER, *([small > _NIGHT] if np.median(rim) <= _NIGHT else [])]
    for ink in (tone.astype(np.uint8) for tone in inks):
        cells = list(_cells(ink, _page(size)))
        if len(cells) > 1 or (cells and cv2.contourArea(cells[0]) < _ALL * ink.size):
            found = [cell for cell in cells if _covered(ink, cell) >= _FRAMED]
            break
    found += [frame for frame in _frames(small) if all(_overlap(frame, other) < _SAME for other in found)]
    found = [cell for cell in found if cv2.contourArea(cell) >= _LEAST * size[0] * size[1]]
    found.sort(key=lambda cell: (float(cell[:, 1].min()), float(cell[:, 0].min())))
    return [Panel(_on_page(cell, width / size[0], height / size[1], width, height)) for cell in found]


def _page(size: tuple[int, int]) -> Points:
    width, height = size
    return np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)


def _on_page(cell: Points, scale_x: float, scale_y: float, width: int, height: int) -> tuple[tuple[int, int], ...]:
    xs = np.clip(np.round(cell[:, 0] * scale_x), 0, width).astype(int)
    ys = np.clip(np.round(cell[:, 1] * scale_y), 0, height).astype(int)
    return tuple((int(x), int(y)) for x, y in zip(xs, ys, strict=True))


def _cells(ink: U8, cell: Points) -> Iterator[Points]:
    """Yield the parts that a cell (K, 2) falls into along its gutters.

    ink: 1 where the page is not of the gutter's tone.
    """
    waiting = [cell]
    while waiting:
        trimmed = _trim(ink, waiting.pop())
        if trimmed is None or cv2.contourArea(trimmed) < _LEAST * ink.size:
            continue
        line = _gutter(ink, trimmed)
        halves = [_half(trimmed, *line), _half(trimmed, -line[0], -line[1])] if line else []
        # A cut that takes nothing off would be found again, for ever.
        if halves and all(len(half) >= 3 and cv2.contourArea(half) > _SLIVER * ink.size for half in halves):
            waiting += halves
        else:
            yield trimmed


def _trim(ink: U8, cell: Points) -> Points | None:
    """Return the cell without its margins of bare paper; None where it is all paper."""
    part, left, top = _cut_out(ink, cell)
    held = cv2.boundingRect(part)
    if not held[2]:
        return None
    x0, y0 = left + held[0], top + held[1]
    for normal, offset in (((1, 0), x0), ((0, 1), y0), ((-1, 0), -(x0 + held[2])), ((0, -1), -(y0 + held[3]))):
        cell = _half(cell, np.array(normal, np.float32), offset)
        if len(cell) < 3:
            return None
    return cell


def _inside(cell: Points, left: int, top: int, width: int, height: int) -> U8:
    """Return (height, width): 1 within the cell, with (left, top) of the page as its corner."""
    mask = np.zeros((height, width), np.uint8)
    corners = np.round((cell - (left, top) - 0.5) * 16).astype(np.int32)
    cv2.fillConvexPoly(mask, corners, 1, shift=4)
    return mask


def _cut_out(ink: U8, cell: Points) -> tuple[U8, int, int]:
    """Return the ink in the cell's bounding box, 0 outside of the cell, and the box's left and top."""
    left, top, right, bottom = _bounds(cell, ink.shape)
    return ink[top:bottom, left:right] & _inside(cell, left, top, right - left, bottom - top), left, top


def _bounds(cell: Points, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    low, high = np.floor(cell.min(axis=0)).astype(int), np.ceil(cell.max(axis=0)).astype(int)
    return max(int(low[0]), 0), max(int(low[1]), 0), min(int(high[0]), shape[1]), min(int(high[1]), shape[0])


def _gutter(ink: U8, cell: Points) -> tuple[Points, float] | None:
    """Return the line through the cell's clearest gutter: its unit normal, and its offset along that.

    Upright and level gutters come before slanted ones. Returns None where there is none.
    """
    part, left, top = _cut_out(ink, cell)
    inside = _inside(cell, left, top, part.shape[1], part.shape[0])
    counted = inside.astype(np.uint16) + part.astype(np.uint16) * _INKED
    widest = _WIDEST * max(ink.shape)
    for slanted in (False, True):
        if slanted and cv2.contourArea(cell) < 3 * _LEAST * ink.size:
            return None
        best = (0.0, 0.0, 0.0, False)
        for turned in (False, True):
            seen = cv2.transpose(counted) if turned else counted
            for slant in _promising(seen, widest) if slanted else (0.0,):
                clear, at = _clearest(seen, slant, widest)
                best = max(best, (clear, at, slant, turned))
        clear, at, slant, turned = best
        if clear:
            # The line is y = at + slant * x in the box, with x and y exchanged where the box was turned.
            normal = np.array([1, -slant] if turned else [-slant, 1], np.float32)
            offset = at + float(normal @ (left, top))
            length = float(np.hypot(*normal))
            return normal / np.float32(length), offset / length
    return None


def _shares(counted: Counted, slant: float, samples: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the share of ink on each line y = at + slant * x, and whether it goes all the way through the cell.

    counted: (height, width), 1 inside of the cell, and _INKED more where there is ink.
    slant: of the lines.
    samples: number of pixels at which a line is sampled.

    Both results are (height,).
    """
    height, width = counted.shape
    if slant or samples < width:
        step = width / samples
        shear = np.array([[step, 0, step / 2 - 0.5], [slant * step, 1, slant * step / 2]])
        counted = cv2.warpAffine(counted, shear, (samples, height), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    sums = cv2.reduce(counted, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32F)[:, 0]
    inked = np.floor(sums / _INKED)
    held = sums - inked * _INKED
    return np.where(held > 0, inked / np.maximum(held, 1), np.float32(1)), held > 0.75 * held.max()


def _promising(counted: Counted, widest: float) -> list[float]:
    """Return the few slants that may hold a gutter bounded on both sides.

    Their lines are sampled at a few pixels only.
    """
    height, width = counted.shape
    slants = _SLANTS[(_SLANTS != 0) & (np.abs(_SLANTS) * width <= 0.6 * height)]  # a steeper line cuts off a corner
    if not len(slants):
        return []
    samples = min(width, _SAMPLES)
    share = np.empty((len(slants), height), np.float32)
    for row, slant in zip(share, slants, strict=True):
        row[:], whole = _shares(counted, float(slant), samples)
        row[~whole] = 1
    reach = round(widest)
    kernel = np.ones((1, 2 * reach + 1), np.uint8)
    kernel[:, reach + 1 :] = 0
    # The most ink on a line within reach, before and after; the smaller of the two bounds the gutter.
    bound = np.minimum(*(cv2.dilate(share, side, borderValue=0) for side in (kernel, kernel[:, ::-1].copy())))
    contrast = np.where(share <= _CROSSED, bound - share, 0).max(axis=1)
    likely = np.argsort(-contrast, kind="stable")[:_LIKELY]
    return [float(slants[i]) for i in likely if contrast[i] > _BOUND - _CROSSED]


def _clearest(counted: Counted, slant: float, widest: float) -> tuple[float, float]:
    """Return how clear the clearest band of paper along y = at + slant * x is, and its middle `at`.

    The first is 0 if there is no such band.
    """
    height, width = counted.shape
    share, whole = _shares(counted, slant, width)
    share[~whole] = 1
    best = (0.0, 0.0)
    for limit in (_OPEN, _CROSSED):
        for start, stop in _runs(share <= limit):
            thick = stop - start
            if start == 0 or stop == height:
                continue
            crossed = limit == _CROSSED
            if crossed or thick < 4 or slant:
                near = share[max(start - 6, 0) : start].max(), share[stop : stop + 6].max()
                if min(near) < _BOUND or thick > widest:
                    continue
            clear = min(thick, widest) * (0.25 if crossed else 1.0)
            best = max(best, (float(clear), float(start + stop) / 2))
    return best


def _runs(marked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return (N, 2) start and stop of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(np.int8)))
    return edges.reshape(-1, 2)


def _half(cell: Points, normal: Points, offset: float) -> Points:
    """Return the part of a convex polygon where normal . (x, y) >= offset."""
    distance = cell @ normal - np.float32(offset)
    kept = []
    for i, (corner, d) in enumerate(zip(cell, distance, strict=True)):
        after, e = cell[(i + 1) % len(cell)], distance[(i + 1) % len(cell)]
        if d >= 0:
            kept.append(corner)
        if (d > 0 > e) or (d < 0 < e):
            kept.append(corner + (after - corner) * (d / (d - e)))
    return np.array(kept, np.float32).reshape(-1, 2)


def _covered(ink: U8, cell: Points) -> float:
    """Return the share of the cell's edge that has ink within a few pixels inside.

    The page's own edge counts as ink.
    """
    near = cv2.dilate(ink, np.ones((11, 11), np.uint8))
    points = _along(cell)
    x, y = np.clip(points[:, 0], 0, ink.shape[1] - 1), np.clip(points[:, 1], 0, ink.shape[0] - 1)
    edge = np.minimum(np.minimum(x, y), np.minimum(ink.shape[1] - 1 - x, ink.shape[0] - 1 - y)) < 3
    return float(((near[y, x] > 0) | edge).mean())


def _along(cell: Points) -> NDArray[np.int64]:
    """Return (N, 2) pixels along the polygon, about every second one."""
    parts = []
    for corner, after in zip(cell, np.roll(cell, -1, axis=0), strict=True):
        steps = max(2, int(np.hypot(*(after - corner)) / 2))
        parts.append(corner + (after - corner) * np.linspace(0, 1, steps, endpoint=False)[:, None])
    return np.floor(np.concatenate(parts)).astype(np.int64)


def _frames(small: U8) -> Iterator[Points]:
    """Yield the closed dark frames of four corners, the outermost of each, in pixels of the small page."""
    dark = cv2.morphologyEx((small < 110).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    contours, _ = cv2.findContours(dark, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    near = cv2.dilate(dark, np.ones((5, 5), np.uint8))
    found: list[Points] = []
    for contour in sorted(contours, key=cv2.contourArea, reverse=True):
        area = cv2.contourArea(contour)
        if area < 2 * _LEAST * small.size:
            break
        corners = cv2.approxPolyDP(contour, 0.02 * cv2.arcLength(contour, True), True)
        if len(corners) != 4 or not cv2.isContourConvex(corners) or area > _ALL * small.size:
            continue
        frame = corners[:, 0].astype(np.float32)
        if cv2.contourArea(corners) > 1.05 * area or any(_overlap(frame, other) >= _SAME for other in found):
            continue
        points = _along(frame)
        if near[points[:, 1], points[:, 0]].mean() >= 0.95:
            found.append(frame)
            yield frame


def _overlap(one: Points, other: Points) -> float:
    """Return the intersection over union of two convex polygons."""
    shared = cv2.intersectConvexConvex(one, other)[0]
    return float(shared / max(cv2.contourArea(one) + cv2.contourArea(other) - shared, 1e-6))
