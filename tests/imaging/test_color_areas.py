"""Areas of a page whose colours are known: which there are, what they are called, how cloudy they are."""

import math

import cv2
import numpy as np
import pytest

from imaging.color import gray_of_equal_lightness, join_chroma, to_lab
from imaging.color_areas import AreaCounts, ColorAreas
from imaging.color_names import COLOR_NAMES

BROWN, BLUE, GREEN, RED, ORANGE = (139, 69, 19), (30, 80, 200), (20, 140, 40), (200, 30, 30), (240, 130, 20)
WHITE = (255, 255, 255)


def drawn(*colors: tuple[int, int, int], side: int = 60) -> np.ndarray:
    """White paper with a row of squares, each within a black line."""
    page = np.full((side + 40, 20 + len(colors) * (side + 20), 3), 255, np.uint8)
    for number, color in enumerate(colors):
        left = 20 + number * (side + 20)
        cv2.rectangle(page, (left, 20), (left + side, 20 + side), color, -1)
        cv2.rectangle(page, (left, 20), (left + side, 20 + side), (0, 0, 0), 2)
    return page


def areas_of(page: np.ndarray) -> ColorAreas:
    return ColorAreas(gray_of_equal_lightness(page), page)


def found(areas: ColorAreas) -> list[str]:
    return sorted(COLOR_NAMES[name] for name in areas.names)


def recolored(page: np.ndarray, change) -> np.ndarray:
    lab = to_lab(page)
    return join_chroma(gray_of_equal_lightness(page), change(lab[..., 1:].copy()).astype(np.float32))


def test_each_square_within_lines_is_an_area() -> None:
    areas = areas_of(drawn(BROWN, BROWN, BLUE, GREEN))

    assert found(areas) == ["blue", "brown", "brown", "green", "white"]
    assert areas.labels.max() == 5
    assert len(set(areas.labels[50, [50, 130, 210, 290]])) == 4
    assert areas.labels[20, 50] == 0, "ink is no area"


def test_what_is_masked_is_in_no_area() -> None:
    page = drawn(BROWN, BROWN, BLUE, GREEN)
    whole = areas_of(page)
    masked = whole.labels == whole.labels[50, 210]  # the blue square
    areas = ColorAreas(gray_of_equal_lightness(page), page, masked)

    assert found(areas) == ["brown", "brown", "green", "white"]
    assert not areas.labels[masked].any()
    assert areas.count(page).by_name() == {"brown": (2, 2), "green": (1, 1), "white": (1, 1)}


def test_the_areas_of_a_large_page_are_the_same() -> None:
    page = drawn(BROWN, BLUE, GREEN, side=400)

    areas = areas_of(page)

    assert found(areas) == ["blue", "brown", "green", "white"]
    assert areas.labels.size < 260_000 < page.size / 3


def test_what_is_smaller_than_a_thousandth_of_the_page_is_no_area() -> None:
    page = np.full((600, 400, 3), 255, np.uint8)
    for left, side in ((50, 12), (200, 24)):  # 144 and 576 of 240,000 pixels
        cv2.rectangle(page, (left, 100), (left + side, 100 + side), (0, 0, 0), -1)
        page[102 : 99 + side, left + 2 : left + side - 1] = RED

    assert found(areas_of(page)) == ["red", "white"]


def test_a_border_without_a_line_parts_colours_of_different_names() -> None:
    page = drawn(BROWN, side=100)
    across = np.linspace(0, 1, 97)[None, :, None]
    page[22:119, 22:119] = ((1 - across) * np.array(GREEN) + across * np.array(BLUE)).astype(np.uint8)
    gray = gray_of_equal_lightness(page)

    names = found(ColorAreas(gray, page))

    assert {"green", "blue"} <= set(names)


def test_only_lines_part_colours_of_one_name() -> None:
    page = drawn(BROWN, side=100)
    page[22:119, 70:119] = (120, 62, 18)

    assert found(areas_of(page)) == ["brown", "white"]


