"""Which matches are pairs, and which a person is to decide."""

import numpy as np
import pytest

from imaging.matching import Fit
from jobs.parts.pair.assign import Match
from jobs.parts.pair.plan import judge

FIT = Fit(np.eye(3), mirrored=False, inliers=6, tentative=9, overlap=0.1, evenness=0.0, shared=1.0)


def match(color: int, gray: int, confidence: float) -> Match:
    return Match(color, gray, FIT, (0, 0, 100, 100), confidence, second=0.0)


def doubts(*matches: Match) -> list[tuple[int, int]]:
    return [(one.color, one.gray) for one in judge(matches, 0.9, 0.3).doubtful]


def test_confidence_parts_the_matches():
    matches = [match(0, 5, 0.95), match(1, 9, 0.9), match(2, 1, 0.5), match(3, 2, 0.1)]
    assert [one.color for one in judge(matches, 0.9, 0.3).taken] == [0, 1]
    assert doubts(*matches) == [(2, 1)]


def test_a_picture_with_a_pair_has_no_doubts():
    assert doubts(match(1, 4, 0.95), match(1, 5, 0.5)) == []


@pytest.mark.parametrize(
    ("page", "shown"),
    [(12, True), (11, True), (10, False), (13, False), (9, False), (14, False)],
)
def test_a_picture_that_fills_a_gap_in_the_order_is_to_be_decided(page, shown):
    paired = [match(3, 10, 0.99), match(6, 13, 0.99)]
    assert doubts(*paired, match(4, page, 0.001)) == ([(4, page)] if shown else [])


def test_a_page_in_the_gap_that_has_a_picture_is_not_shown():
    paired = [match(3, 10, 0.99), match(5, 12, 0.99), match(8, 11, 0.99)]
    assert doubts(*paired, match(4, 11, 0.001)) == []


@pytest.mark.parametrize(("next_page", "shown"), [(15, True), (16, False), (8, False)])
def test_a_wide_gap_or_one_that_runs_backwards_tells_nothing(next_page, shown):
    paired = [match(3, 10, 0.99), match(5, next_page, 0.99)]
    assert bool(doubts(*paired, match(4, 11 if next_page > 10 else 9, 0.001))) == shown


def test_the_ends_of_the_order_have_no_gap():
    paired = [match(3, 12, 0.99), match(4, 10, 0.99)]
    assert doubts(*paired, match(2, 11, 0.001), match(5, 11, 0.001)) == []
