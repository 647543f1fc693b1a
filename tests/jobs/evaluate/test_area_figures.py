"""What is counted in areas: as metrics.json has it, for a page and for all."""

import json

import numpy as np
import pytest

from imaging.color_areas import AreaCounts
from imaging.color_names import COLOR_NAMES
from jobs.parts.evaluate.area_figures import area_figures, area_record, sum_of_records


def counts(excess: float = 0.0, chroma: float = 100.0, **names: tuple[int, int]) -> AreaCounts:
    both = np.array([names.get(name, (0, 0)) for name in COLOR_NAMES], np.int64)
    return AreaCounts(both[:, 0], both[:, 1], excess, chroma)


def stored(*pages: AreaCounts) -> list[dict]:
    return [json.loads(json.dumps(area_record(page, 30.0, 60.0))) for page in pages]


def test_a_page_tells_all_its_names() -> None:
    record = stored(counts(5.0, brown=(3, 4), blue=(0, 1)))[0]

    assert record["names"] == {"brown": [3, 4], "blue": [0, 1]}
    assert record["color_names"] == pytest.approx((3 / 4 + 0) / 2)
    assert record["clouds"] == pytest.approx(0.05)
    assert record["colorfulness_share"] == 0.5


def test_pages_are_added_up_before_names_are_averaged() -> None:
    """Brown 19 of 20 and blue 2 of 12; the mean of the pages' own figures would be 0.65."""
    pages = stored(counts(brown=(10, 10), blue=(1, 2)), counts(brown=(9, 10), blue=(1, 10)))

    figures = area_figures(sum_of_records(pages), 30.0, 60.0)

    assert figures["color_names"] == pytest.approx((19 / 20 + 2 / 12) / 2)
    assert np.mean([page["color_names"] for page in pages]) == pytest.approx((0.75 + 0.5) / 2)


def test_clouds_of_a_page_without_colour_weigh_nothing() -> None:
    pages = stored(counts(excess=1.0, chroma=2.0), counts(excess=10.0, chroma=198.0))

    assert area_figures(sum_of_records(pages), 30.0, 60.0)["clouds"] == pytest.approx(11 / 200)


def test_a_name_of_few_areas_does_not_count_over_all_pages() -> None:
    figures = area_figures(counts(brown=(20, 20), pink=(0, 9)), 30.0, 60.0)

    assert figures["color_names"] == 1
    assert area_figures(counts(brown=(20, 20), pink=(0, 10)), 30.0, 60.0)["color_names"] == 0.5


def test_what_can_not_be_told_is_left_out() -> None:
    assert "color_names" not in area_figures(counts(), 30.0, 60.0)
    assert "colorfulness_share" not in area_figures(counts(), 30.0, 0.0)
    assert area_figures(counts(chroma=0.0), 0.0, 60.0) == {"clouds": 0.0, "colorfulness_share": 0.0}
