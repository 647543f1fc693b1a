"""The figures that are counted in the areas of pages (imaging.color_areas), as metrics.json has them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from imaging.color_areas import LEAST_AREAS, AreaCounts
from imaging.color_names import COLOR_NAMES

Figures = dict[str, float]


def area_figures(counts: AreaCounts, colorfulness: float, truth: float, *, least: int = LEAST_AREAS) -> Figures:
    """The figures of a coloured page, or of many.

    counts: of the page, or the sum over pages.
    colorfulness: of the page, or the mean over pages.
    truth: that of the true page, or pages.
    least: areas that a name needs to count.

    What can't be told is left out: no name has so many areas, or the truth is gray.
    """
    figures = {
        "color_names": counts.named_right(least),
        "clouds": counts.clouds,
        "colorfulness_share": colorfulness / truth if truth else math.nan,
    }
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def area_record(counts: AreaCounts, colorfulness: float, truth: float) -> dict[str, Any]:
    """The figures of one page, in which any area counts, and what it takes to add pages up.

    `names` holds, for each name that the truth has, the areas named right and all areas.
    """
    figures = area_figures(counts, colorfulness, truth, least=1)
    return {**figures, "names": counts.by_name(), "excess": counts.excess, "chroma": counts.chroma}


def sum_of_records(records: Sequence[Mapping[str, Any]]) -> AreaCounts:
    """Add up what `area_record` wrote of pages."""
    counts = np.array([[record["names"].get(name, (0, 0)) for name in COLOR_NAMES] for record in records], np.int64)
    excess, chroma = (sum(record[name] for record in records) for name in ("excess", "chroma"))
    return AreaCounts(counts[..., 0].sum(axis=0), counts[..., 1].sum(axis=0), excess, chroma)
