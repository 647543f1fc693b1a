"""The gate: true pages pass, pages damaged on purpose do not, and odd ones are judged all the same."""

import math
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.metrics import structural_similarity

from datasets.synthetic import DrawnPage, Series, draw_page
from imaging.color import join_chroma, lightness_of_level, to_lab
from imaging.gate import Code, Thresholds, Verdict, judge, tame

SERIES = Series(seed=3, width=400, height=600)
SEPIA = np.array([6, 18], np.float32)
Damage = Callable[[np.ndarray, np.ndarray], np.ndarray]


@cache
def drawn(chapter: int, page: int) -> DrawnPage:
    return draw_page(SERIES, chapter, page)


def chroma_of(page: DrawnPage) -> np.ndarray:
    return to_lab(page.color)[..., 1:]


def codes(verdict: Verdict) -> set[Code]:
    return {fault.code for fault in verdict.faults}


def flat(shape: tuple[int, int], a: float, b: float) -> np.ndarray:
    return np.broadcast_to(np.array([a, b], np.float32), (*shape, 2)).copy()


def gray_page(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[..., None], 3, axis=2)


def wheel(shape: tuple[int, int], chroma: float, degrees: float = 360, start: float = 0) -> np.ndarray:
    """Chroma of one length, its hue turning from left to right."""
    hue = np.radians(start + np.linspace(0, degrees, shape[1], endpoint=False))
    row = chroma * np.stack([np.cos(hue), np.sin(hue)], axis=1)
    return np.broadcast_to(row.astype(np.float32), (*shape, 2)).copy()


# Pages of the generated series, true and damaged.


@pytest.mark.parametrize("chapter", range(1, 7))
@pytest.mark.parametrize("number", [1, 4])
def test_a_page_in_its_true_colours_passes(chapter: int, number: int) -> None:
    page = drawn(chapter, number)

    verdict = judge(page.ink, page.color, page.bubbles)

    assert verdict.passed
    assert verdict.faults == ()
    assert verdict.measures.lines == 1
    assert verdict.measures.ssim > 0.999


