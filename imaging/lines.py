"""Colour that keeps to the lines: a small predicted chroma map is brought to the page and kept off the ink.

H, W: pixels of the page.
h, w: cells of the chroma map, as the network gave them.
y, x: pixels of the work size, about `_WORK_PIXELS` in all.
Gray levels are uint8, ab is in CIELAB units.

There are three steps:

1. The map is resized (imaging.upsampling).
2. `keep_sides` corrects the chroma next to a line, where the map has mixed the colours of both sides. There each pixel
   takes the chroma of what lies further in on its own side.
3. `draw_together` brings an area that lines enclose closer to one colour, if it nearly is. It is off unless asked for:
   on the pages it was measured on it costs a good prediction more than a poor one gains.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from imaging.bands import ChromaRows, whole
from imaging.color import F32, U8
from imaging.upsampling import Slopes, shrunk, without_lines

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]

_WORK_PIXELS = 250_000  # a page of 1000 x 1400 at two fifths: its lines are still a pixel wide
_INK = (10.0, 40.0)  # levels below the paper around: up to 10 no line, from 40 a line
_EDGE = (6.0, 30.0)  # levels from one pixel to the next: up to 6 no edge, from 30 an edge
_GAP = 8.0  # pixels: wider openings in a line are meant to be open
_BALL = 2.0  # pixels: how much further from the cores than the ball's radius an opening's middle may be
_MIXED = 0.9  # cells: nearer to a line than this, the map has mixed both sides
_REACH = 1.6  # cells: how far along its own side a pixel looks for its colour
_WALL = 15.0  # a line counts for so many pixels of free way
_ENOUGH = 0.5  # surroundings of this mean sureness, or more, are believed in full
_UNIFORM = 10.0  # ab: an area that deviates so much from a plane no longer counts as one colour
_UNIFORM_GRAY = 5.0  # levels: the same for the page's own gray
_FEW = 10.0  # pixels: an area that shows no more than these is hardly believed
_STIFF = 500.0  # pixels cubed: an area with a smaller second moment gets hardly any slope


def refine_chroma(gray: U8, chroma: F32, *, sides: float = 1.0, areas: float = 0.0) -> F32:
    """Return all of what `refined_rows` returns: (H, W, 2) float32 ab."""
    return whole(refined_rows(gray, chroma, sides=sides, areas=areas), gray.shape)


def refined_rows(gray: U8, chroma: F32, *, sides: float = 1.0, areas: float = 0.0) -> ChromaRows:
    """Return a predicted chroma map at the size of the page, its colours kept to their own side of the ink.

    gray: (H, W) uint8 levels of the page.
    chroma: (h, w, 2) float32 ab.
    sides: strength of the step `keep_sides`, in [0, 1].
    areas: strength of the step `draw_together`, in [0, 1].

    The rows are within the range of `chroma` channel by channel. With both strengths 0 the map is only resized, by
    `upsample_chroma`. A blank page gets the map resized bilinearly.
    """
    guide = without_lines(gray)
    slopes = Slopes.of(guide, chroma)
    if not (sides or areas):
        return slopes.upsampled(guide)
    small = shrunk(gray, _work_size(gray, chroma))
    before = whole(slopes.upsampled(without_lines(small)), small.shape)
    cell = max(small.shape[0] / chroma.shape[0], small.shape[1] / chroma.shape[1])
    ink = find_lines(small)
    lines = close_gaps(ink, gap=_GAP)
    away = _distance(lines) / np.float32(_MIXED * cell)
    after = before
    if sides:
        after = keep_sides(after, away, lines, reach=_REACH * cell, strength=sides)
    if areas:
        after = draw_together(after, small, _sureness(away), find_areas(ink, gap=_GAP), strength=areas)
    return slopes.upsampled(guide, np.stack(cv2.split(after - before)))


def _work_size(gray: U8, chroma: F32) -> tuple[int, int]:
    """Return (width, height) of the page where lines are looked for.

    It is no larger than the page and no smaller than the map.
    """
    height, width = gray.shape
    scale = min((height * width / _WORK_PIXELS) ** 0.5, height / chroma.shape[0], width / chroma.shape[1])
    scale = max(1.0, scale)
    return max(1, round(width / scale)), max(1, round(height / scale))


def find_lines(gray: U8) -> F32:
    """Find where colour may end: strokes of ink, and edges between two levels.

    gray: (y, x) levels.

    Returns (y, x) in [0, 1].
    """
    paper = without_lines(gray)
    stroke = (paper.astype(np.float32) - gray - _INK[0]) / (_INK[1] - _INK[0])
    step = cv2.morphologyEx(cv2.blur(paper, (3, 3)), cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8))
    edge = (step.astype(np.float32) - _EDGE[0]) / (_EDGE[1] - _EDGE[0])
    lines: F32 = np.clip(np.maximum(stroke, edge), 0, 1)
    return lines


def close_gaps(ink: F32, *, gap: float) -> F32:
    """Close openings in lines up to `gap` pixels wide.

    ink: (y, x) in [0, 1].
    gap: in pixels.

    Returns (y, x) in [0, 1].

    A ball of diameter `gap` that rolls between the lines stays on its side of an opening (trapped-ball segmentation,
    Zhang et al. 2009). The pixels that its centre can reach are the cores of the areas. A pixel that is as near to one
    core as to another, and nearly as near as the ball, is in an opening, or in the line itself.
    """
    core = _distance(ink) > gap / 2
    if not core.any():
        return ink
    away, nearest = cv2.distanceTransformWithLabels(
        (~core).view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP
    )
    meeting = np.zeros(ink.shape, bool)
    meeting[1:] = nearest[1:] != nearest[:-1]
    meeting[:, 1:] |= nearest[:, 1:] != nearest[:, :-1]
    meeting &= away <= gap / 2 + _BALL
    return np.maximum(ink, meeting.astype(np.float32))


def find_areas(ink: F32, *, gap: float) -> I32:
    """Find the areas that lines enclose.

    ink: (y, x) in [0, 1].
    gap: openings up to this many pixels count as closed.

    Returns (y, x) labels; a pixel of a line has the label of one of its sides. The cores of `close_gaps` grow until
    they meet (watershed). A closed area that is too narrow for the ball is an area of its own.
    """
    free = (ink < 0.5).astype(np.uint8)
    cores, markers = cv2.connectedComponents((_distance(ink) > gap / 2).view(np.uint8), connectivity=4)
    components, component = cv2.connectedComponents(free, connectivity=4)
    narrow = np.bincount(component.ravel(), weights=markers.ravel(), minlength=components) == 0
    narrow[0] = False  # the ink itself
    markers = np.where(narrow[component], component + cores, markers)
    level = (ink * 255).astype(np.uint8)
    labels = cv2.watershed(cv2.merge([level, level, level]), markers)
    neighbours = cv2.dilate(np.maximum(labels, 0).astype(np.float32), np.ones((3, 3), np.uint8))
    return np.where(labels == -1, neighbours.astype(np.int32), labels)


def keep_sides(chroma: F32, away: F32, lines: F32, *, reach: float, strength: float) -> F32:
    """Give pixels near lines the chroma of the surer surroundings on their own side.

    chroma: (y, x, 2) ab.
    away: (y, x) distance to the nearest line; 1 where the map begins to have seen one side alone.
    lines: (y, x) in [0, 1].
    reach: how far a pixel looks for its colour, in pixels.
    strength: in [0, 1].

    Returns (y, x, 2) ab. An area too narrow to hold anything sure stays as it is.
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
    """Average chroma with its surroundings: sure pixels count more than unsure ones, and hardly any cross lines.

    chroma: (y, x, 2) ab.
    sure: (y, x) weights.
    lines: (y, x) in [0, 1].
    reach: standard deviation, in pixels of free way.

    Returns the chroma (y, x, 2), and the mean weight of the surroundings (y, x).

    This is recursive filtering in the transformed domain (Gastal, Oliveira 2011, section 5.3), with lines in place of
    the derivative of the image. The weighted chroma and the weights are both filtered; their quotient is a normalized
    convolution. One pass is enough: with two, the error near lines and the bleed of `benchmarks.lines` are the same.
    """
    stack = np.stack([chroma[..., 0] * sure, chroma[..., 1] * sure, sure], axis=1)  # (y, 3, x)
    down = 1 + np.float32(_WALL) * np.maximum(lines[1:], lines[:-1])
    across = 1 + np.float32(_WALL) * np.ascontiguousarray(np.maximum(lines[:, 1:], lines[:, :-1]).T)
    stack = _turned(stack)
    _run(stack, _passed(across, reach))
    stack = _turned(stack)
    _run(stack, _passed(down, reach))
    weight = stack[:, 2]
    safe = np.maximum(weight, np.float32(1e-9))
    return cv2.merge([stack[:, 0] / safe, stack[:, 1] / safe]), weight


