"""Drift of one thing's colour, where the colours are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.drift import drift, looks_at, together


def turned(degrees: list[float], chroma: float) -> np.ndarray:
    angles = np.radians(degrees)
    return (chroma * np.stack([np.cos(angles), np.sin(angles)], axis=1)).astype(np.float32)


def test_a_colour_that_stays_has_no_drift() -> None:
    found = drift(np.tile(np.float32([20, -30]), (5, 1)))
    assert (found.rms, found.looks) == (pytest.approx(0, abs=1e-5), 5)
    assert found.hue == pytest.approx(0, abs=0.05)


def test_rms_is_of_the_distances_from_the_mean() -> None:
    assert drift(np.float32([[13, 4], [7, -4], [13, -4], [7, 4]])).rms == pytest.approx(5)


@pytest.mark.parametrize("spread", [3.0, 10.0, 25.0])
@pytest.mark.parametrize("around", [0.0, 90.0, 180.0])
def test_hue_is_the_standard_deviation_in_degrees_wherever_it_lies(spread: float, around: float) -> None:
    degrees = np.random.default_rng(3).normal(around, spread, 4000)
    assert drift(turned(list(degrees), 40)).hue == pytest.approx(spread, rel=0.05)


def test_hue_of_pale_looks_counts_less() -> None:
    firm, pale = turned([10, 10, 10, 10], 40), turned([100], 1)
    assert drift(np.concatenate([firm, pale])).hue < 0.3 * drift(np.concatenate([firm, 40 * pale])).hue


def test_pages_without_it_are_left_out() -> None:
    with_gaps = np.float32([[3, 0], [np.nan, np.nan], [-3, 0]])
    assert drift(with_gaps).rms == pytest.approx(3)
    assert drift(with_gaps).looks == 2
    nothing = drift(np.full((2, 2), np.nan, np.float32))
    assert nothing.looks == 0
    assert np.isnan([nothing.rms, nothing.hue]).all()


@given(st.lists(st.integers(0, 5), max_size=6), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_looks_put_together_are_looks_at_all(counts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [rng.normal(rng.uniform(-40, 40, 2), 9, (count, 2)).astype(np.float32) for count in counts]
    whole = drift(np.concatenate([np.zeros((0, 2), np.float32), *parts]))
    merged = together(looks_at(part) for part in parts).drift()
    assert merged.looks == whole.looks
    np.testing.assert_allclose([merged.rms, merged.hue], [whole.rms, whole.hue], rtol=1e-5, atol=1e-3)


@given(st.integers(1, 30), st.floats(-170, 170), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_turning_and_shifting_all_looks_changes_nothing(looks: int, degrees: float, seed: int) -> None:
    colors = np.random.default_rng(seed).uniform(-60, 60, (looks, 2))
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    before, after = drift(colors), drift(colors @ turn.T)
    assert after.rms == pytest.approx(before.rms, abs=1e-3)
    assert after.hue == pytest.approx(before.hue, rel=1e-3, abs=0.01)
    assert drift(colors + 7).rms == pytest.approx(before.rms, abs=1e-3)