def test_the_truth_is_named_right_everywhere_and_has_no_clouds() -> None:
    page = drawn(BROWN, BLUE, GREEN, RED)

    counts = areas_of(page).count(page)

    assert counts.named_right(1) == 1
    assert counts.by_name() == {"white": (1, 1), "red": (1, 1), "brown": (1, 1), "green": (1, 1), "blue": (1, 1)}
    assert counts.clouds == 0
    assert counts.chroma > 0


def test_the_average_is_over_names_and_not_over_areas() -> None:
    """Seven brown squares, a blue one and white paper, all brown: right about one name of three."""
    page = drawn(*[BROWN] * 7, BLUE)
    brown = np.where((page == 255).all(axis=-1, keepdims=True), np.uint8([181, 120, 70]), page)
    brown[(page == np.uint8(BLUE)).all(axis=-1)] = BROWN

    counts = areas_of(page).count(brown)

    assert counts.by_name() == {"white": (0, 1), "brown": (7, 7), "blue": (0, 1)}
    assert counts.named_right(1) == pytest.approx(1 / 3)
    assert counts.named_right(2) == 1, "of the other names there are fewer than two areas"
    assert math.isnan(counts.named_right(8))


def test_an_area_has_the_name_of_most_of_its_pixels() -> None:
    page = drawn(BLUE)
    patched = page.copy()
    patched[22:39, 22:79] = ORANGE
    patched[39:56, 22:79] = GREEN  # 30 % of either: the median of each level is a green
    mostly = page.copy()
    mostly[22:58, 22:79] = ORANGE

    assert areas_of(page).count(patched).by_name()["blue"] == (1, 1)
    assert areas_of(page).count(mostly).by_name()["blue"] == (0, 1)


def test_clouds_by_hand() -> None:
    """One square within lines, half of it 10 more and half of it 10 less in a: a spread of 10 where the truth has 0."""
    page = drawn(BROWN, side=100)
    areas = areas_of(page)

    def clouded(chroma: np.ndarray) -> np.ndarray:
        chroma[20:121, 20:70, 0] += 10
        chroma[20:121, 70:121, 0] -= 10
        return chroma

    counts = areas.count(recolored(page, clouded))

    brown = areas.labels[70, 70]
    pixels = int((areas.labels == brown).sum())
    assert counts.excess / pixels == pytest.approx(10, abs=0.3)
    chroma = np.hypot(*np.moveaxis(to_lab(recolored(page, clouded))[areas.labels == brown][:, 1:], -1, 0)).sum()
    assert counts.clouds == pytest.approx(10 * pixels / chroma, rel=0.05)


def test_another_hue_is_no_cloud() -> None:
    page = drawn(BROWN, BLUE, side=100)

    assert areas_of(page).count(recolored(page, lambda chroma: chroma[..., ::-1])).clouds < 0.01


def test_a_flatter_area_makes_up_for_no_cloud() -> None:
    page = drawn(BROWN, BLUE, side=100)
    page[22:119, 22:70] = (120, 62, 18)  # the first square has a spread of its own

    def changed(*, flatten: bool) -> np.ndarray:
        def change(chroma: np.ndarray) -> np.ndarray:
            if flatten:
                chroma[22:119, 22:119] = chroma[22:119, 22:119].mean(axis=(0, 1))
            chroma[22:70, 142:239] += 9
            return chroma

        return recolored(page, change)

    areas = areas_of(page)
    excess = areas.count(changed(flatten=False)).excess

    assert excess > 1000
    assert areas.count(changed(flatten=True)).excess == pytest.approx(excess, rel=0.02)


def test_a_gray_page_has_no_clouds_and_is_right_about_white_alone() -> None:
    page = drawn(BROWN, BLUE)
    gray = gray_of_equal_lightness(page)[..., None].repeat(3, axis=-1)

    counts = areas_of(page).count(gray)

    assert counts.clouds == 0
    assert counts.by_name() == {"white": (1, 1), "brown": (0, 1), "blue": (0, 1)}


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (30, 1), (40, 60)])
def test_a_page_of_ink_or_of_a_few_pixels_can_be_counted(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 2, size, dtype=np.uint8) * np.uint8(255)
    page = noise[..., None].repeat(3, axis=-1)

    counts = ColorAreas(noise, page).count(page)

    assert isinstance(counts, AreaCounts)
    assert (counts.right == counts.total).all()
    assert counts.clouds == 0
