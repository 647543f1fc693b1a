"""Views: what a network is shown of a page, and how its answers become the page's one chroma map.

H, W: pixels of the page.
S: side of the square that the network sees.
h, w: size of the chroma map.

    views = plan_views(gray, "tiles", 256)
    chromas = predict_chroma(variant, np.stack([view.gray for view in views]))
    page = join_chroma(gray, assemble([view.crop for view in views], chromas, gray.shape))

A view's crop is small. It is all of the view that has to be kept until the page is assembled.
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
_TILE = 0.6  # to the page's sides: two by two tiles, at 1.8 times the resolution of the page as a whole
_TONES = 0.05  # sigma to the shorter side: the whole page decides what this blur leaves, the tiles what is finer
_PULL = 0.5  # how far the whole page's colours pull those of its panels
_FEATHER = 0.012  # to the shorter side: about the width of a gutter
_STRIP, _SPREAD = 2.2, 1.15  # height over width of a strip; width over height of a spread
_PAGE = 2**0.5  # height over width of the windows that these are cut in: a page's


@dataclass(frozen=True)
class View:
    """A square to show to the network.

    gray: (S, S) levels.
    crop: the part of the page that the network's answer is for.
    """

    gray: U8
    crop: Crop


def plan_views(gray: U8, strategy: Strategy, size: int) -> list[View]:
    """Return the squares to show of a page, at least one.

    gray: (H, W) levels.
    strategy: one of STRATEGIES:
        page: all of the page in one square.
        tiles: that square, and overlapping tiles, which refine it.
        panels: that square, and each panel by itself.
        auto: the page; a strip or a spread in page-shaped windows.
        squares: squares without overlap, kept as a warning: they leave seams.
    size: S.
    """
    return [View(look(gray, crop.rect, size), crop) for crop in _crops(gray, strategy) or [_whole(gray)]]


def assemble(crops: Sequence[Crop], chromas: np.ndarray, shape: tuple[int, int]) -> F32:
    """Return the page's chroma map, from what the network predicted for each view.

    crops: those of the views.
    chromas: (N, S, S, 2) ab.
    shape: (H, W) of the page.

    Returns (h, w, 2) float32 ab for `join_chroma`. A page that is shown whole, in one view, gets that view's square.
    Any other map has the resolution of the finest view, at most `crops.MOST_SHORT` on its shorter side and
    `crops.MOST_PIXELS` in all.
    """
    height, width = shape
    if len(crops) == 1 and crops[0].rect == Rect(0, 0, width, height):
        return np.ascontiguousarray(chromas[0], dtype=np.float32)
    return blend(crops, chromas, shape)[0]


def whole_page(crops: Sequence[Crop], shape: tuple[int, int]) -> int | None:
    """Return the index of the view that shows all of a page; None where no view does.

    crops: those of the views.
    shape: (H, W) of the page.

    The chroma of this view is the page's whole-page chroma, which postprocessing falls back to.
    """
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
    """Return the crop of a panel, with so much of the page around it that it is squeezed as the page is.

    Networks are used to pages squeezed like that.
    """
    height, width = shape
    left, top, right, bottom = panel.box
    share = max((right - left) / width, (bottom - top) / height)
    columns = _grown(left, right, round(share * width), width)
    rows = _grown(top, bottom, round(share * height), height)
    rect = Rect(columns[0], rows[0], columns[1], rows[1])
    return Crop(rect, contour=panel.corners, feather=max(1, round(_FEATHER * min(shape))))


def _grown(low: int, high: int, length: int, side: int) -> tuple[int, int]:
    """Return [low, high) made as long as `length` about its middle, within [0, side); never shorter than it was."""
    if high - low >= length:
        return low, high
    start = min(max(0, (low + high - length) // 2), side - length)
    return start, start + length
