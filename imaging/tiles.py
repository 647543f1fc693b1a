"""Pages cut into overlapping tiles, which a window blends again; and the squares without overlap that show seams.

H, W pixels of the page. A tile is a Crop; what it shows is squeezed to the square that the network sees.
"""

import itertools
import math

import numpy as np

from imaging.color import U8
from imaging.crops import Crop, Rect

MOST_TILES = 128
# Levels that leave no room for colour: what is as light or as dark as this all over is not worth a prediction.
PAPER, NIGHT = 244, 11


def cut_tiles(gray: U8, tile: tuple[float, float], overlap: float = 0.25) -> list[Crop]:
    """Tiles of about `tile` (height, width) pixels that cover the page, blank ones left out, at most MOST_TILES.

    gray: (H, W). overlap: share of a tile's side that its neighbour shows too, in [0, 0.5]. Tiles are made somewhat
    smaller or larger, so that a whole number of them fits. No tiles for a page that is blank all over.
    """
    height, width = gray.shape
    down, across = (_count_spans(side, part, overlap) for side, part in zip(gray.shape, tile, strict=True))
    if down * across > MOST_TILES:  # a strip, most likely: what is cut most is cut less
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
    """`count` stretches of equal length that cover a side, each sharing `overlap` of it with the next."""
    length = side / (count - (count - 1) * overlap)
    step = length * (1 - overlap)
    starts = [math.floor(i * step + 1e-6) for i in range(count)]
    stops = [min(side, math.ceil(i * step + length - 1e-6)) for i in range(count)]
    return list(zip(starts, stops, strict=True))


def _ramps(spans: list[tuple[int, int]], index: int) -> tuple[int, int]:
    """Pixels shared with the stretch before and the one after."""
    before = spans[index - 1][1] - spans[index][0] if index else 0
    after = spans[index][1] - spans[index + 1][0] if index + 1 < len(spans) else 0
    return before, after


def is_blank(gray: U8) -> bool:
    """Whether nothing there can take colour: all of it white, or all of it black."""
    return bool(gray.min() >= PAPER or gray.max() <= NIGHT)


_CANVAS, _SQUARE = 1344, 224


def cut_squares(gray: U8) -> list[Crop]:
    """The squares of the One Piece write-up: the page centred on a black canvas of 1344 pixels, cut in 36 of 224
    pixels without overlap, all-black ones dropped. gray: (H, W); a larger page is made to fit the canvas.

    To be looked at beyond the page with black. Neighbours know nothing of one another: what is stitched has seams.
    """
    height, width = gray.shape
    scale = max(1.0, max(height, width) / _CANVAS)  # pixels of the page to one of the canvas
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