def blurred(ink: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    return join_chroma(cv2.GaussianBlur(ink, (0, 0), 1), chroma)


def shifted(ink: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    return join_chroma(np.roll(ink, 2, axis=1), chroma)


def clipped(ink: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    page = join_chroma(ink, chroma).astype(np.float32)
    return np.clip((page - 128) * 2.5 + 128, 0, 255).astype(np.uint8)


DAMAGED: dict[str, tuple[Damage, set[Code]]] = {
    "ink blurred": (blurred, {Code.INK}),
    "ink shifted by 2 pixels": (shifted, {Code.INK}),
    "colours clipped": (clipped, {Code.INK, Code.GAMUT, Code.WILD}),
    "saturation x 3": (lambda ink, chroma: join_chroma(ink, 3 * chroma), {Code.GAMUT, Code.WILD}),
    "chroma x 0.1": (lambda ink, chroma: join_chroma(ink, chroma / 10), {Code.DULL}),
    "no colour": (lambda ink, chroma: gray_page(ink), {Code.DULL}),
    "everything sepia": (lambda ink, chroma: join_chroma(ink, flat(ink.shape, *SEPIA)), {Code.HUE}),
    "everything strongly sepia": (lambda ink, chroma: join_chroma(ink, flat(ink.shape, *(2 * SEPIA))), {Code.HUE}),
}


@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize("chapter", [1, 4])
def test_a_damaged_page_does_not_pass_and_is_told_why(damage: str, chapter: int) -> None:
    page = drawn(chapter, 4)
    hurt, expected = DAMAGED[damage]

    verdict = judge(page.ink, hurt(page.ink, chroma_of(page)))

    assert not verdict.passed
    assert codes(verdict) >= expected - {Code.WILD}
    assert codes(verdict) <= expected | ({Code.HUE} if Code.DULL in expected else set())
    assert all(fault.message and math.isfinite(fault.value) and fault.value != fault.limit for fault in verdict.faults)


def test_words_that_are_tinted_do_not_pass_and_only_for_that() -> None:
    page = drawn(1, 4)
    chroma = np.where(page.bubbles[..., None], np.float32([10, 25]), chroma_of(page))
    ink = np.where(page.bubbles, np.clip(page.ink, 60, 220), page.ink).astype(np.uint8)
    colored = join_chroma(ink, chroma)

    assert codes(judge(ink, colored, page.bubbles)) == {Code.TINT}
    assert judge(ink, colored).passed  # nobody said where words are


# Each measure by hand.


def test_similarity_is_that_of_scikit_image_at_half_size() -> None:
    page = drawn(2, 3)
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
    assert Code.INK in codes(verdict)
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
    words = np.zeros(ink.shape, bool)
    words[21:79, 21:79] = True  # its rim lies within pixels of the page at half size
    chroma = wheel(ink.shape, 25)
    chroma[words] = (9, 12)

    assert judge(ink, join_chroma(ink, chroma), words).measures.tint == pytest.approx(15, abs=1)
    chroma[words] = 0
    assert judge(ink, join_chroma(ink, chroma), words).measures.tint == pytest.approx(0, abs=0.1)


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
    words = np.zeros(ink.shape, bool)
    words[40:50] = True
    page = join_chroma(ink, np.where(words[..., None], np.float32(0), wheel(ink.shape, 25)))

    found = judge(ink, page, words).measures

    assert found.room == pytest.approx(0.5)
    assert found.colorfulness == pytest.approx(judge(ink[50:], page[50:]).measures.colorfulness, rel=0.01)


def test_the_fullest_band_of_hue_is_forty_degrees_and_goes_round() -> None:
    ink = np.full((72, 360), 128, np.uint8)

    even = judge(ink, join_chroma(ink, wheel(ink.shape, 25))).measures.one_hue
    across = judge(ink, join_chroma(ink, wheel(ink.shape, 25, 34, -17))).measures.one_hue

    assert even == pytest.approx(1 / 9, abs=0.02)
    assert across == pytest.approx(1, abs=0.03)


# Little colour that is right, and one hue that is.


def test_a_night_needs_less_colour_than_a_day() -> None:
    night, day = np.full((200, 200), 50, np.uint8), np.full((200, 200), 150, np.uint8)  # L* 20 and 62

    def verdict(ink: np.ndarray) -> Verdict:
        return judge(ink, join_chroma(ink, wheel(ink.shape, 6)))

    assert verdict(night).passed
    assert codes(verdict(day)) == {Code.DULL}
    assert judge(night, gray_page(night)).faults  # a gray night is dull still
    assert verdict(night).measures.colorfulness < Thresholds().dull


def test_a_page_that_is_nearly_all_paper_is_not_dull() -> None:
    page = np.full((200, 200), 255, np.uint8)
    page[50:90, 50:90] = 140  # 4 % of it
    assert judge(page, gray_page(page)).passed

    page[50:150, 50:150] = 140
    assert codes(judge(page, gray_page(page))) == {Code.DULL}


def test_a_sunset_may_have_one_hue_where_a_brown_page_may_not() -> None:
    ink = np.full((200, 200), 160, np.uint8)
    hues = wheel(ink.shape, 1, 50, 30)
    strong, weak = (join_chroma(ink, np.float32(chroma) * hues) for chroma in (55, 20))

    assert judge(ink, strong).passed
    assert codes(judge(ink, weak)) == {Code.HUE}
    assert judge(ink, strong).measures.one_hue > Thresholds().one_hue


# Wild chroma, tamed.


@pytest.mark.parametrize("factor", [3, 10])
def test_wild_chroma_is_tamed_by_one_factor_and_keeps_what_it_may(factor: float) -> None:
    page = drawn(3, 4)
    wild = factor * chroma_of(page)

    tamed = tame(page.ink, wild, page.bubbles)

    assert not judge(page.ink, join_chroma(page.ink, wild), page.bubbles).passed
    assert judge(page.ink, join_chroma(page.ink, tamed), page.bubbles).passed
    scale = tamed[wild != 0] / wild[wild != 0]
    assert scale.max() == pytest.approx(scale.min(), rel=1e-4)
    assert 0.8 / factor < scale.mean() < 2 / factor


def test_chroma_within_bounds_stays_as_it_is() -> None:
    page = drawn(3, 4)
    chroma = chroma_of(page)

    assert tame(page.ink, chroma) is chroma
    assert tame(page.ink, 0 * chroma).max() == 0


def test_chroma_is_tamed_at_any_size_and_by_the_limits_given() -> None:
    page = drawn(3, 4)
    small = cv2.resize(chroma_of(page), (64, 64), interpolation=cv2.INTER_AREA)

    tamed = tame(page.ink, small, None, Thresholds(wild=30))

    assert tamed.shape == small.shape
    assert tamed.dtype == np.float32
    assert 20 < judge(page.ink, join_chroma(page.ink, tamed)).measures.colorfulness <= 30


# Odd pages.

sides = st.integers(1, 40)
kinds = st.sampled_from(["white", "black", "noise"])


@given(height=sides, width=sides, ink=kinds, paint=kinds, lettered=st.sampled_from([None, "none", "all", "some"]))
@settings(deadline=None, max_examples=150)
def test_any_page_is_judged_and_tamed(height: int, width: int, ink: str, paint: str, lettered: str | None) -> None:
    rng = np.random.default_rng([height, width])
    shape = (height, width)

    def filled(kind: str, of: tuple[int, ...]) -> np.ndarray:
        levels = {"white": np.full(of, 255), "black": np.zeros(of), "noise": rng.integers(0, 256, of)}
        return levels[kind].astype(np.uint8)

    gray, page = filled(ink, shape), filled(paint, (*shape, 3))
    words = {"none": np.zeros(shape, bool), "all": np.ones(shape, bool), "some": rng.random(shape) < 0.5}.get(
        lettered or ""
    )

    verdict = judge(gray, page, words)
    tamed = tame(gray, rng.normal(0, 200, (*shape, 2)).astype(np.float32), words)

    found = verdict.measures
    assert all(math.isfinite(value) for value in vars(found).values())
    assert all(-1e-6 <= getattr(found, name) <= 1 + 1e-6 for name in ("lines", "clipped", "room", "reach", "one_hue"))
    assert np.isfinite(tamed).all()


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=30)))
@settings(deadline=None, max_examples=50)
def test_a_gray_page_keeps_its_ink_and_has_no_colour(gray: np.ndarray) -> None:
    verdict = judge(gray, gray_page(gray), np.ones(gray.shape, bool))

    assert not codes(verdict) & {Code.INK, Code.TINT, Code.GAMUT, Code.WILD, Code.HUE}
    assert verdict.measures.colorfulness == 0


