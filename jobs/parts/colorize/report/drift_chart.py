"""Charts for a job's report: how each palette colour holds through a series. Each chapter is one point."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imaging.color import join_chroma, lightness_of_level
from imaging.drift import Drift, together
from imaging.palette import Color, Palette
from jobs.parts.ledger.palette_usage import ColorUsage, unpack
from jobs.parts.report.charts import Chart, Point, draw_curve, span_of

MOST_CHARTS = 12
MOST_POINTS = 200
_X = "chapter"


@dataclass(frozen=True)
class DriftChart:
    """The charts of one palette colour.

    name: the colour's name.
    css: the colour as it looks on screen.
    is_gray: the colour has hardly any hue, so its drift in hue says nothing.
    before, after: distance in ab from the palette's colour over the chapters, before and after the palette lock. Both
        have the same axes.
    drifts: the drift over all pages, before and after the lock.
    """

    name: str
    css: str
    is_gray: bool
    before: Chart
    after: Chart
    drifts: tuple[Drift, Drift]


def drift_charts(chapters: Sequence[bytes], palette: Palette | None) -> list[DriftChart]:
    """Charts of the most used palette colours, at most 12, grays last.

    chapters: the packed palette usage of each chapter, in their order.
    """
    if palette is None:
        return []
    used: dict[int, float] = {}
    for packed in chapters:
        for usage in unpack(packed):
            used[usage.number] = used.get(usage.number, 0.0) + usage.share
    chosen = sorted(used, key=lambda number: (palette.colors[number].is_gray, -used[number]))[:MOST_CHARTS]
    found: dict[int, list[tuple[int, ColorUsage]]] = {number: [] for number in chosen}
    for number, packed in enumerate(chapters, 1):
        for usage in unpack(packed):
            if usage.number in found:
                found[usage.number].append((number, usage))
    lines = {number: _distances(seen) for number, seen in found.items()}
    points = [point for pair in lines.values() for line in pair for point in line]
    x_range, y_range = span_of(points), (0.0, max((y for _, y in points), default=0.0))
    charts = []
    for number, pair in lines.items():
        color = palette.colors[number]
        drawn = [draw_curve(color.name, line, x_range, y_range=y_range, x_name=_X, most=MOST_POINTS) for line in pair]
        usages = [usage for _, usage in found[number]]
        drifts = together(s.before for s in usages).drift(), together(s.after for s in usages).drift()
        charts.append(DriftChart(color.name, css_of(color), color.is_gray, drawn[0], drawn[1], drifts))
    return charts


def _distances(seen: Sequence[tuple[int, ColorUsage]]) -> tuple[list[Point], list[Point]]:
    def off(usage: ColorUsage, mean: Point) -> float:
        return float(np.hypot(mean[0] - usage.ab[0], mean[1] - usage.ab[1]))

    before = [(float(number), off(usage, usage.before.mean)) for number, usage in seen]
    return before, [(float(number), off(usage, usage.after.mean)) for number, usage in seen]


def css_of(color: Color) -> str:
    """A palette colour as it looks on screen, as CSS has it."""
    level = int(np.abs(lightness_of_level() - color.centre[0]).argmin())
    red, green, blue = join_chroma(np.full((1, 1), level, np.uint8), np.full((1, 1, 2), color.ab, np.float32))[0, 0]
    return f"#{red:02x}{green:02x}{blue:02x}"
