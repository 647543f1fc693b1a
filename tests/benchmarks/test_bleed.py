"""Tests of finding strokes, and of measuring colour that runs over them."""

import cv2
import numpy as np
import pytest

from benchmarks.bleed import bleed, find_strokes, near_strokes


def lined(width: int = 120) -> np.ndarray:
    """A light page with one vertical line, 3 pixels wide, about x = 60."""
    gray = np.full((100, width), 230, np.uint8)
    gray[:, 59:62] = 30
    return gray


def sides(left: tuple[float, float], right: tuple[float, float], softness: float = 0) -> np.ndarray:
    chroma = np.where(np.arange(120)[None, :, None] < 60, left, right).repeat(100, 0).astype(np.float32)
    return cv2.GaussianBlur(chroma, (0, 0), softness) if softness else chroma


def test_strokes_are_the_middles_of_lines_with_the_way_across() -> None:
    strokes = find_strokes(lined())

    assert len(strokes.x) >= 90
    assert set(strokes.x) == {60}
    np.testing.assert_allclose(np.abs(strokes.normal_x), 1, atol=0.01)
    assert len(find_strokes(255 - lined()).x) == 0  # a light line is no stroke
    assert len(find_strokes(np.full((40, 40), 90, np.uint8)).x) == 0


def test_near_a_stroke_is_within_three_pixels_of_it() -> None:
    gray = lined()

    near = near_strokes(find_strokes(gray), gray.shape)

    assert set(np.flatnonzero(near[50])) == {57, 58, 59, 60, 61, 62, 63}


def test_colour_that_changes_at_the_line_alone_does_not_bleed_and_softer_colour_bleeds_more() -> None:
    strokes, truth = find_strokes(lined()), sides((40, 0), (-40, 0))

    shares = []
    for softness in (0, 2, 4, 8):
        found = bleed(sides((40, 0), (-40, 0), softness), truth, strokes)
        assert found.boundaries == len(strokes.x)
        shares.append(found.off / found.across)

    assert shares[0] == 0
    assert shares == sorted(shares)
    assert shares[-1] > 0.5


def test_bleed_does_not_ask_for_the_right_colours_but_false_steps_do() -> None:
    strokes = find_strokes(lined())

    other = bleed(sides((0, 9), (0, -9)), sides((40, 0), (-40, 0)), strokes)
    flat = bleed(sides((0, 9), (0, -9)), sides((40, 0), (40, 0)), strokes)

    assert (other.off, other.plain) == (0, 0)
    assert (flat.boundaries, flat.plain) == (0, len(strokes.x))
    assert flat.false / flat.plain == pytest.approx(18)


def test_a_page_without_lines_has_no_bleed() -> None:
    chroma = np.zeros((30, 30, 2), np.float32)

    assert bleed(chroma, chroma, find_strokes(np.full((30, 30), 255, np.uint8))) == (0, 0, 0, 0, 0)
