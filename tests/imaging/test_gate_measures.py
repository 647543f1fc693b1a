"""The measures of the gate, each against one computed by hand."""

import cv2
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from datasets.synthetic import Series, draw_page
from imaging.color import join_chroma, lightness_of_level
from imaging.gate import GateCode, Verdict, judge


def codes(verdict: Verdict) -> set[GateCode]:
    return {fault.code for fault in verdict.faults}


def flat(shape: tuple[int, int], a: float, b: float) -> np.ndarray:
    return np.broadcast_to(np.array([a, b], np.float32), (*shape, 2)).copy()


def gray_page(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[..., None], 3, axis=2)


def wheel(shape: tuple[int, int], chroma: float, degrees: float = 360, start: float = 0) -> np.ndarray:
    """Return chroma of one length, its hue turning from left to right."""
    hue = np.radians(start + np.linspace(0, degrees, shape[1], endpoint=False))
    row = chroma * np.stack([np.cos(hue), np.sin(hue)], axis=1)
    return np.broadcast_to(row.astype(np.float32), (*shape, 2)).copy()


def test_similarity_is_that_of_scikit_image_at_half_size() -> None:
    page = draw_page(Series(seed=3, width=400, height=600), 2, 3)
    soft = cv2.GaussianBlur(page.ink, (0, 0), 2)
    small = [
        lightness_of_level()[cv2.resize(gray, (200, 300), interpolation=cv2.INTER_AREA)] for gray in (page.ink, soft)
    ]
    _, expected = structural_similarity(
        *small, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=100, full=True
    )

    assert judge(page.ink, gray_page(soft)).measures.ssim == pytest.approx(expected.mean(), abs=2e-3)
    assert expected.mean() < 0.95


def test_lines_that_are_gone_are_counted() -> None:
    ink = np.full((200, 200), 230, np.uint8)
    ink[:, 20:180:20] = 0  # eight lines of two pixels
    ink[:, 21:181:20] = 0
    less = ink.copy()
    less[:, 15:75] = 230  # three of them

    verdict = judge(ink, gray_page(less))

    assert verdict.measures.lines == pytest.approx(5 / 8)
    assert GateCode.INK in codes(verdict)
    assert judge(ink, gray_page(ink)).measures.lines == 1


def test_lines_need_not_be_black_but_half_as_deep() -> None:
    ink = np.full((200, 200), 230, np.uint8)
    ink[:, 20:180:20] = ink[:, 21:181:20] = 0

    def kept(level: int) -> float:
        return judge(ink, gray_page(np.where(ink == 0, level, ink).astype(np.uint8))).measures.lines

    assert kept(60) == 1
    assert kept(170) == 0


def test_tint_is_the_chroma_that_words_have() -> None:
    ink = np.full((100, 100), 150, np.uint8)
    text = np.zeros(ink.shape, bool)
    text[21:79, 21:79] = True  # its rim lies within pixels of the page at half size
    chroma = wheel(ink.shape, 25)
    chroma[text] = (9, 12)

    assert judge(ink, join_chroma(ink, chroma), text).measures.tint == pytest.approx(15, abs=1)
    chroma[text] = 0
    assert judge(ink, join_chroma(ink, chroma), text).measures.tint == pytest.approx(0, abs=0.1)


def test_pixels_are_clipped_where_the_source_is_neither_dark_nor_light() -> None:
    ink = np.full((100, 100), 128, np.uint8)
    ink[50:75] = 20
    ink[75:] = 250
    page = gray_page(ink)
    page[:10, :, 0] = 255
    page[40:60, :, 2] = 0  # half of it over dark ink
    page[90:, :, 0] = 255

    assert judge(ink, page).measures.clipped == pytest.approx(0.2)


def test_room_is_what_is_neither_black_nor_paper_nor_words() -> None:
    ink = np.full((100, 100), 128, np.uint8)
    ink[:20], ink[20:40] = 0, 255
    text = np.zeros(ink.shape, bool)
    text[40:50] = True
    page = join_chroma(ink, np.where(text[..., None], np.float32(0), wheel(ink.shape, 25)))

    found = judge(ink, page, text).measures

    assert found.room == pytest.approx(0.5)
    assert found.colorfulness == pytest.approx(judge(ink[50:], page[50:]).measures.colorfulness, rel=0.01)


def test_the_fullest_band_of_hue_is_forty_degrees_and_goes_round() -> None:
    ink = np.full((72, 360), 128, np.uint8)

    even = judge(ink, join_chroma(ink, wheel(ink.shape, 25))).measures.one_hue
    across = judge(ink, join_chroma(ink, wheel(ink.shape, 25, 34, -17))).measures.one_hue

    assert even == pytest.approx(1 / 9, abs=0.02)
    assert across == pytest.approx(1, abs=0.03)


def test_hues_count_by_their_chroma() -> None:
    ink = np.full((100, 100), 128, np.uint8)
    chroma = flat(ink.shape, 30, 0)
    chroma[50:] = (-10, 0)

    assert judge(ink, join_chroma(ink, chroma)).measures.one_hue == pytest.approx(0.75, abs=0.03)
