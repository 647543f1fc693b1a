"""What a network is shown of a page, and how its answers become the page's one chroma map.

H, W pixels of the page; S side of the square the network sees; h, w size of the chroma map.

    views = plan_views(gray, "tiles", 256)
    chromas = predict_chroma(variant, np.stack([view.gray for view in views]))
    page = join_chroma(gray, assemble([view.crop for view in views], chromas, gray.shape))

A view's place is small, and all that has to be kept of it until the page is assembled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from imaging.color import F32, U8
from imaging.crops import Crop, Rect, blend, look
from imaging.panels import Panel, find_panels
from imaging.tiles import cut_squares, cut_tiles

Strategy = Literal["page", "tiles", "panels", "auto", "squares"]
STRATEGIES: tuple[Strategy, ...] = ("page", "tiles", "panels", "auto", "squares")

# Chosen on pages that two networks were trained on (ep06, ep12, ep20): smaller tiles, and tiles or panels without the
# page's own colours, were further from the truth. Both networks had only ever seen whole pages.
_TILE = 0.6  # of the page's sides: two by two tiles, at 1.8 times the resolution of the page as a whole
_TONES = 0.05  # of the shorter side: what is blurred by this the page decides, what is finer its tiles
_PULL = 0.5  # of the page's own colours on those of its panels
_FEATHER = 0.012  # of the shorter side: about the width of a gutter
_STRIP, _SPREAD = 2.2, 1.15  # height over width of a strip; width over height of a spread
_PAGE = 2**0.5  # height over width of the window that moves over them: a page's


@dataclass(frozen=True)
class View:
    """gray: (S, S) levels for the network. crop: where what it answers belongs."""

    gray: U8
    crop: Crop


def plan_views(gray: U8, strategy: Strategy, size: int) -> list[View]:
    """The squares to show of a page, at least one. gray: (H, W). size: S.

    page: all of it in one square. tiles: that, and overlapping tiles, which refine it. panels: that, and each panel by
    itself. auto: the page; a strip or a spread in page-shaped windows. squares: without overlap, as a warning.
    """
    return [View(look(gray, crop.rect, size), crop) for crop in _crops(gray, strategy) or [_whole(gray)]]


def assemble(crops: Sequence[Crop], chromas: np.ndarray, shape: tuple[int, int]) -> F32:
    """The page's chroma map, from what the network said of each view. chromas: (N, S, S, 2) ab; shape: (H, W).

    Returns (h, w, 2) float32 ab for `join_chroma`: of a page shown whole its own square, else at the resolution of the
    finest view, at most `placing.MOST_SHORT` on the shorter side and `placing.MOST_PIXELS` in all.
    """
    height, width = shape
    if len(crops) == 1 and crops[0].rect == Rect(0, 0, width, height):
        return np.ascontiguousarray(chromas[0], dtype=np.float32)
    return blend(crops, chromas, shape)[0]


def whole_page(crops: Sequence[Crop], shape: tuple[int, int]) -> int | None:
    """Which of a page's views shows all of it: what the network says there is its safest word. None where none does."""
    height, width = shape
    return next((i for i, crop in enumerate(crops) if crop.rect == Rect(0, 0, width, height)), None)


def _crops(gray: U8, strategy: Strategy) -> list[Crop]:
    height, width = gray.shape
    if strategy == "squares":
        return cut_squares(gray)
    if strategy == "tiles":
        tiles = cut_tiles(gray, (_TILE * height, _TILE * width))
        return [_whole(gray, pull=1.0, blur=max(1, round(_TONES * min(gray.shape)))), *tiles]
    if strategy == "panels":
        panels = find_panels(gray)
        return [_whole(gray, pull=_PULL), *(_around(panel, gray.shape) for panel in panels)]
    if strategy == "auto" and height > _STRIP * width:
        return cut_tiles(gray, (_PAGE * width, width))
    if strategy == "auto" and width > _SPREAD * height:
        return cut_tiles(gray, (height, min(height / _PAGE, 0.55 * width)))
    return [_whole(gray)]


def _whole(gray: U8, *, pull: float = 0.0, blur: int = 0) -> Crop:
    height, width = gray.shape
    return Crop(Rect(0, 0, width, height), ground=True, pull=pull, blur=blur)


def _around(panel: Panel, shape: tuple[int, int]) -> Crop:
    """A panel with so much of the page around it that it is squeezed as the page is: what networks are used to."""
    height, width = shape
    left, top, right, bottom = panel.box
    share = max((right - left) / width, (bottom - top) / height)
    columns = _grown(left, right, round(share * width), width)
    rows = _grown(top, bottom, round(share * height), height)
    rect = Rect(columns[0], rows[0], columns[1], rows[1])
    return Crop(rect, contour=panel.corners, feather=max(1, round(_FEATHER * min(shape))))


def _grown(low: int, high: int, length: int, side: int) -> tuple[int, int]:
    """A stretch made as long as `length` about its middle, within [0, side); never shorter than it was."""
    if high - low >= length:
        return low, high
    start = min(max(0, (low + high - length) // 2), side - length)
    return start, start + length
