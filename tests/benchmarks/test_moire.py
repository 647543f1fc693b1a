"""Moire is chroma that follows the beats of screens, and nothing else."""

import cv2
import numpy as np
import pytest

from benchmarks.moire import moire
from imaging.screentone import Screen

MAP = 128


def screened(pitch: float = 4.7) -> np.ndarray:
    """(600, 520), a page that is one screen. A pitch of 4.7 pixels beats when the page is scaled down to 128."""
    ink = Screen("dot", pitch, 20.0, (0.0, 0.0)).cover(np.full((600, 520), 0.4, np.float32))
    return np.round(255 - 255 * ink).astype(np.uint8)


def beats(page: np.ndarray) -> np.ndarray:
    """(128, 128), what the scaled-down page has besides its tone; its mean square is 1."""
    squeezed = cv2.resize(page, (MAP, MAP), interpolation=cv2.INTER_AREA).astype(np.float32)
    squeezed -= squeezed.mean()
    return squeezed / squeezed.std()


def smooth(seed: int = 0) -> np.ndarray:
    """(128, 128, 2), soft colour of 20 units and more."""
    small = np.random.default_rng(seed).normal(0, 30, (4, 4, 2)).astype(np.float32)
    return cv2.resize(small, (MAP, MAP), interpolation=cv2.INTER_CUBIC)


def test_smooth_colour_and_noise_have_none() -> None:
    noise = np.random.default_rng(1).normal(0, 6, (MAP, MAP, 2)).astype(np.float32)
    assert moire(smooth(), screened()) < 0.3
    assert moire(noise, screened()) < 1


@pytest.mark.parametrize("strength", [2.0, 6.0])
@pytest.mark.parametrize("shift", [0, 1])
def test_colour_that_follows_the_screen_is_measured(strength: float, shift: int) -> None:
    page = screened()
    chroma = smooth()
    chroma[..., 1] += strength * np.roll(beats(page), shift, axis=1)
    assert moire(chroma, page) == pytest.approx(strength, rel=0.3)


def test_without_screens_there_is_none() -> None:
    page = screened()
    chroma = smooth() + 6 * beats(page)[..., None]
    ramp = np.tile(np.linspace(0, 255, 520).astype(np.uint8), (600, 1))
    assert moire(chroma, ramp) == 0


def test_windows_with_weaker_beats_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    page = screened()
    chroma = smooth() + 6 * beats(page)[..., None]
    assert moire(chroma, page) > 5
    monkeypatch.setattr("benchmarks.moire._LEAST_BEAT", 100.0)
    assert moire(chroma, page) == 0


def test_colours_that_change_at_drawn_borders_are_no_moire() -> None:
    page = screened()
    chroma = smooth()
    for left in range(10, 520, 33):
        page[:, left : left + 12] = 0
        chroma[:, left * MAP // 520 : (left + 12) * MAP // 520] += 25
    assert moire(chroma, page) < 0.5


def test_a_map_too_small_to_tell() -> None:
    assert moire(np.zeros((8, 8, 2), np.float32), screened()) == 0
