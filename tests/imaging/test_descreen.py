"""Screens are smoothed to their tone; lines, blacks, text and pages without screens are not touched."""

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imaging.descreen import descreen, find_screens, network_view

SIDE = 256


def screen(pitch: float, angle: float, kind: str, coverage: float, shape: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    """Draw a black screen on white as a scanner sees it: four times as large, with edges a pixel wide there."""
    height, width = shape
    y, x = np.mgrid[: height * 4, : width * 4] / 4
    turn, a = 2 * np.pi / pitch, np.radians(angle)
    wave = np.cos(turn * (x * np.cos(a) + y * np.sin(a)))
    if kind == "dot":
        wave += np.cos(turn * (y * np.cos(a) - x * np.sin(a)))
    ink = np.clip(0.5 + (wave - np.quantile(wave[::5, ::5], 1 - coverage)) * pitch * 4 / (2 * np.pi), 0, 1)
    return cv2.resize(255 - 255 * ink, (width, height), interpolation=cv2.INTER_AREA).round().astype(np.uint8)


def photo(seed: int, shape: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    """Draw gray of all kinds: soft clouds, firm borders, grain."""
    rng = np.random.default_rng(seed)
    clouds = cv2.resize(rng.uniform(0, 255, (9, 7)), shape[::-1], interpolation=cv2.INTER_CUBIC)
    clouds[:, : shape[1] // 3] *= 0.4
    cv2.circle(clouds, (shape[1] * 2 // 3, shape[0] // 2), 40, 240, -1)
    return np.clip(clouds + rng.normal(0, 3, shape), 0, 255).astype(np.uint8)


def lettered(page: np.ndarray) -> np.ndarray:
    """Return the page with a bubble of text in its middle."""
    out = page.copy()
    cv2.ellipse(out, (SIDE // 2, SIDE // 2), (110, 60), 0, 0, 360, 255, -1)
    cv2.ellipse(out, (SIDE // 2, SIDE // 2), (110, 60), 0, 0, 360, 0, 2)
    for line, text in enumerate(("ILLUMINATION", "mmm illi WWW")):
        cv2.putText(out, text, (45, 120 + 28 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 0, 2, cv2.LINE_AA)
    return out


@pytest.mark.parametrize("coverage", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("kind", ["dot", "line"])
@pytest.mark.parametrize("angle", [0.7, 15, 45])
@pytest.mark.parametrize("pitch", [2.5, 3.3, 4.8, 6.1, 8, 11])
def test_a_screen_becomes_its_mean_tone(pitch: float, angle: float, kind: str, coverage: float) -> None:
    page = screen(pitch, angle, kind, coverage)
    smooth = descreen(page)
    inner = np.s_[16:-16, 16:-16]
    assert page.std() > 30
    assert smooth[inner].std() < 3
    assert smooth.std() < 13  # at the page's very edge a screen's mean is not known
    assert smooth[inner].mean() == pytest.approx(page.mean(), abs=1)


@pytest.mark.parametrize("pitch", [3.0, 4.2, 5.9, 9.0])
def test_the_pitch_is_found(pitch: float) -> None:
    found = find_screens(screen(pitch, 30, "dot", 0.4))
    assert found.shape == (SIDE // 16, SIDE // 16)
    assert np.abs(found - pitch).max() < 0.15 * pitch


@pytest.mark.parametrize("pitch", [3.0, 4.5, 6.0])
def test_thin_lines_across_a_screen_are_kept(pitch: float) -> None:
    page = screen(pitch, 45, "dot", 0.3)
    cv2.line(page, (20, 40), (236, 90), 0, 2)
    cv2.line(page, (60, 230), (200, 30), 0, 2)
    drawn = np.full((SIDE, SIDE), 255, np.uint8)
    cv2.line(drawn, (20, 40), (236, 90), 0, 2)
    cv2.line(drawn, (60, 230), (200, 30), 0, 2)
    smooth = descreen(page)
    tone = page[:30, 200:].mean()
    assert smooth[drawn == 0].mean() < 0.25 * tone
    away = cv2.erode(drawn, np.ones((25, 25), np.uint8))[16:-16, 16:-16] == 255
    assert np.abs(smooth[16:-16, 16:-16][away] - tone).max() < 25


@pytest.mark.parametrize("pitch", [4.2, 5.5, 8.0])
def test_small_areas_between_outlines_are_smoothed_too(pitch: float) -> None:
    discs = [((90, 100), 60), ((280, 120), 45), ((200, 290), 80)]
    page, area = np.full((400, 400), 255, np.uint8), np.zeros((400, 400), np.uint8)
    for centre, radius in discs:
        cv2.circle(area, centre, radius, 1, -1)
    np.copyto(page, screen(pitch, 45, "dot", 0.35, (400, 400)), where=area > 0)
    for centre, radius in discs:
        cv2.circle(page, centre, radius, 0, 3, cv2.LINE_AA)
    inside = cv2.erode(area, np.ones((21, 21), np.uint8)) > 0
    assert page[inside].std() > 90
    assert descreen(page)[inside].std() < 2


def test_solid_black_and_white_keep_their_borders() -> None:
    page = screen(4.0, 45, "dot", 0.35)
    page[60:140, 60:140] = 0
    page[160:230, 40:220] = 255
    smooth = descreen(page)
    assert smooth[63:137, 63:137].max() < 12
    assert smooth[163:227, 43:217].min() > 243
    assert smooth[61:139, 61:139].max() < 60
    assert smooth[10:50, 10:50].std() < 5


def test_text_is_as_sharp_as_before_beside_a_screen() -> None:
    page = lettered(screen(3.5, 45, "dot", 0.4))
    smooth = descreen(page)
    text = np.s_[95:165, 45:215]
    assert np.abs(smooth[text].astype(int) - page[text]).mean() < 1
    assert smooth[:40, :40].std() < 5


@pytest.mark.parametrize("seed", range(4))
def test_pages_without_screens_pass(seed: int) -> None:
    page = lettered(photo(seed))
    assert np.abs(descreen(page).astype(int) - page).mean() < 0.05
    ramp = np.tile(np.linspace(0, 255, SIDE).astype(np.uint8), (SIDE, 1))
    assert (descreen(ramp) == ramp).all()


def test_noise_is_no_screen() -> None:
    page = np.random.default_rng(0).normal(128, 25, (SIDE, SIDE)).clip(0, 255).astype(np.uint8)
    assert not find_screens(page).any()


def test_single_lines_and_borders_are_no_screens() -> None:
    page = np.full((SIDE, SIDE), 255, np.uint8)
    for x in range(12, SIDE, 40):
        cv2.line(page, (x, 0), (x + 60, SIDE), 0, 2, cv2.LINE_AA)
    page[100:104] = 0
    assert (descreen(page) == page).all()


def test_the_network_sees_no_beats() -> None:
    page = screen(4.3, 10, "dot", 0.4, (700, 500))
    squeezed = cv2.resize(page, (128, 128), interpolation=cv2.INTER_AREA)
    assert squeezed.std() > 10
    assert network_view(page, 128)[4:-4, 4:-4].std() < 1.5


def test_a_large_scan_is_seen_as_a_small_one() -> None:
    page = cv2.resize(screen(6.5, 45, "dot", 0.4, (1000, 1000)), (2000, 2000), interpolation=cv2.INTER_LINEAR)
    assert cv2.resize(page, (300, 300), interpolation=cv2.INTER_AREA).std() > 30
    assert network_view(page, 300)[8:-8, 8:-8].std() < 1.5


def test_the_network_view_of_a_plain_page_is_the_squeezed_page() -> None:
    page = photo(1, (333, 251))
    assert (network_view(page, 64) == cv2.resize(page, (64, 64), interpolation=cv2.INTER_AREA)).all()


@settings(max_examples=40)
@given(
    st.integers(1, 150), st.integers(1, 150), st.sampled_from(["white", "black", "noise", "dots"]), st.integers(0, 9)
)
@example(64, 64, "dots", 0)
@example(1, 1, "black", 0)
@example(65, 143, "dots", 0)
def test_any_shape(height: int, width: int, kind: str, seed: int) -> None:
    page = {
        "white": np.full((height, width), 255, np.uint8),
        "black": np.zeros((height, width), np.uint8),
        "noise": np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8),
        "dots": ((np.indices((height, width)) // 2).sum(0) % 2 * 255).astype(np.uint8),
    }[kind]
    given_page = page.copy()
    smooth = descreen(page)
    assert (smooth.shape, smooth.dtype) == (page.shape, np.uint8)
    assert (page == given_page).all()
    if kind in ("white", "black"):
        assert (smooth == page).all()
    view = network_view(page, 16)
    assert (view.shape, view.dtype) == ((16, 16), np.uint8)