def _passed(way: F32, reach: float) -> F32:
    """Return the shares of a neighbour's value that come through to the next pixel."""
    if not way.size:
        return way
    share = cv2.exp(way * np.float32(-(2**0.5) / reach))
    return cv2.threshold(share, 1e-4, 0, cv2.THRESH_TOZERO)[1]  # powers of smaller shares soon turn denormal, and slow


def _turned(rows: F32) -> F32:
    """Transpose (n, 3, m) to (m, 3, n)."""
    turned = np.empty(rows.shape[::-1], np.float32)
    for plane in range(rows.shape[1]):
        cv2.transpose(rows[:, plane], dst=turned[:, plane])
    return turned


def _run(rows: F32, passed: F32) -> None:
    """Run a first-order recursion along the first axis, there and back, in place.

    rows: (n, 3, m) values.
    passed: (n - 1, m) shares that come through from one row to the next.
    """
    own = 1 - passed[:, None]
    step = np.empty_like(rows[0])
    for lines, shares, scaled in (
        (list(rows), list(passed), rows[1:]),
        (list(rows[::-1]), list(passed[::-1]), rows[:-1]),
    ):
        scaled *= own
        for line, last, share in zip(lines[1:], lines[:-1], shares, strict=True):
            np.multiply(last, share, out=step)
            np.add(line, step, out=line)


