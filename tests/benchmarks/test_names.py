"""The measures order colourings as the eye does, on pages of the generated series."""

from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks.names import colorings, figures, overlay
from datasets.synthetic import Series, draw_page
from imaging.color import U8, gray_of_equal_lightness

SERIES = Series(chapters=2, pages=2)
MONOTONE = ("gray page", "mean chroma", "sepia")
NEARER = (
    "hues turned by 60 degrees", "hues turned by 30 degrees", "hues turned by 15 degrees", "truth",
)  # fmt: skip


def truths() -> Iterator[U8]:
    yield from (draw_page(SERIES, chapter, page).color for chapter in (1, 2) for page in (1, 2))


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, float]]:
    return figures(truths)


def test_the_nearer_the_hues_the_more_names_are_right(found: dict[str, dict[str, float]]) -> None:
    right = [found[name]["color_names"] for name in NEARER]
    assert right == sorted(right)
    assert right[-1] == 1
    assert max(found[name]["color_names"] for name in MONOTONE) < right[1]


def test_one_colour_for_all_is_right_about_few_names(found: dict[str, dict[str, float]]) -> None:
    assert all(found[name]["color_names"] < 0.4 for name in MONOTONE), "black, white, gray and one more of nine or more"
    assert found["gray page"]["colorfulness_share"] == 0


def test_boldness_is_rewarded_by_names_where_ciede2000_is_for_caution(found: dict[str, dict[str, float]]) -> None:
    bold, cautious = found["half right"], found["gray page"]
    assert bold["color_names"] > 1.5 * cautious["color_names"]
    assert bold["ciede2000"] > 0.8 * cautious["ciede2000"]


def test_only_blotches_are_clouds(found: dict[str, dict[str, float]]) -> None:
    assert found["truth"]["clouds"] < 0.005
    assert found["blotched"]["clouds"] > 0.1
    assert all(found[name]["clouds"] < 0.05 for name in (*MONOTONE, *NEARER, "pale"))


def test_colourfulness_is_a_share_of_the_truths(found: dict[str, dict[str, float]]) -> None:
    assert found["truth"]["colorfulness_share"] == pytest.approx(1, abs=0.01)
    assert 0.3 < found["pale"]["colorfulness_share"] < 0.7


def test_every_colouring_has_the_luminance_of_the_page() -> None:
    truth = next(truths())
    gray = gray_of_equal_lightness(truth).astype(int)
    for name, page in colorings(truth, (5.0, 10.0)).items():
        assert np.abs(gray_of_equal_lightness(page).astype(int) - gray).max() <= 2, name


def test_the_areas_can_be_looked_at() -> None:
    shown = overlay(next(truths()))
    left, right = np.split(shown, 2, axis=1)
    assert (left == (255, 0, 255)).all(axis=-1).any()
    assert len(np.unique(right.reshape(-1, 3), axis=0)) > 5
