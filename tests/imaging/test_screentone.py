"""Pages drawn as manga: black and white, outlined, toned by screens, the same for the same seed."""

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imaging.descreen import descreen, find_screens
from imaging.screentone import Screen, _tones, to_screentone

WHITE, BLACK, SKY, GRASS, SKIN = (255, 255, 255), (0, 0, 0), (120, 170, 230), (60, 120, 50), (240, 205, 170)


def colored() -> np.ndarray:
    """Draw (1400, 1000, 3): two panels with flat colours, a figure with an outline, and a bubble of text."""
    height, width = 700, 500
    page = np.full((height, width, 3), 255, np.uint8)
    cv2.rectangle(page, (20, 20), (width - 20, height // 2), SKY, -1)
    cv2.rectangle(page, (20, height // 2 + 20), (width - 20, height - 20), GRASS, -1)
    cv2.circle(page, (width // 3, height * 3 // 4), 70, SKIN, -1, cv2.LINE_AA)
    cv2.circle(page, (width // 3, height * 3 // 4), 70, (70, 40, 20), 2, cv2.LINE_AA)
    cv2.rectangle(page, (width // 2 + 60, height // 2 + 60), (width // 2 + 150, height - 80), (8, 6, 20), -1)
    cv2.ellipse(page, (width // 2, 120), (130, 50), 0, 0, 360, WHITE, -1, cv2.LINE_AA)
    cv2.putText(page, "Hello there", (width // 2 - 100, 130), cv2.FONT_HERSHEY_SIMPLEX, 1, BLACK, 2, cv2.LINE_AA)
    return cv2.resize(page, (1000, 1400), interpolation=cv2.INTER_LINEAR)


@pytest.mark.parametrize("coverage", [0.1, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("kind", ["dot", "line"])
@pytest.mark.parametrize("pitch", [2.7, 4.1, 7.0])
def test_a_screen_covers_its_share(pitch: float, kind: str, coverage: float) -> None:
    ink = Screen(kind, pitch, 15.3, (1.0, 2.0)).cover(np.full((140, 160), coverage, np.float32))
    assert ink.shape == (140, 160)
    assert ink.min() >= 0
    assert ink.max() <= 1
    assert ink.mean() == pytest.approx(coverage, abs=0.06 if kind == "line" else 0.02)  # fine lines blur
    assert ink.std() > 0.12


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0])
def test_a_screen_has_its_pitch_and_angle(angle: float) -> None:
    ink = Screen("line", 8.0, angle, (0.0, 0.0)).cover(np.full((128, 128), 0.5, np.float32))
    energy = np.abs(np.fft.rfft2(ink - ink.mean()))
    up, right = np.unravel_index(energy.argmax(), energy.shape)
    up = up - 128 if up > 64 else up
    assert np.hypot(up, right) == pytest.approx(128 / 8, abs=1)
    assert np.degrees(np.arctan2(abs(up), right)) == pytest.approx(angle, abs=4)


def test_no_ink_and_all_ink() -> None:
    screen = Screen("dot", 5.0, 45.0, (0.3, 0.1))
    assert (screen.cover(np.zeros((40, 40), np.float32)) == 0).all()
    assert (screen.cover(np.ones((40, 40), np.float32)) == 1).all()


def test_pages_are_mostly_black_and_white() -> None:
    pages, even = ([to_screentone(colored(), seed, screens=on) for seed in range(5)] for on in (True, False))
    shares = [[float(((page < 64) | (page > 192)).mean()) for page in kind] for kind in (pages, even)]
    assert min(shares[0]) > 0.6
    assert np.mean(shares[0]) > np.mean(shares[1]) + 0.05


@pytest.mark.parametrize("seed", range(5))
def test_grounds_blacks_outlines_and_text_are_kept(seed: int) -> None:
    page = to_screentone(colored(), seed)
    assert page[4:36, 4:-4].min() > 200  # the paper around the panels
    assert page[880:1180, 660:760].max() < 70  # the black figure
    ring = np.zeros(page.shape, np.uint8)
    cv2.circle(ring, (333, 1050), 140, 255, 1)
    assert np.median(page[ring > 0]) < 80  # the outline
    letters = np.zeros(page.shape, np.uint8)
    cv2.putText(letters, "Hello there", (300, 260), cv2.FONT_HERSHEY_SIMPLEX, 2, 255, 1)
    assert np.median(page[letters > 0]) < 60


def test_blacks_are_solid_and_whites_bare_whatever_the_lines_are() -> None:
    level = np.repeat(np.float32([[0, 1]]), 40, axis=1).repeat(40, axis=0)
    tone, label, _ = _tones(level, 0.5, np.random.default_rng(0))
    assert (tone[:, :30] == 1).all()
    assert (tone[:, -30:] == 0).all()
    assert not label[:, :30].any()


def test_the_tone_of_an_area_is_its_screens_mean() -> None:
    for seed in range(4):
        page, even = (to_screentone(colored(), seed, screens=screens) for screens in (True, False))
        ground = np.s_[400:660, 120:880]
        assert page[ground].mean() == pytest.approx(even[ground].mean(), abs=8)


def test_some_areas_are_screens_that_descreening_finds() -> None:
    found = [float((find_screens(to_screentone(colored(), seed)) > 0).mean()) for seed in range(4)]
    assert max(found) > 0.4
    page, even = (to_screentone(colored(), 1, screens=screens) for screens in (True, False))
    view = [
        cv2.resize(levels, (256, 256), interpolation=cv2.INTER_AREA).astype(float)
        for levels in (page, descreen(page), even)
    ]
    assert np.abs(view[1] - view[2]).mean() < 0.6 * np.abs(view[0] - view[2]).mean()


def test_seeds() -> None:
    rgb = colored()
    before = rgb.copy()
    pages = [to_screentone(rgb, seed) for seed in (0, 1, 2, 2**63)]
    assert (rgb == before).all()
    assert (to_screentone(rgb, 0) == pages[0]).all()
    for i, one in enumerate(pages):
        for other in pages[:i]:
            assert np.abs(one.astype(int) - other).mean() > 5


@settings(max_examples=40)
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([WHITE, BLACK, SKY, None]), st.integers(0, 50))
@example(1, 1, BLACK, 0)
@example(1, 1, None, 1)
@example(3, 80, None, 2)
def test_any_shape(height: int, width: int, color: tuple[int, int, int] | None, seed: int) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    if color is not None:
        rgb[:] = color
    page = to_screentone(rgb, seed)
    assert (page.shape, page.dtype) == ((height, width), np.uint8)
    if color == WHITE:
        assert page.min() > 200
    if color == BLACK:
        assert page.max() < 60
