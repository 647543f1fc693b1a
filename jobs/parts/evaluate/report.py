"""The report of an evaluation, as one static HTML page: figures, loss curves, pages before and after.

The page opens from disk and from any static host. It loads nothing but the pictures beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import MappingProxyType

from jobs.parts.report.charts import draw_curve, span_of
from jobs.parts.report.render import counted, number, render

_TEMPLATE = Path(__file__).with_name("report.html.j2")
TRUTH = "truth"  # the column that holds the value of the true colour page

DIRECTIONS = {
    "lower": "lower is better",
    "higher": "higher is better",
    TRUTH: "closer to the truth is better",
}

MEANINGS = {
    "CIEDE2000": "Mean colour difference to the true page as the eye sees it (CIE ΔE₀₀): 0 is none, 1 is just seen.",
    "PSNR": "Peak signal-to-noise ratio against the true page, in decibel: how small the squared pixel error is.",
    "SSIM": "Structural similarity to the true page; 1 is identical. Mostly about ink and edges, little about hue.",
    "Colour names right": "The share of areas within lines whose colour has the truth's name, of eleven; averaged over "
    "names, not over areas, so that brown everywhere is right about one name.",
    "Clouds": "How blotched the colour inside areas is, beyond the truth's, as a share of the mean chroma.",
    "Colourfulness": "How vivid the page is (Hasler and Süsstrunk). More is not better: the truth is the goal.",
}


@dataclass(frozen=True)
class Figure:
    """A measure: one row of the table of figures.

    better: "lower", "higher", or "truth" where the best value is the one in the column "truth".
    values: the value of each method (a column). Any may be missing.
    digits: shown after the decimal point.
    meaning: one sentence for the reader. By default the one in MEANINGS, if the measure is there.
    """

    name: str
    better: str
    values: Mapping[str, float]
    digits: int = 2
    meaning: str = ""

    def __post_init__(self) -> None:
        if self.better not in DIRECTIONS:
            raise ValueError(f"better={self.better!r} of figure {self.name!r}: choose one of {', '.join(DIRECTIONS)}")
        if self.digits < 0:
            raise ValueError(f"digits={self.digits} of figure {self.name!r}: give 0 or more")


@dataclass(frozen=True)
class Curve:
    """A loss over the steps of training: (step, value) points, in order."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class PageView:
    """A page before and after colouring.

    before, after, truth: paths of the pictures, relative to the report. No truth where it is None.
    figures: the page's measures by name.
    width, height: pixels.
    """

    chapter: str
    name: str
    before: str
    after: str
    truth: str | None
    figures: Mapping[str, float]
    width: int
    height: int
    note: str = ""

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"page {self.name!r} has size {self.width}x{self.height}: give its size in pixels")


@dataclass(frozen=True)
class PictureRow:
    """Pictures of one method, to be compared with those of the others.

    pictures: (path relative to the report, description) of each.
    """

    name: str
    pictures: Sequence[tuple[str, str]]


def render_report(
    *,
    title: str,
    summary: Mapping[str, str],
    figures: Sequence[Figure],
    names: Mapping[str, Mapping[str, tuple[int, int]]] = MappingProxyType({}),
    curves: Sequence[Curve],
    picture_rows: Sequence[PictureRow] = (),
    pages: Sequence[PageView],
    settings: Mapping[str, object],
) -> str:
    """The report as one HTML page, to be written as UTF-8.

    summary: names and values for the head of the page.
    names: for each method and colour name, the areas named right and all areas of that name.
    settings: the options of the job and of the training.
    Raises ValueError where the path of a picture is not relative.
    """
    shared_steps = span_of(point for curve in curves for point in curve.points)
    columns = columns_of(figures)
    return render(
        _TEMPLATE,
        title=title,
        summary=summary,
        columns=columns,
        rows=[_row(figure, columns) for figure in figures],
        name_columns=list(names),
        name_rows=_name_rows(names),
        charts=[draw_curve(curve.name, curve.points, shared_steps) for curve in curves],
        picture_rows=picture_rows,
        chapters=by_chapter(pages),
        page_count=len(pages),
        digits={figure.name: figure.digits for figure in figures},
        settings=settings,
    )


def columns_of(figures: Iterable[Figure]) -> list[str]:
    """The methods in the order of their first appearance, with the truth last."""
    seen = dict.fromkeys(column for figure in figures for column in figure.values)
    return [column for column in seen if column != TRUTH] + [TRUTH] * (TRUTH in seen)


def best_columns(figure: Figure) -> set[str]:
    """The methods with the best value. Values are compared as the table shows them, rounded.

    The truth does not compete, and a single method is never the best.
    """
    rivals = {
        column: round(value, figure.digits)
        for column, value in figure.values.items()
        if column != TRUTH and value is not None and math.isfinite(value)
    }
    goal = figure.values.get(TRUTH)
    if len(rivals) < 2 or (figure.better == TRUTH and (goal is None or not math.isfinite(goal))):
        return set()
    if figure.better == TRUTH and goal is not None:
        shown = round(goal, figure.digits)
        rank = {column: round(abs(value - shown), figure.digits) for column, value in rivals.items()}
    else:
        rank = {column: -value if figure.better == "higher" else value for column, value in rivals.items()}
    lowest = min(rank.values())
    return {column for column, value in rank.items() if value == lowest}


def by_chapter(pages: Iterable[PageView]) -> list[tuple[str, list[tuple[int, PageView]]]]:
    """Pages with their running number from 1, grouped by chapter. Both are in the order of first appearance."""
    chapters: dict[str, list[tuple[int, PageView]]] = {}
    for index, page in zip(count(1), pages, strict=False):
        chapters.setdefault(page.chapter, []).append((index, page))
    return list(chapters.items())


def _row(figure: Figure, columns: Sequence[str]) -> dict[str, object]:
    best = best_columns(figure)
    return {
        "name": figure.name,
        "direction": DIRECTIONS[figure.better],
        "meaning": figure.meaning or MEANINGS.get(figure.name, ""),
        "cells": [(number(figure.values.get(column), figure.digits), column in best) for column in columns],
    }


def _name_rows(names: Mapping[str, Mapping[str, tuple[int, int]]]) -> list[dict[str, object]]:
    """A row for each colour name: the share of its areas that each method names right. None is marked as the best."""
    areas = {name: total for by_name in names.values() for name, (_, total) in by_name.items()}
    return [
        {
            "name": f"{name}, {counted(total, 'area')}",
            "direction": "",
            "cells": [(number(by_name[name][0] / total), False) for by_name in names.values()],
        }
        for name, total in areas.items()
    ]
