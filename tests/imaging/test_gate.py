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

from datasets.synthetic import DrawnPage, Series, draw_page
from imaging.bands import resized_chroma, whole
from imaging.color import join_chroma, to_lab
from imaging.gate import GateCode, Thresholds, Verdict, judge, reduce_chroma
from tests.imaging.test_gate_measures import codes, flat, gray_page, wheel

SERIES = Series(seed=3, width=400, height=600)
SEPIA = np.array([6, 18], np.float32)
Damage = Callable[[np.ndarray, np.ndarray], np.ndarray]


@cache
def drawn(chapter: int, page: int) -> DrawnPage:
    return draw_page(SERIES, chapter, page)


def chroma_of(page: DrawnPage) -> np.ndarray:
    return to_lab(page.color)[..., 1:]


def reduced_map(
    ink: np.ndarray, chroma: np.ndarray, text: np.ndarray | None, limits: Thresholds | None = None
) -> np.ndarray:
    """Return all of a page's chroma, reduced."""
    return whole(reduce_chroma(ink, resized_chroma(chroma, ink.shape), text, limits), ink.shape)


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


DAMAGED: dict[str, tuple[Damage, set[GateCode]]] = {
    "ink blurred": (blurred, {GateCode.INK}),
    "ink shifted by 2 pixels": (shifted, {GateCode.INK}),
    "colours clipped": (clipped, {GateCode.INK, GateCode.GAMUT, GateCode.WILD}),
    "saturation x 3": (lambda ink, chroma: join_chroma(ink, 3 * chroma), {GateCode.GAMUT, GateCode.WILD}),
    "chroma x 0.1": (lambda ink, chroma: join_chroma(ink, chroma / 10), {GateCode.DULL}),
    "no colour": (lambda ink, chroma: gray_page(ink), {GateCode.DULL}),
    "everything sepia": (lambda ink, chroma: join_chroma(ink, flat(ink.shape, *SEPIA)), {GateCode.HUE}),
    "everything strongly sepia": (lambda ink, chroma: join_chroma(ink, flat(ink.shape, *(2 * SEPIA))), {GateCode.HUE}),
}


@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize("chapter", [1, 4])
def test_a_damaged_page_does_not_pass_and_is_told_why(damage: str, chapter: int) -> None:
    page = drawn(chapter, 4)
    hurt, expected = DAMAGED[damage]

    verdict = judge(page.ink, hurt(page.ink, chroma_of(page)))

    assert not verdict.passed
    assert codes(verdict) >= expected - {GateCode.WILD}
    assert codes(verdict) <= expected | ({GateCode.HUE} if GateCode.DULL in expected else set())
    assert all(fault.message and math.isfinite(fault.value) and fault.value != fault.limit for fault in verdict.faults)


def test_words_that_are_tinted_do_not_pass_and_only_for_that() -> None:
    page = drawn(1, 4)
    chroma = np.where(page.bubbles[..., None], np.float32([10, 25]), chroma_of(page))
    ink = np.where(page.bubbles, np.clip(page.ink, 60, 220), page.ink).astype(np.uint8)
    colored = join_chroma(ink, chroma)

    assert codes(judge(ink, colored, page.bubbles)) == {GateCode.TINT}
    assert judge(ink, colored).passed  # without a mask, text is not judged


# Little colour that is right, and one hue that is.


def test_a_night_needs_less_colour_than_a_day() -> None:
    night, day = np.full((200, 200), 50, np.uint8), np.full((200, 200), 150, np.uint8)  # L* 20 and 62

    def verdict(ink: np.ndarray) -> Verdict:
        return judge(ink, join_chroma(ink, wheel(ink.shape, 6)))

    assert verdict(night).passed
    assert codes(verdict(day)) == {GateCode.DULL}
    assert judge(night, gray_page(night)).faults  # but a gray night is dull
    assert verdict(night).measures.colorfulness < Thresholds().dull


def test_a_page_that_is_nearly_all_paper_is_not_dull() -> None:
    page = np.full((200, 200), 255, np.uint8)
    page[50:90, 50:90] = 140  # 4 % of it
    assert judge(page, gray_page(page)).passed

    page[50:150, 50:150] = 140
    assert codes(judge(page, gray_page(page))) == {GateCode.DULL}


def test_a_small_part_that_could_hold_colour_needs_less_of_it() -> None:
    paper = np.full((200, 200), 255, np.uint8)
    paper[:, :20] = 150  # a tenth
    ink = np.full((200, 200), 150, np.uint8)

    assert judge(paper, join_chroma(paper, np.tile(wheel((200, 20), 6), (1, 10, 1)))).passed
    assert codes(judge(ink, join_chroma(ink, wheel(ink.shape, 6)))) == {GateCode.DULL}


def test_a_night_may_be_of_one_hue_where_a_day_may_not() -> None:
    night, day = np.full((200, 200), 60, np.uint8), np.full((200, 200), 150, np.uint8)
    brown = wheel(night.shape, 20, 50, 40)

    assert judge(night, join_chroma(night, brown)).passed
    assert codes(judge(day, join_chroma(day, brown))) == {GateCode.HUE}


def test_more_colour_than_comics_have_is_wild() -> None:
    ink = np.full((200, 200), 140, np.uint8)

    assert GateCode.WILD in codes(judge(ink, join_chroma(ink, wheel(ink.shape, 120))))
    assert judge(ink, join_chroma(ink, wheel(ink.shape, 30))).passed


def test_a_sunset_may_have_one_hue_where_a_brown_page_may_not() -> None:
    ink = np.full((200, 200), 160, np.uint8)
    hues = wheel(ink.shape, 1, 50, 30)
    strong, weak = (join_chroma(ink, np.float32(chroma) * hues) for chroma in (55, 20))

    assert judge(ink, strong).passed
    assert codes(judge(ink, weak)) == {GateCode.HUE}
    assert judge(ink, strong).measures.one_hue > Thresholds().one_hue


