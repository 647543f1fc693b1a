"""The luminance that a page gets: the ink's, the network's, or the ink's with the network's shading."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.synthetic import Series, draw_page
from imaging.color import lightness_of_level
from imaging.luminance import relight
from imaging.text import find_text

SIZE = 64
SERIES = Series(seed=1, chapters=1, pages=8, width=480, height=672)


@pytest.fixture(scope="module")
def ink() -> np.ndarray:
    return next(ink for ink in (draw_page(SERIES, 1, page).ink for page in range(1, 9)) if find_text(ink).mean() > 0.01)


def lightness(gray: np.ndarray) -> np.ndarray:
    return lightness_of_level()[gray]


def even(value: float) -> np.ndarray:
    return np.full((SIZE, SIZE), value, np.float32)


def ramp() -> np.ndarray:
    """Return lightness that falls to the right."""
    return np.tile(np.linspace(100, 20, SIZE, dtype=np.float32), (SIZE, 1))


def test_keep_is_the_page_itself(ink: np.ndarray) -> None:
    np.testing.assert_array_equal(relight(ink, ramp(), "keep"), ink)


def test_predict_is_the_network_s_whatever_the_ink(ink: np.ndarray) -> None:
    made = lightness(relight(ink, ramp(), "predict"))
    wanted = np.interp((np.arange(480) + 0.5) * SIZE / 480 - 0.5, np.arange(SIZE), ramp()[0])
    np.testing.assert_allclose(made, np.tile(wanted, (672, 1)), atol=0.3)  # half a level of gray
    np.testing.assert_array_equal(relight(255 - ink, ramp(), "predict"), relight(ink, ramp(), "predict"))


@pytest.mark.parametrize(("off", "step"), [(-40.0, -15.0), (-13.0, -5.0), (-2.9, 0.0), (2.9, 0.0), (13.0, 5.0)])
def test_blend_goes_half_the_way_beyond_noise_and_within_its_bound(off: float, step: float) -> None:
    gray = np.full((200, 150), 150, np.uint8)
    own = float(lightness(gray)[0, 0])
    made = lightness(relight(gray, even(own + off), "blend"))
    np.testing.assert_allclose(made, own + step, atol=0.3 if step else 0)


def test_blend_keeps_lines_and_what_is_finer_than_shading(ink: np.ndarray) -> None:
    before, after = lightness(ink), lightness(relight(ink, ramp(), "blend"))
    assert np.abs(after - before).max() <= 15.3
    assert np.abs(after - before)[ink < 20].max() < 3  # black stays black
    assert (after[:, 300:] - before[:, 300:])[ink[:, 300:] > 100].mean() < -5  # the rest takes the network's shading
    steps = [np.diff(page, axis=1)[(np.abs(np.diff(before, axis=1)) > 20)] for page in (before, after)]
    assert np.median(np.abs(steps[1]) / np.abs(steps[0])) > 0.8
    assert (np.sign(steps[0]) == np.sign(steps[1])).all()


def test_blend_leaves_words_as_they_are(ink: np.ndarray) -> None:
    text = find_text(ink)
    made = relight(ink, even(20), "blend", text)
    np.testing.assert_array_equal(made[text], ink[text])
    assert (made != ink)[~text & (ink > 60)].mean() > 0.9
    assert (relight(ink, even(20), "blend") != ink)[text & (ink > 60)].all()


@settings(max_examples=50)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_darker_ink_stays_darker_side_by_side(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    gray = rng.integers(0, 256, (height, width), np.uint8)
    other = even(float(rng.uniform(-20, 120)))  # the same everywhere: only the ink differs
    small = rng.uniform(0, 100, (8, 8)).astype(np.float32)
    assert relight(gray, small, "blend").shape == relight(gray, small, "predict").shape == gray.shape
    flat = np.repeat(np.arange(256, dtype=np.uint8)[None], 4, axis=0)
    made = relight(flat, other, "blend").astype(int)
    assert (np.diff(made[0]) >= 0).mean() > 0.99
