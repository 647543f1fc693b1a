"""Views: every strategy gives squares for any page, and the network's answers come back to the crops they are for."""

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imaging.color import join_chroma
from imaging.crops import MOST_PIXELS, MOST_SHORT, Crop, Rect, blend
from imaging.tiles import MOST_TILES
from imaging.views import STRATEGIES, View, assemble, plan_views

SIZE = 32
sides = st.integers(1, 400)
shapes = st.one_of(
    st.tuples(sides, sides), st.tuples(st.integers(1, 30), st.just(9000)), st.tuples(st.just(9000), sides)
)


def drawn(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Return a mottled page with two white gutters that cross."""
    rng = np.random.default_rng(seed)
    page = cv2.resize(rng.integers(20, 220, (9, 7), dtype=np.uint8), shape[::-1], interpolation=cv2.INTER_LINEAR)
    page[shape[0] // 2 : shape[0] // 2 + shape[0] // 30] = 255
    page[:, shape[1] // 3 : shape[1] // 3 + shape[1] // 30] = 255
    return page


def places_of(views: list[View]) -> list[Crop]:
    return [view.crop for view in views]


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(shapes)
@example((1, 1))
@example((1, 9000))
@example((9000, 1))
@settings(max_examples=25)
def test_any_page_is_seen_and_constant_chroma_stays_as_it_is(strategy, shape) -> None:
    gray = np.minimum(drawn(shape), 240)  # gutters, but nothing so white that it is left out
    views = plan_views(gray, strategy, SIZE)

    assert 1 <= len(views) <= MOST_TILES + 1
    assert {(view.gray.shape, view.gray.dtype) for view in views} == {((SIZE, SIZE), np.dtype(np.uint8))}
    chromas = np.full((len(views), SIZE, SIZE, 2), (31.0, -17.0), np.float32)
    chroma = assemble(places_of(views), chromas, shape)
    assert chroma.dtype == np.float32
    assert np.abs(chroma - (31, -17)).max() < 1e-4
    assert min(chroma.shape[:2]) <= max(MOST_SHORT, SIZE)
    assert chroma.shape[0] * chroma.shape[1] <= MOST_PIXELS
    assert join_chroma(gray, chroma).shape == (*shape, 3)


@given(shapes, st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_the_page_strategy_is_what_was_done_before_there_were_others(shape, seed) -> None:
    gray = drawn(shape, seed)
    (view,) = plan_views(gray, "page", SIZE)
    said = np.random.default_rng(seed).normal(0, 30, (1, SIZE, SIZE, 2)).astype(np.float32)

    np.testing.assert_array_equal(view.gray, cv2.resize(gray, (SIZE, SIZE), interpolation=cv2.INTER_AREA))
    np.testing.assert_array_equal(assemble([view.crop], said, shape), said[0])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_colours_come_back_where_they_were_seen(strategy) -> None:
    """The network predicts as colour what it sees as gray, so the map is the page."""
    gray = drawn((900, 620))
    views = plan_views(gray, strategy, 128)
    seen = np.stack([view.gray for view in views]).astype(np.float32)
    chroma = assemble(places_of(views), np.stack([seen, -seen], -1), gray.shape)

    page = cv2.resize(gray, chroma.shape[1::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
    inner = np.abs(page - cv2.blur(page, (3, 3))) < 3  # not on the edges of gutters, which are as sharp as the squares
    assert inner.mean() > 0.7
    assert np.abs(chroma[..., 0] - page)[inner].mean() < 1.5
    assert np.quantile(np.abs(chroma[..., 0] - page)[inner], 0.99) < 12
    np.testing.assert_allclose(chroma[..., 1], -chroma[..., 0], atol=1e-3)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("level", [0, 255])
def test_a_bare_page_is_seen_once_or_not_cut(strategy, level) -> None:
    gray = np.full((300, 200), level, np.uint8)
    views = plan_views(gray, strategy, SIZE)

    if strategy != "squares":
        assert len(views) == 1
    assert assemble(places_of(views), np.zeros((len(views), SIZE, SIZE, 2)), gray.shape).shape[2] == 2


def test_tiles_refine_what_the_page_says_and_do_not_change_its_tones() -> None:
    gray = drawn((1400, 1000))
    views = plan_views(gray, "tiles", 64)
    said = np.full((len(views), 64, 64, 2), 50.0, np.float32)
    said[0] = 10.0  # the whole page's; the tiles all predict something else
    stripes = np.where(np.arange(64) % 8 < 4, 5.0, -5.0)[None, :, None]
    said[1:] += stripes
    chroma = assemble(places_of(views), said, gray.shape)

    assert abs(chroma.mean() - 10) < 0.5
    middle = chroma[:, chroma.shape[1] // 8 : -chroma.shape[1] // 8]
    assert middle.std() > 2.5  # the stripes are there


def test_panels_keep_half_of_their_own_colour_and_gutters_the_pages() -> None:
    gray = np.full((1400, 1000), 255, np.uint8)
    gray[50:680, 50:950] = 120
    gray[720:1350, 50:950] = 160
    views = plan_views(gray, "panels", 64)
    said = np.stack([np.full((64, 64, 2), value, np.float32) for value in (0, 40, -40)])
    chroma = assemble(places_of(views), said, gray.shape)

    h = chroma.shape[0]
    assert len(views) == 3
    assert chroma[round(h * 0.26), chroma.shape[1] // 2, 0] == pytest.approx(20, abs=0.1)
    assert chroma[round(h * 0.74), chroma.shape[1] // 2, 0] == pytest.approx(-20, abs=0.1)
    assert np.abs(chroma[: h // 50]).max() < 0.1


def test_a_panel_is_seen_with_the_squeeze_of_the_page() -> None:
    gray = np.full((1400, 1000), 255, np.uint8)
    gray[50:340, 50:950] = 120
    gray[400:1350, 50:400] = 90
    gray[400:1350, 440:950] = 160
    rects = [view.crop.rect for view in plan_views(gray, "panels", 64)[1:]]

    assert len(rects) == 3
    assert [rect.height / rect.width for rect in rects] == [pytest.approx(1.4, abs=0.02)] * 3
    assert all(rect == rect.within(gray.shape) for rect in rects)


@pytest.mark.parametrize(
    ("shape", "count"), [((1400, 1000), 1), ((1000, 1000), 1), ((8000, 800), 9), ((1400, 2000), 2), ((2100, 1000), 1)]
)
def test_auto_moves_a_window_over_strips_and_spreads(shape, count) -> None:
    views = plan_views(drawn(shape), "auto", SIZE)

    assert len(views) == count
    if count > 1:
        rects = [view.crop.rect for view in views]
        assert all(1 < rect.height / rect.width < 2 for rect in rects)


def test_a_contour_fades_into_the_ground() -> None:
    whole = Crop(Rect(0, 0, 100, 100), ground=True)
    panel = Crop(Rect(20, 20, 80, 80), contour=((20, 20), (80, 20), (80, 80), (20, 80)), feather=12)
    chroma, _ = blend([whole, panel], np.stack([np.zeros((50, 50, 2)), np.full((50, 50, 2), 60.0)]), (100, 100))

    row = chroma[chroma.shape[0] // 2, :, 0]
    assert row[2] == 0
    assert row[len(row) // 2] == pytest.approx(60)
    assert np.abs(np.diff(row)).max() < 20
