"""Outlines of what is found on a page, at the size of its small picture."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.synthetic import Series, draw_page
from imaging.overlay import LAYERS, find_layers
from imaging.panels import find_panels
from imaging.text import find_text

SIZE = (320, 448)
PAGES = [draw_page(Series(seed=1, chapters=1, pages=8, width=480, height=672), 1, page).ink for page in range(1, 9)]


def filled(outlines: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size[::-1], np.uint8)
    cv2.fillPoly(mask, outlines, 1)
    return mask > 0


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_words_and_panels_are_outlined_where_they_are() -> None:
    seen = 0
    for ink in PAGES:
        found = find_layers(ink, find_text(ink), SIZE)
        text = cv2.resize(find_text(ink).astype(np.uint8), SIZE, interpolation=cv2.INTER_AREA) > 0
        if text.any():
            assert overlap(filled(found["words"], SIZE), text) > 0.85
            seen += 1
        scale = np.array([SIZE[0] / ink.shape[1], SIZE[1] / ink.shape[0]])
        corners = [np.array(panel.corners) * scale for panel in find_panels(ink)]
        assert len(found["panels"]) == len(corners)
        for ours, theirs in zip(found["panels"], corners, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=0.51)
    assert seen > 2


def test_an_area_is_outlined_within_its_lines() -> None:
    gray = np.full((448, 320), 255, np.uint8)
    cv2.circle(gray, (120, 150), 80, 0, 5)
    masks = [filled([outline], SIZE) for outline in find_layers(gray, find_text(gray), SIZE)["areas"]]
    around = sorted((mask for mask in masks if mask[150, 120]), key=np.sum)
    assert around[0].sum() == pytest.approx(np.pi * 78**2, rel=0.1)
    assert around[-1].mean() > 0.9


@settings(max_examples=60)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32 - 1), st.sampled_from([0, 60]))
def test_any_page_has_layers_within_its_picture(height: int, width: int, seed: int, noise: int) -> None:
    rng = np.random.default_rng(seed)
    gray = np.clip(rng.integers(0, 256) + rng.integers(-noise, noise + 1, (height, width)), 0, 255).astype(np.uint8)
    size = (max(1, width // 2), max(1, height // 2))
    found = find_layers(gray, find_text(gray), size)
    assert tuple(found) == LAYERS
    for outlines in found.values():
        for outline in outlines:
            assert (outline >= 0).all()
            assert (outline <= size).all()