@pytest.mark.parametrize("level", range(0, 40, 3))
def test_a_page_as_dark_as_black_keeps_its_ink_under_any_chroma(level: int) -> None:
    ink = np.full((100, 100), level, np.uint8)

    assert Code.INK not in codes(judge(ink, join_chroma(ink, wheel(ink.shape, 20))))


@pytest.mark.parametrize("level", [0, 255])
def test_blank_pages_pass(level: int) -> None:
    blank = np.full((300, 200), level, np.uint8)

    assert judge(blank, gray_page(blank), blank > 0).passed


def test_what_does_not_fit_together_is_refused() -> None:
    gray = np.zeros((4, 5), np.uint8)
    page = gray_page(gray)

    with pytest.raises(ValueError, match=r"\(4, 4, 3\)"):
        judge(gray, page[:, :4])
    with pytest.raises(ValueError, match="words"):
        judge(gray, page, np.zeros((5, 4), bool))
    with pytest.raises(ValueError, match="a page"):
        judge(gray[:0], page[:0])


@pytest.mark.parametrize("limits", [{"ssim": 1.1}, {"room": -0.1}, {"tint": math.nan}, {"dull": 50, "wild": 40}])
def test_limits_that_make_no_sense_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(limits))):
        Thresholds(**limits)


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"ssim": 1.0}, Code.INK),
        ({"tint": 0.0}, Code.TINT),
        ({"clipped": 0.0}, Code.GAMUT),
        ({"dull": 120.0}, Code.DULL),
        ({"drab": 120.0, "one_hue": 0.1}, Code.HUE),
        ({"wild": 40.0}, Code.WILD),
    ],
)
def test_each_limit_is_the_callers(limits: dict[str, float], code: Code) -> None:
    page = drawn(1, 4)
    words = np.zeros_like(page.bubbles)
    words[:200] = True

    verdict = judge(page.ink, page.color, words, Thresholds(**{"tint": 200.0, **limits}))

    assert codes(verdict) == {code}


def test_faults_come_in_one_order_with_ink_first() -> None:
    page = drawn(1, 4)

    verdict = judge(page.ink, gray_page(np.roll(page.ink, 9, axis=0)))

    order = [list(Code).index(fault.code) for fault in verdict.faults]
    assert all(one <= other for one, other in pairwise(order))
    assert [fault.code for fault in verdict.faults][:3] == [Code.INK, Code.INK, Code.DULL]


def test_the_gate_needs_no_torch() -> None:
    """It works where bytes from outside are handled, in processes that are started often."""
    done = subprocess.run([sys.executable, "-c", "import sys, imaging.gate; sys.exit('torch' in sys.modules)"])

    assert done.returncode == 0