def draw_together(chroma: F32, gray: U8, sure: F32, labels: I32, *, strength: float) -> F32:
    """Draw each enclosed area towards a plane, ab = p + q * x + r * y; the better it fits, the more.

    chroma: (y, x, 2) ab.
    gray: (y, x) levels.
    sure: (y, x) weights.
    labels: (y, x), as `find_areas` returns them.
    strength: in [0, 1].

    Returns (y, x, 2) ab. A soft gradient is a plane. An area of several colours, or of several grays, fits none and is
    left alone. So is an area at the border of the page: no line encloses it.
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
    """Fit planes of least squares to the pixels of each label.

    x: (n,) of each pixel.
    y: (n,) of each pixel.
    weight: (n,) of each pixel.
    label: (n,) of each pixel.
    values: (k, n).
    count: number of labels.

    Returns (labels, 3, k) level and slopes by x and y, (labels, k) mean squared deviations, and (labels,) sums of the
    weights.
    """

    def total(v: F32) -> F64:
        return np.bincount(label, weights=v, minlength=count).astype(np.float64)

    mass = np.maximum(total(weight), 1e-6)
    middle = np.stack([total(weight * x), total(weight * y)], axis=1) / mass[:, None]  # (labels, 2)
    # About its own middle an area's plane is a mean and two slopes; the slopes alone are held back.
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
    """Return (y, x) pixels to the nearest line.

    It is at most the sum of the page's sides, which is what a page without lines gets.
    """
    away: F32 = cv2.distanceTransform((lines < 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    return np.minimum(away, np.float32(sum(lines.shape)))
