"""Which picture gets which page."""

import numpy as np
import pytest

from imaging.matching import Fit
from jobs.parts.pair.assign import assign, expected_pages

SIZE = (600, 900)


def laid(x: float = 0, scale: float = 1.0, *, inliers: int = 200, overlap: float = 0.8, mirrored: bool = False) -> Fit:
    """A picture whose upper left corner lies at (x, 0) of the page."""
    return Fit(np.array([[scale, 0, x], [0, scale, 0], [0, 0, 1.0]]), mirrored, inliers, inliers, overlap, overlap, 1.0)


def pairs(matches):
    return {(one.color, one.gray) for one in matches}


def test_of_two_pictures_on_one_page_the_better_one_has_it():
    fits = {0: [(0, laid(overlap=0.6))], 1: [(0, laid(overlap=0.9))]}
    matches, why = assign(fits, [SIZE] * 2, [SIZE], {})
    assert pairs(matches) == {(1, 0)}
    assert why == {0: "another picture fits its page better"}


def test_a_picture_whose_page_is_taken_falls_back_on_its_next():
    fits = {0: [(0, laid(overlap=0.6)), (1, laid(overlap=0.5))], 1: [(0, laid(overlap=0.9))]}
    matches, _ = assign(fits, [SIZE] * 2, [SIZE] * 2, {})
    assert pairs(matches) == {(1, 0), (0, 1)}


def test_a_page_holds_the_parts_that_were_cut_out_of_it():
    fits = {0: [(0, laid(0, 0.4))], 1: [(0, laid(300, 0.4))], 2: [(0, laid())]}
    matches, _ = assign(fits, [SIZE] * 3, [SIZE], {})
    assert pairs(matches) == {(0, 0), (1, 0), (2, 0)}


def test_a_spread_has_a_page_for_each_half():
    fits = {0: [(3, laid()), (4, laid(-600)), (5, laid(-550, overlap=0.4))]}
    matches, _ = assign(fits, [(1200, 900)], [SIZE] * 6, {})
    assert pairs(matches) == {(0, 3), (0, 4)}
    assert all(one.second == 0.4 for one in matches if one.gray == 4)


def test_the_halves_of_a_spread_may_meet():
    matches, _ = assign({0: [(3, laid()), (4, laid(-560, overlap=0.7))]}, [(1160, 900)], [SIZE] * 6, {})
    assert pairs(matches) == {(0, 3), (0, 4)}


def test_a_pair_that_was_refused_leaves_the_next_page():
    fits = {0: [(0, laid(overlap=0.9)), (1, laid(overlap=0.5))]}
    matches, _ = assign(fits, [SIZE], [SIZE] * 2, {(0, 0): False})
    assert pairs(matches) == {(0, 1)}
    assert not matches[0].decided


def test_the_next_page_that_it_may_come_from_lowers_the_confidence():
    alone, _ = assign({0: [(0, laid(overlap=0.5))]}, [SIZE], [SIZE] * 2, {})
    rivalled, _ = assign({0: [(0, laid(overlap=0.5)), (1, laid(overlap=0.49))]}, [SIZE], [SIZE] * 2, {})
    assert rivalled[0].confidence < alone[0].confidence
    assert rivalled[0].second == 0.49


def test_the_confidence_rises_with_what_agrees():
    sure = [
        assign({0: [(0, laid(inliers=count, overlap=overlap))]}, [SIZE], [SIZE], {})[0][0].confidence
        for count, overlap in ((5, 0.05), (12, 0.2), (30, 0.4), (200, 0.8))
    ]
    assert sure == sorted(sure)
    assert sure[0] < 0.3
    assert sure[-1] > 0.95


def test_decisions_are_kept_to():
    fits = {0: [(0, laid(overlap=0.9)), (1, laid(overlap=0.2, inliers=6))], 1: [(1, laid(overlap=0.9))]}
    matches, why = assign(fits, [SIZE] * 2, [SIZE] * 2, {(0, 0): False, (0, 1): True})
    assert pairs(matches) == {(0, 1)}
    assert matches[0].confidence == 1
    assert matches[0].decided
    assert set(why) == {1}


def test_a_picture_without_a_fit_says_so():
    assert assign({0: []}, [SIZE], [SIZE], {}) == ([], {0: "no page has lines in common with it"})


def test_a_picture_beside_its_page_has_none():
    matches, why = assign({0: [(0, laid(590))]}, [SIZE], [SIZE], {})
    assert matches == []
    assert set(why) == {0}


@pytest.mark.parametrize(
    ("placed", "expected"),
    [
        ([], []),
        ([(4, 10)], [*range(8, 15)]),
        ([(4, 10), (6, 14)], [*range(8, 17)]),
        ([(4, 0)], [0, 1, 2, 3, 4]),
        ([(9, 19)], [*range(12, 19)]),
    ],
)
def test_the_order_of_pictures_tells_which_pages_to_expect(placed, expected):
    assert expected_pages(5, placed, 20) == expected
