"""Where a colour picture lies on a gray page."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.local_features import find_features
from imaging.matching import fit, moved
from tests.imaging.editions import grid, page, printed, turned


def away(found, true, size):
    """The median distance between two homographies' points, in pixels."""
    return np.median(np.linalg.norm(moved(grid(size), found) - moved(grid(size), true), axis=1))


@settings(max_examples=15, derandomize=True)
@given(
    number=st.integers(0, 5),
    degrees=st.floats(-3, 3),
    scale=st.floats(0.7, 1.4),
    shift=st.tuples(st.floats(-40, 60), st.floats(-40, 60)),
    tilt=st.floats(-2e-5, 2e-5),
)
def test_a_page_is_found_wherever_it_was_printed(number, degrees, scale, shift, tilt):
    ink, color = page(number)
    matrix = turned(degrees, scale, shift, tilt)
    gray = printed(ink, matrix, (round(680 * scale), round(940 * scale)))
    found = fit(find_features(color), find_features(gray))
    assert found is not None
    assert away(found.homography, matrix, (640, 900)) < 1
    assert found.overlap > 0.6


def test_a_part_is_found_on_its_page_at_another_scale():
    ink, color = page(2)
    part = np.repeat(np.repeat(color[300:620, 200:520], 2, axis=0), 2, axis=1)
    found = fit(find_features(part), find_features(ink))
    assert found is not None
    true = turned(0, 0.5, (200, 300))
    assert away(found.homography, true, (640, 640)) < 1
    assert found.shared > 0.99


def test_a_page_is_found_on_a_spread():
    (left, _), (right, color) = page(1), page(4)
    found = fit(find_features(color), find_features(np.hstack([left, right])))
    assert found is not None
    assert away(found.homography, turned(0, 1, (640, 0)), (640, 900)) < 1


def test_half_of_a_spread_is_told_by_what_is_shared():
    (_, one), (ink, other) = page(1), page(4)
    found = fit(find_features(np.hstack([one, other])), find_features(ink))
    assert found is not None
    assert found.shared == pytest.approx(0.5, abs=0.03)


def test_a_mirrored_edition_is_found_in_the_mirror_alone():
    ink, color = page(3)
    features = find_features(np.ascontiguousarray(color[:, ::-1])), find_features(ink)
    plain, mirrored = fit(*features), fit(*features, mirrored=True)
    assert plain is None or plain.overlap < 0.2
    assert mirrored is not None
    assert mirrored.mirrored
    assert mirrored.overlap > 0.6
    assert away(mirrored.homography, np.array([[-1, 0, 640], [0, 1, 0], [0, 0, 1.0]]), (640, 900)) < 1


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 2), (2, 5), (4, 8)])
def test_pages_of_one_series_have_no_edges_in_common(one, other):
    found = fit(find_features(page(one)[1]), find_features(page(other)[0]))
    assert found is None or found.overlap < 0.3


@pytest.mark.parametrize("level", [0, 255])
def test_an_empty_page_fits_nothing(level):
    empty = find_features(np.full((400, 300), level, np.uint8))
    assert len(empty.points) == 0
    assert fit(empty, find_features(page(1)[0])) is None
    assert fit(empty, find_features(page(1)[0]), mirrored=True) is None
    assert fit(find_features(page(1)[1]), empty) is None


def test_a_page_in_a_mirror_twice_is_the_page():
    features = find_features(page(1)[0])
    again = features.mirrored().mirrored()
    assert np.array_equal(again.descriptors, features.descriptors)
    assert np.allclose(again.points, features.points, atol=1e-3)
    assert np.array_equal(again.view, features.view)