# Wild chroma is reduced.


@pytest.mark.parametrize("factor", [3, 10])
def test_wild_chroma_is_tamed_by_one_factor_and_keeps_what_it_may(factor: float) -> None:
    page = drawn(3, 4)
    wild = factor * chroma_of(page)

    reduced = reduced_map(page.ink, wild, page.bubbles)

    assert not judge(page.ink, join_chroma(page.ink, wild), page.bubbles).passed
    assert judge(page.ink, join_chroma(page.ink, reduced), page.bubbles).passed
    scale = reduced[wild != 0] / wild[wild != 0]
    assert scale.max() == pytest.approx(scale.min(), rel=1e-4)
    assert 0.8 / factor < scale.mean() < 2 / factor


def test_chroma_that_is_clipped_only_is_tamed_too() -> None:
    page, limits = drawn(3, 4), Thresholds(wild=1000)
    clipped = 3 * chroma_of(page)

    assert codes(judge(page.ink, join_chroma(page.ink, clipped), None, limits)) == {GateCode.GAMUT}
    assert judge(page.ink, join_chroma(page.ink, reduced_map(page.ink, clipped, None, limits)), None, limits).passed


def test_chroma_within_bounds_stays_as_it_is() -> None:
    page = drawn(3, 4)
    chroma = chroma_of(page)

    for rows in (resized_chroma(chroma, page.ink.shape), resized_chroma(0 * chroma, page.ink.shape)):
        assert reduce_chroma(page.ink, rows) is rows


def test_chroma_is_tamed_at_any_size_and_by_the_limits_given() -> None:
    page = drawn(3, 4)
    small = cv2.resize(chroma_of(page), (64, 64), interpolation=cv2.INTER_AREA)

    reduced = reduced_map(page.ink, small, None, Thresholds(wild=30))

    assert 20 < judge(page.ink, join_chroma(page.ink, reduced)).measures.colorfulness <= 30


# Odd pages.

sides = st.integers(1, 40)
kinds = st.sampled_from(["white", "black", "noise"])


@given(height=sides, width=sides, ink=kinds, paint=kinds, lettered=st.sampled_from([None, "none", "all", "some"]))
@settings(max_examples=150)
def test_any_page_is_judged_and_tamed(height: int, width: int, ink: str, paint: str, lettered: str | None) -> None:
    rng = np.random.default_rng([height, width])
    shape = (height, width)

    def filled(kind: str, of: tuple[int, ...]) -> np.ndarray:
        levels = {"white": np.full(of, 255), "black": np.zeros(of), "noise": rng.integers(0, 256, of)}
        return levels[kind].astype(np.uint8)

    gray, page = filled(ink, shape), filled(paint, (*shape, 3))
    text = {"none": np.zeros(shape, bool), "all": np.ones(shape, bool), "some": rng.random(shape) < 0.5}.get(
        lettered or ""
    )

    verdict = judge(gray, page, text)
    reduced = reduced_map(gray, rng.normal(0, 200, (*shape, 2)).astype(np.float32), text)

    found = verdict.measures
    assert all(math.isfinite(value) for value in vars(found).values())
    assert all(-1e-6 <= getattr(found, name) <= 1 + 1e-6 for name in ("lines", "clipped", "room", "reach", "one_hue"))
    assert np.isfinite(reduced).all()


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=30)))
@settings(max_examples=50)
def test_a_gray_page_keeps_its_ink_and_has_no_colour(gray: np.ndarray) -> None:
    verdict = judge(gray, gray_page(gray), np.ones(gray.shape, bool))

    assert not codes(verdict) & {GateCode.INK, GateCode.TINT, GateCode.GAMUT, GateCode.WILD, GateCode.HUE}
    assert verdict.measures.colorfulness == 0


@pytest.mark.parametrize("level", range(0, 40, 3))
def test_a_page_as_dark_as_black_keeps_its_ink_under_any_chroma(level: int) -> None:
    ink = np.full((100, 100), level, np.uint8)

    assert GateCode.INK not in codes(judge(ink, join_chroma(ink, wheel(ink.shape, 20))))


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
        ({"ssim": 1.0}, GateCode.INK),
        ({"tint": 0.0}, GateCode.TINT),
        ({"clipped": 0.0}, GateCode.GAMUT),
        ({"dull": 120.0}, GateCode.DULL),
        ({"drab": 120.0, "one_hue": 0.1}, GateCode.HUE),
        ({"wild": 40.0}, GateCode.WILD),
    ],
)
def test_each_limit_is_the_callers(limits: dict[str, float], code: GateCode) -> None:
    page = drawn(1, 4)
    text = np.zeros_like(page.bubbles)
    text[:200] = True

    verdict = judge(page.ink, page.color, text, Thresholds(**{"tint": 200.0, **limits}))

    assert codes(verdict) == {code}


def test_faults_come_in_one_order_with_ink_first() -> None:
    page = drawn(1, 4)

    verdict = judge(page.ink, gray_page(np.roll(page.ink, 9, axis=0)))

    order = [list(GateCode).index(fault.code) for fault in verdict.faults]
    assert all(one <= other for one, other in pairwise(order))
    assert [fault.code for fault in verdict.faults][:3] == [GateCode.INK, GateCode.INK, GateCode.DULL]


def test_the_gate_needs_no_torch() -> None:
    """The gate works where bytes from outside are handled, in processes that are started often."""
    done = subprocess.run([sys.executable, "-c", "import sys, imaging.gate; sys.exit('torch' in sys.modules)"])

    assert done.returncode == 0
