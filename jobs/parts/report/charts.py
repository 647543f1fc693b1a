"""Line charts and histograms for a static page: turns values into the geometry of an SVG. The template draws it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from jobs.parts.report.render import number

# Units of the SVG. At phone width one unit is about one pixel, so that a label keeps a readable size.
WIDTH, HEIGHT = 360, 230
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 42
_LAST_LABEL = 12  # half of the label at the end of a histogram's axis
MOST_POINTS = 600
_ABSURD = 1e300  # beyond this the span of an axis overflows a float

Point = tuple[float, float]


@dataclass(frozen=True)
class Tick:
    """A mark on an axis.

    at: its position in the SVG.
    label: its text.
    """

    at: float
    label: str


class _Frame:
    """Where a drawing lies in its SVG, for the template."""

    width = WIDTH
    height = HEIGHT
    left = LEFT
    right = WIDTH - RIGHT
    top = TOP
    bottom = HEIGHT - BOTTOM


@dataclass(frozen=True)
class Chart(_Frame):
    """One drawn curve.

    path: SVG path data; empty where there is nothing to draw.
    in_words: the first and the last point as text.
    lost: points that are not finite numbers.
    """

    name: str
    path: str
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    in_words: str
    lost: int


def draw_curve(
    name: str,
    points: Iterable[Point],
    x_range: Point | None = None,
    *,
    y_range: Point | None = None,
    x_name: str = "step",
    most: int = MOST_POINTS,
) -> Chart:
    """Draw a curve of at most `most` points. It is broken where a point is not a finite number.

    x_range, y_range: given so that charts share an axis.
    x_name: what the x axis counts, in whole numbers.
    """
    everything = [(float(x), float(y)) for x, y in points]
    drawn = [point for point in everything if _plottable(point)]
    lost = len(everything) - len(drawn)
    if not drawn:
        return Chart(name, "", (), (), f"{name}: no points", lost)
    x_low, x_high = x_range or (min(x for x, _ in drawn), max(x for x, _ in drawn))
    if x_low == x_high:
        x_low, x_high = x_low - 0.5, x_high + 0.5
    y_range = y_range or (min(y for _, y in drawn), max(y for _, y in drawn))
    y_marks = nice_ticks(*y_range, outward=True)
    y_low, y_high = y_marks[0], y_marks[-1]

    def to_pixels(x: float, y: float) -> Point:
        across = (x - x_low) / (x_high - x_low)
        up = (y - y_low) / (y_high - y_low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    x_marks = [mark for mark in nice_ticks(x_low, x_high) if x_low <= mark <= x_high and mark % 1 == 0]
    first, last = (f"{significant(y)} at {x_name} {number(x, 0)}" for x, y in (drawn[0], drawn[-1]))
    return Chart(
        name=name,
        path=_path([to_pixels(*point) if _plottable(point) else None for point in downsample(everything, most)]),
        x_ticks=[Tick(to_pixels(x, y_low)[0], label) for x, label in zip(x_marks, tick_labels(x_marks), strict=True)],
        y_ticks=[Tick(to_pixels(x_low, y)[1], label) for y, label in zip(y_marks, tick_labels(y_marks), strict=True)],
        in_words=f"{first}, {last}",
        lost=lost,
    )


@dataclass(frozen=True)
class Histogram(_Frame):
    """How many values lie in each bin of an axis.

    bars: (left, top, width, height) of each bin that holds a value, in the SVG.
    in_words: how many values, their least, median and largest.
    """

    name: str
    bars: Sequence[tuple[float, float, float, float]]
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    in_words: str


def draw_histogram(
    name: str, values: Sequence[float], *, bins: int = 28, marks: Mapping[float, str] | None = None
) -> Histogram:
    """Draw how many of the values lie in each bin.

    values: from 0 up; what is not finite is left out.
    marks: labels of an axis of ratios, by their value: it is logarithmic from the least to the largest, and what lies
        beyond is counted at its ends. None: a linear axis from 0.
    """
    drawn = sorted(value for value in values if math.isfinite(value))
    if not drawn:
        return Histogram(name, (), (), (), f"{name}: nothing to count")
    if marks:
        low, high = min(marks), max(marks)

        def position(ratio: float) -> float:
            return math.log(min(high, max(low, ratio)) / low) / math.log(high / low)

        along = [position(value) for value in drawn]
        x_ticks = [(position(value), label) for value, label in marks.items()]
    else:
        ends = nice_ticks(0.0, drawn[-1], outward=True)
        along = [value / ends[-1] for value in drawn]
        x_ticks = [(mark / ends[-1], label) for mark, label in zip(ends, tick_labels(ends), strict=True)]
    counts = [0] * bins
    for at in along:
        counts[min(bins - 1, int(at * bins))] += 1
    y_marks = [mark for mark in nice_ticks(0.0, max(counts), outward=True) if mark % 1 == 0]
    across, up = WIDTH - LEFT - RIGHT - _LAST_LABEL, (HEIGHT - TOP - BOTTOM) / y_marks[-1]
    base = HEIGHT - BOTTOM
    return Histogram(
        name=name,
        bars=[
            (LEFT + across * number / bins + 0.5, base - up * count, across / bins - 1, up * count)
            for number, count in enumerate(counts)
            if count
        ],
        x_ticks=[Tick(LEFT + across * at, label) for at, label in x_ticks],
        y_ticks=[Tick(base - up * y, label) for y, label in zip(y_marks, tick_labels(y_marks), strict=True)],
        in_words=f"{number(len(drawn), 0)}, from {significant(drawn[0])} to {significant(drawn[-1])}, "
        f"median {significant(median(drawn))}",
    )


def span_of(points: Iterable[Point]) -> Point | None:
    """The first and the last step of all points that can be drawn, so that charts share an axis. None without such
    points.
    """
    steps = [x for x, y in points if _plottable((x, y))]
    return (min(steps), max(steps)) if steps else None


def downsample(points: Sequence[Point], most: int = MOST_POINTS) -> Sequence[Point]:
    """At most `most` points with the same outline. Each run keeps its lowest and its highest value, so no spike is
    lost.

    A run that holds a point that can't be drawn ends with such a point, so no break is lost either.
    """
    if len(points) <= most:
        return points
    runs = most // 3
    kept: list[Point] = []
    for run in range(runs):
        bucket = points[run * len(points) // runs : (run + 1) * len(points) // runs]
        good = [i for i, point in enumerate(bucket) if _plottable(point)]
        if good:
            extremes = {min(good, key=lambda i: bucket[i][1]), max(good, key=lambda i: bucket[i][1])}
            kept += [bucket[i] for i in sorted(extremes)]
        if len(good) < len(bucket):
            kept.append((math.nan, math.nan))
    return kept


def nice_ticks(low: float, high: float, wanted: int = 4, outward: bool = False) -> list[float]:
    """About `wanted` marks at multiples of 1, 2 or 5 times a power of ten.

    outward: the marks enclose low and high; otherwise they lie between them.
    """
    if low == high:
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step), math.ceil(high / step)
    marks = [i * step for i in range(first, last + 1)]
    return marks if outward else [mark for mark in marks if low - step / 1e6 <= mark <= high + step / 1e6]


def tick_labels(marks: Sequence[float]) -> list[str]:
    """Labels of one axis, all in one unit, with as many digits as the distance between marks needs."""
    largest = max((abs(mark) for mark in marks), default=0.0)
    if largest >= 1e12 or 0 < largest < 1e-3:
        return [f"{mark:.1e}".replace("-", "−") if mark else "0" for mark in marks]
    divisor, unit = next(
        ((d, u) for limit, d, u in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")) if largest >= limit), (1.0, "")
    )
    step = min((b - a for a, b in pairwise(marks)), default=largest or 1.0) / divisor
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return [number(mark / divisor, digits) + (unit if mark else "") for mark in marks]


def significant(value: float) -> str:
    """A value with three significant digits: `0.0123`, `4.56`, `1,230`."""
    if value and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.2e}".replace("-", "−")
    return number(value, max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0)


def _plottable(point: Point) -> bool:
    return all(math.isfinite(value) and abs(value) < _ABSURD for value in point)


def _path(positions: Sequence[Point | None]) -> str:
    """SVG path data; None lifts the pen. `h0` makes a single point a dot, under a round line cap."""
    data: list[str] = []
    pen_down = False
    for position in positions:
        if position is not None:
            data.append(f"{'L' if pen_down else 'M'}{position[0]:.1f} {position[1]:.1f}{'' if pen_down else 'h0'}")
        pen_down = position is not None
    return "".join(data)
