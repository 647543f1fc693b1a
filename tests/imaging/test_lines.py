"""Colour kept to the lines, on drawn pages whose areas are known.

Chroma is small and blurred, as a network gives it.
"""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from imaging.lines import draw_together, find_areas, find_lines, refine_chroma
from imaging.upsampling import upsample_chroma

SIZE = (700, 500)
CELLS = (128, 128)
RED, BLUE, GREEN = (50.0, 30.0), (10.0, -45.0), (-40.0, 35.0)


def two_sides(gap: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw a page with an upright line 4 pixels wide, open for `gap` pixels; red at its left, blue at its right."""
    gray = np.full(SIZE, 235, np.uint8)
    gray[:, 248:252] = 20
    gray[350 - gap // 2 : 350 + gap - gap // 2, 248:252] = 235
    return gray, np.where(np.arange(SIZE[1])[None, :, None] < 250, RED, BLUE).repeat(SIZE[0], 0).astype(np.float32)


def ring() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw a closed circle of ink, green inside and blue outside; return the mask of its inside too."""
    gray = np.full(SIZE, 235, np.uint8)
    cv2.circle(gray, (250, 350), 120, 20, 4)
    inside = cv2.circle(np.zeros(SIZE, np.uint8), (250, 350), 120, 1, -1).astype(bool)
    return gray, np.where(inside[..., None], GREEN, BLUE).astype(np.float32), inside


def seen(truth: np.ndarray, blur: float = 0.8) -> np.ndarray:
    """Return the truth as a network predicts it: small and soft."""
    return cv2.GaussianBlur(cv2.resize(truth, CELLS[::-1], interpolation=cv2.INTER_AREA), (0, 0), blur)


def bilinear(chroma: np.ndarray) -> np.ndarray:
    return cv2.resize(chroma, SIZE[::-1], interpolation=cv2.INTER_LINEAR)


def off(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.hypot(*np.moveaxis(one - other, -1, 0))


# Colours stay on their side.


def test_colours_stay_on_their_side_of_a_line() -> None:
    gray, truth = two_sides()
    chroma = seen(truth)
    beside = np.s_[50:-50, [244, 245, 246, 253, 254, 255]]

    before, after = off(bilinear(chroma), truth)[beside], off(refine_chroma(gray, chroma), truth)[beside]

    assert before.mean() > 4
    assert after.mean() < 0.25 * before.mean()


def test_colours_stay_within_a_closed_line() -> None:
    gray, truth, inside = ring()
    chroma = seen(truth)
    border = cv2.morphologyEx(inside.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((13, 13), np.uint8)) > 0
    beside = border & (gray > 200)

    before, after = off(bilinear(chroma), truth)[beside], off(refine_chroma(gray, chroma), truth)[beside]

    assert after.mean() < 0.5 * before.mean()


def test_a_gap_of_a_few_pixels_lets_less_through_than_before() -> None:
    gray, truth = two_sides(gap=6)
    chroma = seen(truth)
    opening = np.s_[347:353, [244, 245, 246, 253, 254, 255]]

    before, after = off(bilinear(chroma), truth)[opening], off(refine_chroma(gray, chroma), truth)[opening]

    assert after.mean() < 0.5 * before.mean()


def test_the_sides_of_a_narrow_gap_are_two_areas_and_those_of_a_wide_one_are_one() -> None:
    narrow = find_areas(find_lines(two_sides(gap=4)[0]), gap=6)
    wide = find_areas(find_lines(two_sides(gap=30)[0]), gap=6)

    assert narrow[100, 100] != narrow[100, 400]
    assert wide[100, 100] == wide[100, 400]


def test_a_closed_area_too_narrow_for_the_ball_is_its_own() -> None:
    gray = np.full((100, 100), 235, np.uint8)
    gray[:, [40, 44]] = 20

    labels = find_areas(find_lines(gray), gap=10)

    assert len({labels[50, 20], labels[50, 42], labels[50, 80]}) == 3


def test_an_edge_of_gray_sharpens_the_chroma_upon_it() -> None:
    gray = np.full(SIZE, 200, np.uint8)
    gray[:, 250:] = 120
    truth = two_sides()[1]
    chroma = seen(truth, 0.5)
    beside = np.s_[50:-50, 247:253]

    before, after = off(bilinear(chroma), truth)[beside], off(upsample_chroma(gray, chroma), truth)[beside]

    assert after.mean() < 0.9 * before.mean()


def test_thin_ink_leaves_no_trace_in_the_chroma_of_one_that_does_not_change_there() -> None:
    gray = np.full(SIZE, 235, np.uint8)
    gray[:, 248:252] = 20
    x = np.linspace(-40, 40, SIZE[1], dtype=np.float32)
    chroma = seen(np.dstack([np.tile(x, (SIZE[0], 1)), np.tile(-x, (SIZE[0], 1))]))

    np.testing.assert_allclose(refine_chroma(gray, chroma), bilinear(chroma), atol=1.5)


def test_thin_ink_beside_an_edge_is_not_taken_for_the_edge_s_darker_side() -> None:
    dark = np.arange(SIZE[1]) < 242
    gray = np.tile(np.where(dark, 130, 230).astype(np.uint8), (SIZE[0], 1))
    chroma = seen(np.dstack([np.tile(np.where(dark, -50, 50).astype(np.float32), (SIZE[0], 1))] * 2), 0.3)
    inked = gray.copy()
    inked[:, 247:249] -= 60

    np.testing.assert_allclose(upsample_chroma(inked, chroma), upsample_chroma(gray, chroma), atol=0.5)


def test_a_wide_opening_is_meant() -> None:
    gray, truth = two_sides(gap=60)
    chroma = seen(truth)

    np.testing.assert_allclose(refine_chroma(gray, chroma)[345:355], bilinear(chroma)[345:355], atol=1.5)


# What is soft stays soft.


@pytest.mark.parametrize("areas", [0.0, 1.0])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_blank_page_gets_its_chroma_as_it_is(level: int, areas: float) -> None:
    chroma = np.random.default_rng(0).uniform(-60, 60, (*CELLS, 2)).astype(np.float32)

    refined = refine_chroma(np.full(SIZE, level, np.uint8), chroma, areas=areas)

    np.testing.assert_allclose(refined, bilinear(chroma), atol=1e-3)


@pytest.mark.parametrize("areas", [0.0, 1.0])
def test_a_gradient_within_a_line_keeps_its_ends(areas: float) -> None:
    gray, truth, inside = ring()
    ramp = np.linspace(-60, 60, SIZE[0], dtype=np.float32)[:, None].repeat(SIZE[1], 1)
    truth[inside] = np.dstack([ramp, ramp / 2])[inside]
    well_in = cv2.erode(inside.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    chroma = seen(truth)

    refined = refine_chroma(gray, chroma, areas=areas)

    assert off(refined, truth)[well_in].max() < max(4, off(bilinear(chroma), truth)[well_in].max())
    np.testing.assert_allclose(off(refined, truth)[well_in].mean(), 0, atol=0.6)


def test_an_area_of_two_colours_keeps_both() -> None:
    gray, truth, inside = ring()
    lower = inside & (np.arange(SIZE[0])[:, None] > 350)
    truth[lower] = RED
    far = (slice(400, 430), slice(240, 260)), (slice(270, 300), slice(240, 260))

    refined = refine_chroma(gray, seen(truth), areas=1.0)

    for place in far:
        assert off(refined, truth)[place].max() < 4


def test_blotches_in_an_enclosed_area_are_drawn_together() -> None:
    gray, truth, inside = ring()
    noise = np.random.default_rng(1).normal(0, 12, (*CELLS, 2)).astype(np.float32)
    chroma = seen(truth) + cv2.GaussianBlur(noise, (0, 0), 1.5)
    well_in = cv2.erode(inside.astype(np.uint8), np.ones((41, 41), np.uint8)).astype(bool)

    left, drawn = (refine_chroma(gray, chroma, areas=areas) for areas in (0.0, 1.0))

    assert off(drawn, truth)[well_in].mean() < 0.6 * off(left, truth)[well_in].mean()
    assert off(drawn, left)[20:60, 20:60].max() < 0.01  # nothing encloses the ground of the page


def test_an_area_of_many_grays_is_left_alone() -> None:
    gray, truth, inside = ring()
    gray[inside & (gray > 200)] -= (np.indices(SIZE)[1] // 8 % 12 * 4).astype(np.uint8)[inside & (gray > 200)]
    blotchy = seen(truth) + cv2.GaussianBlur(
        np.random.default_rng(1).normal(0, 12, (*CELLS, 2)).astype(np.float32), (0, 0), 1.5
    )
    well_in = cv2.erode(inside.astype(np.uint8), np.ones((41, 41), np.uint8)).astype(bool)

    left, drawn = (refine_chroma(gray, blotchy, areas=areas) for areas in (0.0, 1.0))

    assert off(drawn, left)[well_in].mean() < 0.1


def test_an_area_with_nothing_sure_in_it_stays() -> None:
    chroma = np.full((20, 20, 2), 40, np.float32)
    labels = np.ones((20, 20), np.int32)
    labels[8:12, 8:12] = 2
    gray, sure = np.full((20, 20), 235, np.uint8), np.zeros((20, 20), np.float32)

    drawn = draw_together(chroma, gray, sure, labels, strength=1.0)

    np.testing.assert_allclose(drawn, chroma, atol=0.01)


# Any page at all.


@given(
    gray=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=70)),
    cells=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 2**32 - 1),
    sides=st.floats(0, 1),
    areas=st.floats(0, 1),
)
@settings(max_examples=150)
def test_any_page_gets_chroma_of_its_size_within_what_was_predicted(
    gray: np.ndarray, cells: tuple[int, int], seed: int, sides: float, areas: float
) -> None:
    chroma = np.random.default_rng(seed).uniform(-110, 110, (*cells, 2)).astype(np.float32)
    given_gray, given_chroma = gray.copy(), chroma.copy()

    refined = refine_chroma(gray, chroma, sides=sides, areas=areas)

    assert refined.shape == (*gray.shape, 2)
    assert refined.dtype == np.float32
    assert np.isfinite(refined).all()
    for channel in (0, 1):
        assert refined[..., channel].min() >= chroma[..., channel].min()
        assert refined[..., channel].max() <= chroma[..., channel].max()
    np.testing.assert_array_equal(gray, given_gray)
    np.testing.assert_array_equal(chroma, given_chroma)


def test_a_large_page_of_noise_stays_within_what_was_predicted() -> None:
    rng = np.random.default_rng(5)
    gray = cv2.resize(rng.integers(0, 256, (300, 200), dtype=np.uint8), (800, 1200), interpolation=cv2.INTER_NEAREST)
    chroma = rng.choice([-60.0, 60.0], (128, 128, 2)).astype(np.float32)

    assert np.abs(refine_chroma(gray, chroma)).max() <= 60


def test_chroma_of_the_page_s_own_size_is_not_handed_back_itself() -> None:
    chroma = np.zeros((20, 30, 2), np.float32)

    assert not np.shares_memory(refine_chroma(np.full((20, 30), 255, np.uint8), chroma, sides=0), chroma)


@pytest.mark.parametrize("shape", [(1401, 993), (333, 2001), (2400, 801)])
def test_pages_of_other_sizes_keep_their_sides_too(shape: tuple[int, int]) -> None:
    pen = max(4, shape[1] // 250)
    middle = shape[1] // 2
    gray = np.full(shape, 235, np.uint8)
    gray[:, middle - pen // 2 : middle + pen // 2] = 20
    truth = np.where(np.arange(shape[1])[None, :, None] < middle, RED, BLUE).repeat(shape[0], 0).astype(np.float32)
    chroma = seen(truth)
    beside = np.s_[50:-50, [middle - pen // 2 - 3, middle + pen // 2 + 2]]

    resized = cv2.resize(chroma, shape[::-1], interpolation=cv2.INTER_LINEAR)

    assert off(refine_chroma(gray, chroma), truth)[beside].mean() < 0.5 * off(resized, truth)[beside].mean()
