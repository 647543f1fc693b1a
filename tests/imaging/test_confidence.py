"""How sure a fit is."""

import numpy as np
import pytest

from imaging.confidence import COEFFICIENTS, NAMES, confidence, evidence
from imaging.matching import Fit


def made(inliers: int = 100, tentative: int = 120, overlap: float = 0.5, evenness: float = 0.3) -> Fit:
    return Fit(np.eye(3), False, inliers, tentative, overlap, evenness, 1.0)


@pytest.mark.parametrize(
    ("less", "more"),
    [
        (made(inliers=6, tentative=6), made(inliers=15, tentative=15)),
        (made(tentative=400), made()),
        (made(overlap=0.2), made()),
        (made(evenness=0.1), made()),
    ],
)
def test_each_evidence_makes_surer(less, more):
    assert confidence(less, 0.1) < confidence(more, 0.1)


def test_a_near_second_page_makes_less_sure():
    found = made(overlap=0.4, evenness=0.3)
    assert confidence(found, 0.39) < confidence(found, 0.2) < confidence(found)
    assert confidence(found, 0.05) == confidence(found)


def test_pages_that_share_half_are_not_sure():
    assert confidence(made(inliers=200, tentative=220, overlap=0.45, evenness=0.02)) < 0.3


@pytest.mark.parametrize("found", [made(0, 0, -1, -1), made(5, 500, 0, 0), made(800, 800, 1, 1)])
def test_it_is_never_nothing_nor_all(found):
    assert 0 < confidence(found, 0) < 1


def test_no_more_is_claimed_than_the_pairs_of_the_fit_can_show():
    assert 0.985 < confidence(made(800, 800, 1, 1), 0) < 0.99


def test_a_coefficient_has_a_name():
    assert len(COEFFICIENTS) == len(NAMES) == len(evidence(made(), 0))
