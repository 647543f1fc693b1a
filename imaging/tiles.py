"""Pages cut into overlapping tiles, which are blended again, and into squares without overlap, which show seams.

H, W: pixels of the page.

A tile is a Crop; what it shows is resized to the square that the network sees.
"""

import itertools
import math

import numpy as np

from imaging.color import U8
from imaging.crops import Crop, Rect

MOST_TILES = 128
# Gray levels that leave no room for colour: what is as light, or as dark, all over is not worth a prediction.
PAPER, NIGHT = 244, 11


def cut_tiles(gray: U8, tile: tuple[float, float], overlap: float = 0.25) -> list[Crop]:
    """Return overlapping tiles that cover the page, at most MOST_TILES; blank ones are left out.

    gray: (H, W) levels.
    tile: about (height, width) of a tile, in pixels.
    overlap: share of a tile's side that its neighbour shows too, in [0, 0.5].

    Tiles are made somewhat smaller or larger, so that a whole number of them fits. A page that is blank all over has
    none.
    """
    height, width = gray.shape
    down, across = (_count_spans(side, part, overlap) for side, part in zip(gray.shape, tile, strict=True))
    if down * across > MOST_TILES:  # a strip, most likely: its long side is cut less often
        fewer = math.sqrt(MOST_TILES / (down * across))
        down = min(max(1, int(down * fewer)), MOST_TILES)
        across = min(max(1, int(across * fewer)), MOST_TILES // down)
    rows, columns = _spans(height, down, overlap), _spans(width, across, overlap)
    crops = []
    for j, (top, bottom) in enumerate(rows):
        for i, (left, right) in enumerate(columns):
            if is_blank(gray[top:bottom, left:right]):
                continue
            ramps = (*_ramps(columns, i), *_ramps(rows, j))
            crops.append(Crop(Rect(left, top, right, bottom), (ramps[0], ramps[2], ramps[1], ramps[3])))
    return crops


def _count_spans(side: int, part: float, overlap: float) -> int:
    shared = part * overlap
    return max(1, min(side, round((side - shared) / max(part - shared, 1))))


def _spans(side: int, count: int, overlap: float) -> list[tuple[int, int]]:
    """Return `count` spans of equal length that cover a side.

    Each shares `overlap` of its length with the next.
    """
    length = side / (count - (count - 1) * overlap)
    step = length * (1 - overlap)
    starts = [math.floor(i * step + 1e-6) for i in range(count)]
    stops = [min(side, math.ceil(i * step + length - 1e-6)) for i in range(count)]
    return list(zip(starts, stops, strict=True))


def _ramps(spans: list[tuple[int, int]], index: int) -> tuple[int, int]:
    """Return the pixels shared with the span before and with the one after."""
    before = spans[index - 1][1] - spans[index][0] if index else 0
    after = spans[index][1] - spans[index + 1][0] if index + 1 < len(spans) else 0
    return before, after


def is_blank(gray: U8) -> bool:
    """Return whether nothing there can take colour: all of it is white, or all of it is black."""
    return bool(gray.min() >= PAPER or gray.max() <= NIGHT)


_CANVAS, _SQUARE = 1344, 224


def cut_squares(gray: U8) -> list[Crop]:
    """Return the squares of the One Piece write-up.

    gray: (H, W) levels; a larger page is made to fit the canvas.

    The page is centred on a black canvas of 1344 pixels, which is cut into 36 squares of 224 pixels without overlap.
    All-black ones are dropped. Beyond the page the squares show black. Neighbours know nothing of one another, so the
    assembled page has seams.
    """
    height, width = gray.shape
    scale = max(1.0, max(height, width) / _CANVAS)  # pixels of the page per pixel of the canvas
    steps = np.arange(_CANVAS // _SQUARE + 1) * _SQUARE - _CANVAS / 2
    columns = np.round(width / 2 + steps * scale).astype(int)
    rows = np.round(height / 2 + steps * scale).astype(int)
    crops = []
    for top, bottom in itertools.pairwise(rows):
        for left, right in itertools.pairwise(columns):
            rect = Rect(int(left), int(top), int(right), int(bottom))
            on = rect.within(gray.shape)
            if on.width > 0 and on.height > 0 and gray[on.top : on.bottom, on.left : on.right].max() > NIGHT:
                crops.append(Crop(rect))
    return crops
