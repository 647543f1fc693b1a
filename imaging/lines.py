"""Colour that keeps to the lines: chroma predicted for a small square, brought to the page and kept off the ink.

H, W: pixels of the page. h, w: the chroma map's cells, as the network gave them. y, x: pixels of the work size, about
`_WORK_PIXELS` in all. Gray levels are uint8, ab CIELAB units. Three steps:

1. `upsample_chroma`: a cell of the map is a mean over some pixels of the page; what the page's own levels do inside
   the cell tells where in it the colour changes.
2. `keep_sides`: next to a line the map has mixed the colours of both sides. There each pixel takes the chroma of what
   lies further in on its own side.
3. `draw_together`: an area that lines enclose, if it is nearly of one colour, comes closer to it. Off unless asked for:
   on the pages it was measured on it costs a good prediction more than a poor one gains.
"""

import itertools

import cv2
import numpy as np
from numpy.typing import NDArray

from imaging.color import F32, U8

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]

_WORK_PIXELS = 250_000  # a page of 1000 x 1400 at two fifths: its lines are still a pixel wide
_GUIDE_NOISE = 130.0  # levels squared: a variance of gray that tells nothing about colour (paper, screentone, JPEG)
_GUIDE_REACH = 20.0  # levels: how far from its cell's mean a pixel's gray is believed
_PEN = 7  # pixels: narrower dark strokes are lines, not areas
_INK = (10.0, 40.0)  # levels below the paper around: no line, a line
_EDGE = (6.0, 30.0)  # levels from one pixel to the next: no edge, an edge
_GAP = 8.0  # pixels: wider openings in a line are meant
_MIXED = 0.9  # cells: how far from a line the map has mixed both sides
_REACH = 1.5  # cells: how far along its own side a pixel looks for its colour
_WALL = 15.0  # pixels of free way that a line counts for
_ENOUGH = 0.5  # mean sureness of the surroundings from which they are believed in full
_PASSES = 2
_UNIFORM = 10.0  # ab: deviation from a plane at which an area no longer counts as of one colour
_UNIFORM_GRAY = 5.0  # levels: the same of the page's own gray
_FEW = 10.0  # pixels: an area with no more to be seen is hardly believed
_STIFF = 500.0  # pixels cubed: an area whose second moment is smaller has hardly a slope


