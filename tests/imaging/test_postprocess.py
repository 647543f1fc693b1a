"""The settings of postprocessing, and what they do to a page."""

import cv2
import numpy as np
import pytest

from imaging.color import join_chroma
from imaging.gate import Thresholds
from imaging.hints import Hint
from imaging.palette import Color, Palette
from imaging.postprocess import PostprocessSettings, postprocess_page
from imaging.text import find_text
from tests.imaging.lettered import lettered_ink, rainbow


@pytest.fixture(scope="module")
def lettered() -> np.ndarray:
    return lettered_ink()


def colored(page: np.ndarray) -> np.ndarray:
    return np.ptp(page.astype(int), axis=2) > 2


def test_words_stay_neutral_unless_they_may_be_coloured(lettered: np.ndarray) -> None:
    text = find_text(lettered) & (lettered > 40) & (lettered < 250)  # where chroma can be seen
    violet = np.full((8, 8, 2), (30, -30), np.float32)
    neutral = postprocess_page(lettered, violet, PostprocessSettings(text="neutral")).page
    assert not colored(neutral)[text].any()
    assert colored(neutral)[~find_text(lettered) & (lettered > 40) & (lettered < 250)].mean() > 0.8
    assert colored(postprocess_page(lettered, violet, PostprocessSettings(text="colour")).page)[text].mean() > 0.9


def test_words_that_a_hint_lies_on_are_coloured_and_no_others(lettered: np.ndarray) -> None:
    count, components = cv2.connectedComponents(find_text(lettered).view(np.uint8))
    visible = (lettered > 40) & (lettered < 250)
    seen = [int((visible & (components == component)).sum()) for component in range(1, count)]
    assert count > 2
    chosen = 1 + int(np.argmax(seen))
    y, x = np.argwhere(components == chosen)[0]
    violet = np.full((8, 8, 2), (30, -30), np.float32)

    page = postprocess_page(lettered, violet, PostprocessSettings(), hints=[Hint(x + 0.5, y + 0.5, 1, (30, -30))]).page

    assert colored(page)[visible & (components == chosen)].mean() > 0.9
    rest = visible & (components > 0) & (components != chosen)
    assert rest.any()
    assert not colored(page)[rest].any()


def test_lines_off_is_plain_resizing(lettered: np.ndarray) -> None:
    chroma = np.random.default_rng(0).uniform(-40, 40, (24, 16, 2)).astype(np.float32)
    plain = postprocess_page(lettered, chroma, PostprocessSettings(lines="off", text="colour")).page
    np.testing.assert_array_equal(plain, join_chroma(lettered, chroma))
    kept = postprocess_page(lettered, chroma, PostprocessSettings(lines="sides", text="colour")).page
    assert np.abs(kept.astype(int) - plain).max() > 10


def test_a_page_that_the_gate_refuses_is_tried_with_the_safer_prediction(lettered: np.ndarray) -> None:
    gray, good = np.zeros((8, 8, 2), np.float32), rainbow().astype(np.float32)
    assert postprocess_page(lettered, gray, PostprocessSettings()).faults
    saved_by = postprocess_page(lettered, gray, PostprocessSettings(), whole_page_chroma=good)
    assert not saved_by.faults
    np.testing.assert_array_equal(saved_by.page, postprocess_page(lettered, good, PostprocessSettings()).page)
    first = postprocess_page(lettered, good, PostprocessSettings(), whole_page_chroma=gray)
    np.testing.assert_array_equal(first.page, saved_by.page)  # a page that passes is not tried again


def test_a_page_hangs_on_the_colours_of_every_prediction_that_was_tried(lettered: np.ndarray) -> None:
    red, blue = (Color(name, ab, (60, *ab, 1), 0.5) for name, ab in (("red", (50.0, 30.0)), ("blue", (10.0, -50.0))))
    settings = PostprocessSettings(
        palette=Palette((red, blue)), thresholds=Thresholds(one_hue=0.5)
    )  # one colour alone is refused
    gray = np.full((64, 64), 145, np.uint8)
    first, whole_page_chroma = (np.full((16, 16, 2), color.ab, np.float32) for color in (red, blue))
    tried = postprocess_page(gray, first, settings, whole_page_chroma=whole_page_chroma)
    assert tried.faults
    assert set(tried.colors) == {0, 1}
    assert set(postprocess_page(gray, first, settings).colors) == {0}
    assert postprocess_page(lettered, rainbow().astype(np.float32), PostprocessSettings()).colors == {}


def test_too_much_colour_is_taken_back(lettered: np.ndarray) -> None:
    wild = 3 * rainbow().astype(np.float32)
    settings = PostprocessSettings(thresholds=Thresholds(wild=60.0))
    reduced = postprocess_page(lettered, wild, settings)
    assert not {"wild", "gamut"} & {fault.code.value for fault in reduced.faults}
    as_it_was = postprocess_page(lettered, wild, PostprocessSettings()).page
    assert np.ptp(reduced.page.astype(int), axis=2).mean() < np.ptp(as_it_was.astype(int), axis=2).mean()
