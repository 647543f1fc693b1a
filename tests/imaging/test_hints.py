"""Hints of colour, drawn on what a network is shown."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.color import F32, U8
from imaging.crops import Crop, Rect
from imaging.hints import Hint, draw_hints, keep_hints
from imaging.metrics import ciede2000_map

SIZE = 64
RED = (60.0, 40.0)
PAPER = np.full((SIZE, SIZE), 200, np.uint8)


def whole(height: int, width: int) -> Crop:
    return Crop(Rect(0, 0, width, height), ground=True)


def test_a_spot_lies_where_it_was_put_and_has_its_size() -> None:
    hinted = draw_hints([Hint(250, 700, 50, RED)], whole(1400, 1000), (1400, 1000), (1400, 1000), SIZE)

    rows, columns = np.nonzero(hinted[..., 0])
    assert (rows + 0.5).mean() == pytest.approx(700 / 1400 * SIZE, abs=0.5)
    assert (columns + 0.5).mean() == pytest.approx(250 / 1000 * SIZE, abs=0.5)
    area = np.pi * (50 / 1400 * SIZE) * (50 / 1000 * SIZE)  # squeezed to a square, a disc is an ellipse
    assert len(rows) == pytest.approx(area, rel=0.25)
    assert (hinted[rows, columns] == (1, *RED)).all()
    assert not hinted[hinted[..., 0] == 0].any()


def test_a_page_that_is_shown_smaller_keeps_its_spots_where_they_are() -> None:
    hints = [Hint(300, 900, 60, RED)]

    large = draw_hints(hints, whole(1400, 1000), (1400, 1000), (1400, 1000), SIZE)
    small = draw_hints(hints, whole(700, 500), (700, 500), (1400, 1000), SIZE)

    np.testing.assert_array_equal(small, large)


def test_a_part_of_the_page_shows_its_own_spots() -> None:
    crop = Crop(Rect(500, 700, 1000, 1400))
    hints = [Hint(750, 1050, 100, RED), Hint(100, 100, 100, (0.0, 50.0))]

    hinted = draw_hints(hints, crop, (1400, 1000), (1400, 1000), SIZE)

    assert tuple(hinted[SIZE // 2, SIZE // 2]) == (1.0, *RED)
    assert not (hinted[..., 2] == 50).any()


def test_where_spots_overlap_the_last_one_counts() -> None:
    hints = [Hint(500, 500, 200, RED), Hint(500, 500, 50, (0.0, 0.0))]

    hinted = draw_hints(hints, whole(1000, 1000), (1000, 1000), (1000, 1000), SIZE)

    assert tuple(hinted[SIZE // 2, SIZE // 2]) == (1.0, 0.0, 0.0)
    assert (hinted[..., 1] == RED[0]).any()


@given(
    x=st.floats(0, 999.99),
    y=st.floats(0, 1399.99),
    radius=st.floats(0.01, 2000),
)
def test_a_spot_on_the_page_always_tells_something(x: float, y: float, radius: float) -> None:
    hinted = draw_hints([Hint(x, y, radius, RED)], whole(1400, 1000), (1400, 1000), (1400, 1000), SIZE)

    assert tuple(hinted[int(y / 1400 * SIZE), int(x / 1000 * SIZE)]) == (1.0, *RED)
    assert set(np.unique(hinted[..., 0])) <= {0.0, 1.0}


def test_what_a_network_lacks_is_added_on_the_spots_and_fades_around_them() -> None:
    hints = [Hint(250, 700, 60, RED), Hint(800, 200, 40, (0.0, -30.0))]
    hinted = draw_hints(hints, whole(1400, 1000), (1400, 1000), (1400, 1000), SIZE)
    said = np.random.default_rng(0).normal(0, 5, (SIZE, SIZE, 2)).astype(np.float32)
    said[hinted[..., 0] == 0] += 150  # to the network all around is of another colour

    kept = keep_hints(said, said, hinted, PAPER)

    inside = hinted[..., 0] > 0
    np.testing.assert_allclose(kept[inside], hinted[inside][:, 1:], atol=1e-4)
    added = np.hypot(*np.moveaxis(kept - said, -1, 0))
    y, x = 32, 16  # the first hint's middle
    row = added[y, x + 4 : x + 16]  # from outside of it on
    assert (np.diff(row) < 0).all()
    assert row[0] > 5
    assert added[y, x + 20] < 0.05
    np.testing.assert_array_equal(keep_hints(said, said, np.zeros_like(hinted), PAPER), said)


def test_a_network_that_keeps_to_its_hints_is_left_alone() -> None:
    hinted = draw_hints([Hint(500, 500, 100, RED)], whole(1000, 1000), (1000, 1000), (1000, 1000), SIZE)
    said = np.tile(np.array(RED, np.float32), (SIZE, SIZE, 1))

    np.testing.assert_allclose(keep_hints(said, said, hinted, PAPER), said, atol=1e-4)


def boxed() -> U8:
    """Paper with a box from row and column 12 to 50, drawn in ink."""
    gray = np.full((SIZE, SIZE), 220, np.uint8)
    cv2.rectangle(gray, (12, 12), (50, 50), 0, 1)
    return gray


def one_square(*hints: Hint) -> F32:
    return draw_hints(hints, whole(SIZE, SIZE), (SIZE, SIZE), (SIZE, SIZE), SIZE)


@given(x=st.floats(16, 46), y=st.floats(16, 46), radius=st.floats(0.5, 6))
def test_a_hint_fills_what_lines_enclose_and_nothing_beyond(x: float, y: float, radius: float) -> None:
    blue, orange = (5.0, -40.0), (25.0, 45.0)
    said = np.tile(np.array(orange, np.float32), (SIZE, SIZE, 1))

    hinted = one_square(Hint(x, y, radius, blue))
    kept = keep_hints(said, said, hinted, boxed())

    assert (kept[hinted[..., 0] > 0] == blue).all()  # beyond the line, too
    lightness = np.full((36, 36, 1), 88, np.float32)
    inside = np.concatenate([lightness, kept[13:49, 13:49]], axis=-1)
    told = np.broadcast_to(np.array([88, *blue], np.float32), inside.shape)
    assert float(ciede2000_map(inside, told).max()) < 10
    np.testing.assert_allclose(kept[:3], said[:3], atol=1)


def test_of_two_hints_in_an_area_each_has_what_is_nearer_to_it() -> None:
    said = np.zeros((SIZE, SIZE, 2), np.float32)

    kept = keep_hints(said, said, one_square(Hint(20, 30, 2, (0.0, -40.0)), Hint(42, 30, 2, RED)), boxed())

    np.testing.assert_allclose(kept[14:48, 14:30], np.broadcast_to((0.0, -40.0), (34, 16, 2)), atol=1)
    np.testing.assert_allclose(kept[14:48, 34:48], np.broadcast_to(RED, (34, 14, 2)), atol=1)


def test_what_the_network_has_in_another_colour_keeps_it() -> None:
    said = np.zeros((SIZE, SIZE, 2), np.float32)
    said[:, 32:] = (-60.0, 40.0)

    kept = keep_hints(said, said, one_square(Hint(20, 30, 2, RED)), boxed())

    np.testing.assert_allclose(kept[14:48, 14:30], np.broadcast_to(RED, (34, 16, 2)), atol=1)
    np.testing.assert_allclose(kept[:, 34:], said[:, 34:], atol=3)


def test_what_a_hint_has_changed_in_the_network_s_answer_does_not_keep_it_from_the_rest_of_its_area() -> None:
    blue, orange = (5.0, -40.0), (25.0, 45.0)
    plain = np.tile(np.array(orange, np.float32), (SIZE, SIZE, 1))
    said = plain.copy()
    said[20:40, 12:28] = blue  # the network follows the hint a little way

    kept = keep_hints(said, plain, one_square(Hint(20, 30, 2, blue)), boxed())

    np.testing.assert_allclose(kept[14:48, 14:48], np.broadcast_to(blue, (34, 34, 2)), atol=1)


@pytest.mark.parametrize(("opening", "beyond"), [(3, (0.0, 0.0)), (7, RED)])
def test_a_hint_leaks_through_a_wide_opening_of_the_line_alone(opening: int, beyond: tuple[float, float]) -> None:
    side = 256
    gray = np.full((side, side), 220, np.uint8)
    cv2.rectangle(gray, (50, 50), (200, 200), 0, 2)
    gray[100 : 100 + opening, 195:206] = 220
    said = np.zeros((side, side, 2), np.float32)
    hinted = draw_hints([Hint(120, 120, 6, RED)], whole(side, side), (side, side), (side, side), side)

    kept = keep_hints(said, said, hinted, gray)

    np.testing.assert_allclose(kept[60:190, 60:190], np.broadcast_to(RED, (130, 130, 2)), atol=1)
    np.testing.assert_allclose(kept[:, 212:], np.broadcast_to(beyond, (side, side - 212, 2)), atol=1)