def settle_chroma(gray: U8, chroma: F32, *, sides: float = 1.0, areas: float = 0.0) -> F32:
    """A predicted chroma map at the size of the page, its colours kept to their own side of the ink.

    gray: (H, W) uint8 levels of the page. chroma: (h, w, 2) float32 ab. sides, areas: strength in [0, 1] of the steps
    `keep_sides` and `draw_together`; without both, the map is only stretched, by `upsample_chroma`.
    Returns (H, W, 2) float32 ab, within the range of `chroma` channel by channel. A blank page gets the map as it is,
    stretched bilinearly.
    """
    stretched = upsample_chroma(gray, chroma)
    if not (sides or areas):
        return stretched
    small = cv2.resize(gray, _work_size(gray, chroma), interpolation=cv2.INTER_AREA)
    before = upsample_chroma(small, chroma)
    cell = max(small.shape[0] / chroma.shape[0], small.shape[1] / chroma.shape[1])
    labels, lines = find_areas(find_lines(small), gap=_GAP)
    away = _distance(lines) / np.float32(_MIXED * cell)
    after = before
    if sides:
        after = keep_sides(after, away, lines, reach=_REACH * cell, strength=sides)
    if areas:
        after = draw_together(after, small, _sureness(away), labels, strength=areas)
    change = cv2.resize(after - before, gray.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return _within(cv2.add(stretched, change, dst=change), chroma)


def _work_size(gray: U8, chroma: F32) -> tuple[int, int]:
    """(width, height) of the page where lines are looked for: smaller than the page, never than the map."""
    height, width = gray.shape
    scale = min((height * width / _WORK_PIXELS) ** 0.5, height / chroma.shape[0], width / chroma.shape[1])
    scale = max(1.0, scale)
    return max(1, round(width / scale)), max(1, round(height / scale))


def upsample_chroma(gray: U8, chroma: F32) -> F32:
    """Stretch a chroma map to the page, sharper than bilinear where the page's levels say how.

    gray: (H, W); chroma: (h, w, 2). Returns (H, W, 2), within the range of `chroma`.

    Around each cell chroma is a straight line of gray, ab = a * gray + b, by least squares: the local model of the
    guided filter (He, Sun, Tang 2010; at low resolution: He, Sun 2015). That filter gives a * gray + b, which also
    smooths the map. Here its slope serves for detail alone: ab = stretched(ab) + a * (gray - stretched(gray)), which
    keeps each cell's mean. Thin ink is taken out of the guide, since a line tells where a colour ends, not which.
    """
    if gray.shape == chroma.shape[:2]:
        return chroma.copy()
    size = gray.shape[::-1]
    guide = _without_lines(gray)
    level = cv2.resize(guide, chroma.shape[1::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
    detail = guide.astype(np.float32)
    cv2.subtract(detail, cv2.resize(level, size, interpolation=cv2.INTER_LINEAR), dst=detail)
    np.clip(detail, -_GUIDE_REACH, _GUIDE_REACH, out=detail)
    mean = _box(level)
    noise = _box(level * level) - mean * mean + np.float32(_GUIDE_NOISE)
    planes = []
    for plane in cv2.split(chroma):
        slope = (_box(level * plane) - mean * _box(plane)) / noise
        sharp = cv2.resize(slope, size, interpolation=cv2.INTER_LINEAR)
        sharp *= detail
        sharp += cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)
        planes.append(np.clip(sharp, plane.min(), plane.max(), out=sharp))
    full: F32 = cv2.merge(planes)
    return full


def find_lines(gray: U8) -> F32:
    """Where colour may end: strokes of ink, and edges between two levels. gray: (y, x). Returns (y, x) in [0, 1]."""
    paper = _without_lines(gray)
    stroke = (paper.astype(np.float32) - gray - _INK[0]) / (_INK[1] - _INK[0])
    step = cv2.morphologyEx(cv2.blur(paper, (3, 3)), cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8))
    edge = (step.astype(np.float32) - _EDGE[0]) / (_EDGE[1] - _EDGE[0])
    lines: F32 = np.clip(np.maximum(stroke, edge), 0, 1)
    return lines


def find_areas(ink: F32, *, gap: float) -> tuple[I32, F32]:
    """The areas that lines enclose, openings up to `gap` pixels taken for closed.

    ink: (y, x) in [0, 1]. Returns (y, x) labels, a line having that of one of its sides; and (y, x) `ink` with the
    openings closed.

    A ball of diameter `gap` that rolls between the lines stays on its side of an opening (trapped-ball segmentation,
    Zhang et al. 2009): where its centre can be are the areas' cores, and they grow until they meet (watershed). What is
    too narrow for the ball, and closed, is an area of its own.
    """
    free = (ink < 0.5).astype(np.uint8)
    cores, markers = cv2.connectedComponents((_distance(ink) > gap / 2).view(np.uint8), connectivity=4)
    pieces, piece = cv2.connectedComponents(free, connectivity=4)
    narrow = np.bincount(piece.ravel(), weights=markers.ravel(), minlength=pieces) == 0
    narrow[0] = False  # the ink itself
    markers = np.where(narrow[piece], piece + cores, markers)
    level = (ink * 255).astype(np.uint8)
    labels = cv2.watershed(cv2.merge([level, level, level]), markers)
    meeting = labels == -1
    neighbours = cv2.dilate(np.maximum(labels, 0).astype(np.float32), np.ones((3, 3), np.uint8))
    closed = meeting.astype(np.float32)
    closed[[0, -1]] = closed[:, [0, -1]] = 0  # the watershed marks the border of the page too
    return np.where(meeting, neighbours.astype(np.int32), labels), np.maximum(ink, closed)


def keep_sides(chroma: F32, away: F32, lines: F32, *, reach: float, strength: float) -> F32:
    """Near lines, take the chroma of the surer surroundings on the same side.

    chroma: (y, x, 2). away: (y, x) way to the nearest line, 1 where the map begins to have seen one side alone. lines:
    (y, x) in [0, 1]. reach: pixels. strength: in [0, 1]. Returns (y, x, 2). An area too narrow for anything sure in it
    stays as it is.
    """
    around, sureness = spread(chroma, _sureness(away), lines, reach=reach)
    share = np.clip(1.5 - away, 0, 1) * np.minimum(sureness / np.float32(_ENOUGH), 1) * np.float32(strength)
    around -= chroma
    around *= share[..., None]
    around += chroma
    return around


def _sureness(away: F32) -> F32:
    sure: F32 = np.minimum(away, 1) ** 2
    return sure


def spread(chroma: F32, sure: F32, lines: F32, *, reach: float) -> tuple[F32, F32]:
    """Chroma averaged with its surroundings, the sure more than the unsure, and hardly across lines.

    chroma: (y, x, 2); sure: (y, x) weights; lines: (y, x) in [0, 1]. reach: standard deviation, pixels of free way.
    Returns (y, x, 2), and (y, x) the mean weight of the surroundings.

    Recursive filtering in the transformed domain (Gastal, Oliveira 2011, section 5.3), with lines for the derivative of
    the image, of the weighted chroma and of the weights: their quotient is a normalized convolution.
    """
    stack = np.stack([chroma[..., 0] * sure, chroma[..., 1] * sure, sure], axis=1).astype(np.float32)  # (y, 3, x)
    down = 1 + np.float32(_WALL) * np.maximum(lines[1:], lines[:-1])
    across = 1 + np.float32(_WALL) * np.maximum(lines[:, 1:], lines[:, :-1]).T
    for step in range(_PASSES):
        sigma = reach * 3**0.5 * 2 ** (_PASSES - step - 1) / (4**_PASSES - 1) ** 0.5
        turned = np.ascontiguousarray(stack.transpose(2, 1, 0))
        _run(turned, np.exp(np.float32(-(2**0.5) / sigma) * across))
        stack = np.ascontiguousarray(turned.transpose(2, 1, 0))
        _run(stack, np.exp(np.float32(-(2**0.5) / sigma) * down))
    weight = stack[:, 2]
    safe = np.maximum(weight, np.float32(1e-9))
    return cv2.merge([stack[:, 0] / safe, stack[:, 1] / safe]), weight


def _run(rows: F32, passed: F32) -> None:
    """First-order recursion along the first axis, there and back, in place. rows: (n, 3, m); passed: (n - 1, m)."""
    lines, shares = list(rows), list(passed)
    step = np.empty_like(rows[0])
    there = zip(lines[1:], lines[:-1], shares, strict=True)
    back = zip(lines[-2::-1], lines[:0:-1], shares[::-1], strict=True)
    for line, last, share in itertools.chain(there, back):
        np.subtract(last, line, out=step)
        np.multiply(step, share, out=step)
        np.add(line, step, out=line)


def draw_together(chroma: F32, gray: U8, sure: F32, labels: I32, *, strength: float) -> F32:
    """Draw each enclosed area to a plane, ab = p + q * x + r * y, the more the better the plane fits.

    chroma: (y, x, 2); gray: (y, x); sure: (y, x) weights; labels: (y, x). strength: in [0, 1]. Returns
    (y, x, 2). A soft gradient is a plane. An area that is of several colours, or of several grays, fits none and is
    left alone, and so is one at the border of the page: no line encloses it.
    """
    y, x = np.indices(labels.shape, dtype=np.float32)
    x -= labels.shape[1] / 2
    y -= labels.shape[0] / 2
    thin = np.s_[::2, ::2]  # enough to fit a plane to
    seen = np.stack([chroma[..., 0][thin], chroma[..., 1][thin], gray[thin]]).reshape(3, -1)
    planes, off, mass = _fit_planes(
        x[thin].ravel(), y[thin].ravel(), sure[thin].ravel(), labels[thin].ravel(), seen, count=int(labels.max()) + 1
    )
    pull = strength * np.exp(-(off[:, 0] + off[:, 1]) / _UNIFORM**2 - off[:, 2] / _UNIFORM_GRAY**2)
    pull *= mass / (mass + _FEW)
    for edge in (labels[:2], labels[-2:], labels[:, :2], labels[:, -2:]):
        pull[edge] = 0
    share = pull.astype(np.float32)[labels]
    table = planes.astype(np.float32)
    channels = []
    for i, plane in enumerate(cv2.split(chroma)):
        flat = table[:, 0, i][labels] + table[:, 1, i][labels] * x + table[:, 2, i][labels] * y
        channels.append(plane + share * (flat - plane))
    drawn: F32 = cv2.merge(channels)
    return drawn


def _fit_planes(x: F32, y: F32, weight: F32, label: I32, values: F32, *, count: int) -> tuple[F64, F64, F64]:
    """Planes of least squares over each label's pixels.

    x, y, weight, label: (n,); values: (k, n). Returns (labels, 3, k), level and slopes by x and y; (labels, k)
    mean squared deviations; and (labels,) sums of the weights.
    """

    def total(v: F32) -> F64:
        return np.bincount(label, weights=v, minlength=count).astype(np.float64)

    mass = np.maximum(total(weight), 1e-6)
    middle = np.stack([total(weight * x), total(weight * y)], axis=1) / mass[:, None]  # (labels, 2)
    # About an area's own middle its plane is a mean and two slopes, and the slopes alone are held back.
    dx, dy = x - middle[:, 0].astype(np.float32)[label], y - middle[:, 1].astype(np.float32)[label]
    wx, wy = weight * dx, weight * dy
    xx, xy, yy = total(wx * dx) + _STIFF, total(wx * dy), total(wy * dy) + _STIFF
    det = xx * yy - xy * xy
    planes, deviations = [], []
    for value in values:
        mean = total(weight * value) / mass
        rest = value - mean.astype(np.float32)[label]
        vx, vy, square = total(wx * rest), total(wy * rest), total(weight * rest * rest)
        by_x, by_y = (vx * yy - vy * xy) / det, (vy * xx - vx * xy) / det
        planes.append(np.stack([mean - by_x * middle[:, 0] - by_y * middle[:, 1], by_x, by_y], axis=1))
        deviations.append(np.maximum(square - by_x * vx - by_y * vy, 0) / mass)
    return np.stack(planes, axis=2), np.stack(deviations, axis=1), mass


def _distance(lines: F32) -> F32:
    """(y, x) pixels to the nearest line; no more than there are on the page, where it has none."""
    away: F32 = cv2.distanceTransform((lines < 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    return np.minimum(away, np.float32(sum(lines.shape)))


def _without_lines(gray: U8) -> U8:
    """The page with dark strokes narrower than `_PEN` filled with the darker of their sides (closing)."""
    closed: U8 = cv2.morphologyEx(gray, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_PEN, _PEN)))
    return closed


def _box(values: F32) -> F32:
    mean: F32 = cv2.blur(values, (3, 3), borderType=cv2.BORDER_REPLICATE)
    return mean


def _within(chroma: F32, source: F32) -> F32:
    """Cut off what lies outside the range of `source`, channel by channel; in place."""
    for channel in (0, 1):
        low, high = source[..., channel].min(), source[..., channel].max()
        np.clip(chroma[..., channel], low, high, out=chroma[..., channel])
    return chroma
