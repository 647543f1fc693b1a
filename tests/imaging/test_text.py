"""Text, on drawn pages whose text is known, on pages without any, and on the generated series."""

from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from datasets.synthetic import Series, draw_page
from imaging.bands import resized_chroma, whole
from imaging.color import join_chroma, to_lab
from imaging.lettering import page_scale
from imaging.text import find_text, neutral

HEIGHT, WIDTH = 1400, 1000
LINES = ("What a day for a", "ride in the woods,", "said the old crow.")
FONT = cv2.FONT_HERSHEY_SIMPLEX


def blank(level: int = 150, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.full((height, width), level, np.uint8)


def screened(height: int = HEIGHT, width: int = WIDTH, pitch: float = 6.0) -> np.ndarray:
    """Draw black dots on white, at 45 degrees."""
    y, x = np.mgrid[:height, :width] * (2 * np.pi / pitch / np.sqrt(2))
    wave = np.cos(x + y) + np.cos(x - y)
    return np.clip(128 + 200 * (wave + 0.7), 0, 255).astype(np.uint8)


def write(page: np.ndarray, x: int, y: int, lines: tuple[str, ...] = LINES, scale: float = 0.62) -> np.ndarray:
    """Draw lines of lettering around (x, y), and return the mask of the ink."""
    before = page.copy()
    for row, line in enumerate(lines):
        (wide, _), _ = cv2.getTextSize(line, FONT, scale, 2)
        down = round((row - (len(lines) - 1) / 2) * 34 * scale / 0.62) + 7
        cv2.putText(page, line, (x - wide // 2, y + down), FONT, scale, 0, 2, cv2.LINE_AA)
    return (before > 128) & (page < 128)


def ellipse(page: np.ndarray, x: int, y: int, rx: int = 150, ry: int = 85) -> np.ndarray:
    """Draw a bubble, and return the mask of its inside."""
    inside = cv2.ellipse(np.zeros_like(page), (x, y), (rx, ry), 0, 0, 360, 1, -1) > 0
    page[inside] = 255
    cv2.ellipse(page, (x, y), (rx, ry), 0, 0, 360, 0, 3, cv2.LINE_AA)
    return inside


def caption(page: np.ndarray, left: int, top: int, wide: int = 270, high: int = 130) -> np.ndarray:
    inside = cv2.rectangle(np.zeros_like(page), (left, top), (left + wide, top + high), 1, -1) > 0
    page[inside] = 255
    cv2.rectangle(page, (left, top), (left + wide, top + high), 0, 3)
    return inside


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    return float((found & truth).sum() / truth.sum())


def precision(found: np.ndarray, truth: np.ndarray) -> float:
    return float((found & truth).sum() / max(found.sum(), 1))


def assert_found(found: np.ndarray, inside: np.ndarray, ink: np.ndarray) -> None:
    assert recall(found, inside) > 0.95
    assert precision(found, cv2.dilate(inside.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0) > 0.97
    assert recall(found, ink) > 0.99


# Drawn pages.


@pytest.mark.parametrize("ground", [blank(90), blank(150), screened(), screened(pitch=9.0)])
def test_a_bubble_is_found_with_all_of_its_inside(ground: np.ndarray) -> None:
    page = ground.copy()
    inside = ellipse(page, 400, 500)
    ink = write(page, 400, 500)

    assert_found(find_text(page), inside, ink)


def test_a_caption_is_found() -> None:
    page = screened()
    inside = caption(page, 120, 200)
    ink = write(page, 255, 265)

    assert_found(find_text(page), inside, ink)


@pytest.mark.parametrize("x", [60, WIDTH - 60])
def test_a_bubble_that_the_edge_of_the_page_cuts_is_found(x: int) -> None:
    page = blank()
    inside = ellipse(page, x, 70, rx=140, ry=60)
    ink = write(page, 100 if x < 500 else WIDTH - 100, 70, ("to be or", "not to be"))

    assert_found(find_text(page), inside, ink)


def test_two_bubbles_that_are_joined_are_both_found() -> None:
    page = blank()
    inside = ellipse(page, 300, 400) | ellipse(page, 430, 540)
    page[inside] = np.where(page[inside] == 0, 0, 255)
    cv2.ellipse(page, (300, 400), (147, 82), 0, 0, 360, 255, -1)
    cv2.ellipse(page, (430, 540), (147, 82), 0, 0, 360, 255, -1)
    ink = write(page, 300, 395) | write(page, 430, 545)

    assert_found(find_text(page), inside, ink)


def test_a_bubble_that_opens_into_a_gutter_is_found_and_the_gutter_is_not() -> None:
    page = blank()
    page[500:526] = 255
    inside = cv2.ellipse(np.zeros_like(page), (500, 450), (150, 85), 0, 0, 360, 1, -1) > 0
    page[inside] = 255
    ink = write(page, 500, 450)

    assert_found(find_text(page), inside, ink)


def test_words_on_open_paper_are_found_and_the_paper_is_not() -> None:
    page = blank(255)
    ink = write(page, 500, 700)
    rows, columns = np.nonzero(ink)
    block = np.zeros_like(ink)
    block[rows.min() - 30 : rows.max() + 30, columns.min() - 30 : columns.max() + 30] = True

    found = find_text(page)

    assert recall(found, ink) > 0.99
    assert precision(found, block) > 0.99


def test_words_on_screentone_are_found_by_the_white_around_them() -> None:
    page = screened()
    plain = blank(255)
    ink = write(plain, 500, 700)
    around = cv2.dilate(ink.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (25, 25))) > 0
    page[around] = plain[around]

    found = find_text(page)

    assert recall(found, around) > 0.95
    assert precision(found, around) > 0.85
    assert recall(found, ink) > 0.98


def test_letters_in_columns_are_found_as_those_in_rows() -> None:
    page = blank()
    inside = ellipse(page, 400, 500, rx=80, ry=100)
    drawn = blank(255)
    for column, letters in enumerate(("KEFRS", "HNAEBP", "DSEGA")):
        for row, letter in enumerate(letters):
            cv2.putText(drawn, letter, (420 - 26 * column, 450 + 19 * row), FONT, 0.62, 0, 2, cv2.LINE_AA)
    page = np.minimum(page, drawn)

    assert_found(find_text(page), inside, drawn < 128)


def test_eyes_and_buttons_are_not_words() -> None:
    page = blank()
    for x in (300, 420):
        ellipse(page, x, 300, rx=40, ry=36)
        cv2.circle(page, (x, 300), 20, 0, -1)
    ellipse(page, 700, 800, rx=90, ry=120)
    for y in (740, 800, 860):
        cv2.circle(page, (700, y), 8, 0, -1)

    assert not find_text(page).any()


# Pages without text.


@pytest.mark.parametrize("page", [blank(0), blank(128), blank(255), screened(), screened(pitch=12.0)])
def test_a_page_without_marks_has_no_words(page: np.ndarray) -> None:
    assert not find_text(page).any()


def test_line_art_has_almost_no_words() -> None:
    rng = np.random.default_rng(0)
    page = blank(255)
    for _ in range(500):  # hatching, curls, specks and white shapes with a mark or two
        x, y = (int(n) for n in rng.integers((0, 0), (WIDTH, HEIGHT)))
        reach, turn = (int(n) for n in rng.integers((4, 0), (60, 180)))
        cv2.ellipse(page, (x, y), (reach, max(reach // 3, 1)), turn, 0, int(rng.integers(40, 360)), 0, 2, cv2.LINE_AA)

    assert find_text(page).mean() < 0.01


# What holds for any page.


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))))
@settings(max_examples=60)
def test_any_picture_has_a_mask_of_its_size(gray: np.ndarray) -> None:
    found = find_text(gray)

    assert found.shape == gray.shape
    assert found.dtype == np.bool_


@given(st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=15)
def test_words_move_with_their_bubble(right: int, down: int) -> None:
    page = blank(150, 700, 600)
    inside = ellipse(page, 250 + right, 300 + down)
    ink = write(page, 250 + right, 300 + down)

    assert_found(find_text(page), inside, ink)


@pytest.mark.parametrize("factor", [0.6, 0.8, 1.5, 2.2])
def test_words_of_a_page_scanned_smaller_or_larger_are_found(factor: float) -> None:
    page = blank()
    inside = ellipse(page, 400, 500)
    ink = write(page, 400, 500)
    size = (round(WIDTH * factor), round(HEIGHT * factor))

    found = find_text(cv2.resize(page, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC))

    assert found.shape == size[::-1]
    back = cv2.resize(found.astype(np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST) > 0
    assert_found(back, cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0, ink)


def test_paper_may_be_darker_than_white() -> None:
    page = blank()
    inside = ellipse(page, 400, 500)
    ink = write(page, 400, 500)

    assert_found(find_text((page * 0.82).astype(np.uint8)), inside, ink)


def test_the_scale_of_spreads_and_strips_is_that_of_a_page() -> None:
    assert page_scale(1400, 1000) == 1400
    assert page_scale(1400, 2000) == pytest.approx(1988)
    assert page_scale(20_000, 800) == pytest.approx(1136)


# The generated series.


@cache
def generated() -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    pages = [draw_page(Series(seed=11, chapters=3, pages=4), chapter, page) for chapter in (1, 2, 3) for page in (2, 3)]
    return tuple((page.ink, page.bubbles) for page in pages)


def test_bubbles_of_the_generated_series_are_found() -> None:
    right = wrong = missed = 0
    for ink, truth in generated():
        # Sound effects are labelled too, and are mostly ink: the rest of a label is bubbles and captions.
        paper = cv2.morphologyEx((truth & (ink > 200)).astype(np.uint8), cv2.MORPH_OPEN, np.ones((9, 9), np.uint8))
        bubbles = cv2.morphologyEx(paper, cv2.MORPH_CLOSE, np.ones((31, 31), np.uint8)).astype(bool) & truth
        found = find_text(ink)
        right += (found & truth).sum()
        wrong += (found & ~truth).sum()
        missed += (bubbles & ~found).sum()

    assert right / (right + wrong) > 0.95
    assert right / (right + missed) > 0.95


# Chroma taken off.


def test_chroma_is_nothing_on_words_and_whole_beside_them() -> None:
    text = np.zeros((80, 60), bool)
    text[30:50, 20:40] = True
    chroma = np.full((80, 60, 2), (30, -20), np.float32)

    faded = whole(neutral(resized_chroma(chroma, text.shape), text), text.shape)

    away = cv2.distanceTransform((~text).astype(np.uint8), cv2.DIST_L2, 5)
    length = np.hypot(*np.moveaxis(faded, -1, 0)) / np.hypot(30, 20)
    assert faded.dtype == np.float32
    assert not faded[text].any()
    np.testing.assert_array_equal(faded[away >= 3], chroma[away >= 3])
    assert 0.1 < length[29, 30] < 0.9  # a soft edge, outside


def test_chroma_of_model_size_is_stretched_before_it_fades() -> None:
    text = np.zeros((90, 70), bool)
    text[40:60, 30:50] = True
    chroma = np.full((8, 8, 2), 25, np.float32)

    page = join_chroma(np.full((90, 70), 200, np.uint8), neutral(resized_chroma(chroma, text.shape), text))

    colored = np.hypot(*np.moveaxis(to_lab(page)[..., 1:], -1, 0))
    assert colored[text].max() < 0.5
    assert colored[:, :25].min() > 30


def test_without_words_chroma_is_as_it_was() -> None:
    chroma = np.random.default_rng(0).normal(0, 30, (40, 30, 2)).astype(np.float32)

    faded = neutral(resized_chroma(chroma, (40, 30)), np.zeros((40, 30), bool))

    np.testing.assert_array_equal(whole(faded, (40, 30)), chroma)
