"""Panels, found between gutters on drawn pages whose panels are known; no panel where a page has none."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from datasets.synthetic import Series, draw_page, layout_page
from imaging.panels import Panel, find_panels

SHAPE = (1400, 1000)
Box = tuple[int, int, int, int]


def blank(level: int = 255) -> np.ndarray:
    return np.full(SHAPE, level, np.uint8)


def draw(page: np.ndarray, corners: list[tuple[int, int]], *, seed: int, line: int = 4) -> None:
    """Draw a framed panel of mottled gray with a white bubble in it."""
    rng = np.random.default_rng(seed)
    mottled = cv2.resize(rng.integers(60, 230, (30, 20), dtype=np.uint8), SHAPE[::-1], interpolation=cv2.INTER_CUBIC)
    outline = np.array(corners, np.int32)
    mask = cv2.fillPoly(np.zeros(SHAPE, np.uint8), [outline], 1)
    page[mask > 0] = mottled[mask > 0]
    x, y = outline.mean(axis=0).astype(int).tolist()
    cv2.ellipse(page, (x, y), (60, 35), 0, 0, 360, 255, -1)
    cv2.polylines(page, [outline], True, 0, line)


def corners_of(box: Box) -> list[tuple[int, int]]:
    left, top, right, bottom = box
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def page_of(boxes: list[Box], level: int = 255) -> np.ndarray:
    page = blank(level)
    for seed, box in enumerate(boxes):
        draw(page, corners_of(box), seed=seed)
    return page


def mask_of(corners, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return cv2.fillPoly(np.zeros(shape, np.uint8), [np.round(np.array(corners)).astype(np.int32)], 1) > 0


def found_as(panels: list[Panel], wanted, shape: tuple[int, int] = SHAPE) -> list[float]:
    """Return, for each polygon wanted, the best intersection over union with a panel found."""
    masks = [mask_of(panel.corners, shape) for panel in panels]
    scores = []
    for corners in wanted:
        truth = mask_of(corners, shape)
        scores.append(max(((truth & mask).sum() / (truth | mask).sum() for mask in masks), default=0.0))
    return scores


GRID: list[Box] = [
    (50, 50, 490, 440), (510, 50, 950, 440), (50, 460, 950, 900), (50, 920, 300, 1350), (320, 920, 950, 1350),
]  # fmt: skip
BLEED: list[Box] = [(-20, -20, 1020, 500), (-20, 520, 480, 1420), (500, 520, 1020, 1420)]


@pytest.mark.parametrize("level", [255, 236, 0], ids=["white", "grayish", "black"])
@pytest.mark.parametrize("boxes", [GRID, BLEED], ids=["grid", "bleed"])
def test_panels_between_gutters(boxes, level) -> None:
    if level == 0 and boxes is BLEED:
        pytest.skip("a black gutter shows on the page's rim")
    panels = find_panels(page_of(boxes, level))

    assert len(panels) == len(boxes)
    assert min(found_as(panels, [corners_of(box) for box in boxes])) > 0.95


def test_panels_between_hairline_gutters() -> None:
    boxes = [(0, 0, 1000, 690), (0, 698, 497, 1400), (505, 698, 1000, 1400)]
    panels = find_panels(page_of(boxes))

    assert len(panels) == 3
    assert min(found_as(panels, [corners_of(box) for box in boxes])) > 0.95


@pytest.mark.parametrize("slant", [-120, -60, 60, 120])
def test_panels_between_slanted_gutters(slant) -> None:
    polygons = [
        [(50, 50), (490 + slant, 50), (490 - slant, 650), (50, 650)],
        [(515 + slant, 50), (950, 50), (950, 650), (515 - slant, 650)],
        [(50, 680), (950, 680), (950, 1000 + slant), (50, 1000 - slant)],
        [(50, 1030 - slant), (950, 1030 + slant), (950, 1350), (50, 1350)],
    ]
    page = blank()
    for seed, corners in enumerate(polygons):
        draw(page, corners, seed=seed)
    panels = find_panels(page)

    assert len(panels) == 4
    assert min(found_as(panels, polygons)) > 0.9


def test_a_bubble_and_a_figure_across_gutters_do_not_hide_them() -> None:
    page = page_of(GRID)
    cv2.ellipse(page, (300, 450), (90, 50), 0, 0, 360, 255, -1)
    cv2.ellipse(page, (300, 450), (90, 50), 0, 0, 360, 0, 4)
    cv2.circle(page, (500, 250), 40, 90, -1)
    panels = find_panels(page)

    assert len(panels) == len(GRID)
    assert min(found_as(panels, [corners_of(box) for box in GRID])) > 0.9


def test_panels_of_line_art_on_bare_paper_are_not_cut_at_their_blank_rows() -> None:
    page = blank()
    for box in GRID:
        cv2.rectangle(page, box[:2], box[2:], 0, 3)
        cv2.circle(page, ((box[0] + box[2]) // 2, box[3] - 90), 60, 0, 3)
        cv2.rectangle(page, (box[0] + 20, box[1] - 9), (box[0] + 40, box[1] + 9), 255, -1)  # so that no frame is closed
    panels = find_panels(page)

    assert len(panels) == len(GRID)
    assert min(found_as(panels, [corners_of(box) for box in GRID])) > 0.95


def test_a_frame_over_others_is_a_panel_too_and_they_overlap() -> None:
    boxes: list[Box] = [(50, 50, 950, 690), (50, 710, 950, 1350)]
    page = page_of(boxes)
    inset = corners_of((550, 450, 930, 900))
    cv2.fillPoly(page, [np.array(inset, np.int32)], 255)
    cv2.polylines(page, [np.array(inset, np.int32)], True, 0, 5)
    cv2.circle(page, (740, 675), 80, 0, 3)
    panels = find_panels(page)

    assert len(panels) == 3
    assert min(found_as(panels, [inset, *map(corners_of, boxes)])) > 0.8


def test_figures_on_bare_paper_are_left_to_the_page() -> None:
    page = page_of([(50, 50, 950, 440)])
    cv2.circle(page, (300, 850), 250, 120, -1)
    cv2.circle(page, (700, 1200), 120, 120, -1)

    assert [panel.box for panel in find_panels(page)] == [pytest.approx((50, 50, 950, 440), abs=6)]


def test_what_is_too_small_is_dropped() -> None:
    panels = find_panels(page_of([(50, 50, 950, 1000), (50, 1100, 150, 1200)]))

    assert [panel.box for panel in panels] == [pytest.approx((50, 50, 950, 1000), abs=6)]


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_bare_page_has_no_panels(level) -> None:
    assert find_panels(blank(level)) == []


def test_a_page_that_is_one_picture_has_no_panels() -> None:
    assert find_panels(page_of([(-20, -20, 1020, 1420)])) == []


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 90), st.integers(1, 90)), elements=st.sampled_from([0, 100, 255])),
    st.integers(1, 9),
)
@settings(max_examples=60)
def test_any_page_has_panels_that_are_on_it(pattern, zoom) -> None:
    page = np.kron(pattern, np.ones((zoom, zoom), np.uint8))
    for panel in find_panels(page):
        left, top, right, bottom = panel.box
        assert 0 <= left < right <= page.shape[1]
        assert 0 <= top < bottom <= page.shape[0]


def test_panels_of_generated_pages() -> None:
    series = Series(chapters=3, pages=5, width=500, height=750)
    scores, surplus = [], 0
    for chapter in range(1, 4):
        assert find_panels(draw_page(series, chapter, 1).ink) == []  # a splash
        for number in range(2, 6):
            ink = draw_page(series, chapter, number).ink
            wanted = [np.clip(p.corners, 0, (500, 750)) for p in layout_page(series, chapter, number)]
            panels = find_panels(ink)
            scores += found_as(panels, wanted, ink.shape)
            surplus += max(0, len(panels) - len(wanted))

    assert np.mean(np.array(scores) > 0.9) >= 0.95
    assert surplus <= 1
