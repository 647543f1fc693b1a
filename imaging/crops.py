"""Crops of a page that a network is shown, and how their colours become one map.

H, W: pixels of the page.
S: side of the square that the network sees.
h, w: size of the chroma map.

Rects and contours are in pixels of the page. Pixel i of n covers [i, i + 1) / n of a side, in the page, the squares and
the map alike.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from imaging.color import F32, U8

# The eye sees chroma at about half the resolution of lightness, and ink keeps the page's own.
MOST_SHORT = 512  # pixels of the map's shorter side
MOST_PIXELS = 2**21  # pixels of the map: 16 MB


@dataclass(frozen=True)
class Rect:
    """The pixels left to right - 1, top to bottom - 1; they may reach beyond the page."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def within(self, shape: tuple[int, int]) -> "Rect":
        """Return the part of the rect that is on a page of this shape (H, W)."""
        height, width = shape
        return Rect(max(self.left, 0), max(self.top, 0), min(self.right, width), min(self.bottom, height))


@dataclass(frozen=True)
class Crop:
    """A crop of the page, and where its colours count.

    rect: the part of the page that is resized to the square.
    ramps: pixels over which the crop's weight rises from 0, at the left, top, right and bottom edge of rect; 0 where it
        counts in full up to the edge.
    contour: (x, y) corners of a polygon that the crop counts in; empty for all of rect.
    feather: pixels over which the weight fades at the contour, half of them inside.
    ground: whether the crop lies under all others, and is seen where they leave room.
    pull: share by which a ground crop pulls the colours above it towards its own.
    blur: sigma in pixels by which the difference that is pulled is blurred.
    """

    rect: Rect
    ramps: tuple[int, int, int, int] = (0, 0, 0, 0)
    contour: tuple[tuple[int, int], ...] = ()
    feather: int = 0
    ground: bool = False
    pull: float = 0.0
    blur: int = 0


def look(gray: U8, rect: Rect, size: int, *, beyond: int = 0) -> U8:
    """Return (size, size) levels of what a rect shows.

    gray: (H, W) levels.
    rect: the part of the page; it may reach beyond the page.
    size: side of the square, in pixels.
    beyond: gray level outside of the page.
    """
    on = rect.within(gray.shape)
    part = gray[on.top : on.bottom, on.left : on.right]
    if on != rect:
        sides = (on.top - rect.top, rect.bottom - on.bottom, on.left - rect.left, rect.right - on.right)
        part = cv2.copyMakeBorder(part, *sides, cv2.BORDER_CONSTANT, value=beyond)
    # INTER_AREA magnifies into blocks; the page as a whole keeps to it, as networks are trained on it.
    larger = max(rect.width, rect.height) < size and (rect.height, rect.width) != gray.shape
    seen: U8 = cv2.resize(part, (size, size), interpolation=cv2.INTER_LINEAR if larger else cv2.INTER_AREA)
    return seen


def map_shape(crops: Sequence[Crop], size: int, shape: tuple[int, int]) -> tuple[int, int]:
    """Return (h, w) of the map: the resolution of the finest square, bounded.

    crops: the crops that are blended.
    size: S.
    shape: (H, W) of the page.

    The map is no larger than the page, and keeps to MOST_SHORT on its shorter side and to MOST_PIXELS in all.
    """
    height, width = shape
    h = min(height, max(math.ceil(height * size / crop.rect.height) for crop in crops))
    w = min(width, max(math.ceil(width * size / crop.rect.width) for crop in crops))
    scale = min(1.0, MOST_SHORT / min(h, w), math.sqrt(MOST_PIXELS / (h * w)))
    h, w = max(1, int(h * scale)), max(1, int(w * scale))
    return min(h, MOST_PIXELS // w), min(w, MOST_PIXELS // h)


def blend(
    crops: Sequence[Crop], chromas: np.ndarray, shape: tuple[int, int], target: tuple[int, int] | None = None
) -> tuple[F32, F32]:
    """Blend the squares' chroma to one map; at each pixel the weights are scaled to add up to 1.

    crops: one for each square.
    chromas: (N, S, S, 2) ab, or more channels.
    shape: (H, W) of the page.
    target: (h, w) of the map; None for that of `map_shape`.

    Returns (h, w, 2) float32 ab, 0 where no square counts, and the sum of the weights (h, w) before they were scaled.
    """
    target = target or map_shape(crops, chromas.shape[1], shape)
    if not crops:
        return np.zeros((*target, chromas.shape[-1]), np.float32), np.zeros(target, np.float32)
    chroma = np.zeros((*target, chromas.shape[-1]), np.float32)
    weight = np.zeros(target, np.float32)
    for on_top in (True, False):
        for crop, square in zip(crops, chromas, strict=True):
            if crop.ground == on_top:
                continue
            window, (rows, columns) = weights(crop, shape, target)
            if crop.ground:
                window = window * np.maximum(1 - weight[rows, columns], 0)
            laid = _laid(crop.rect, square, shape, target, rows, columns)
            chroma[rows, columns] += laid * window[..., None]
            weight[rows, columns] += window
    chroma /= np.maximum(weight, np.finfo(np.float32).tiny)[..., None]
    for crop, square in zip(crops, chromas, strict=True):
        if crop.ground and crop.pull:
            chroma += crop.pull * _blurred(_laid(crop.rect, square, shape, target) - chroma, crop.blur, shape)
    return chroma, weight


def _blurred(chroma: F32, sigma: int, shape: tuple[int, int]) -> F32:
    """Blur a map (h, w, 2) by sigma pixels of the page."""
    if not sigma:
        return chroma
    down, across = (max(sigma * count / side, 0.1) for count, side in zip(chroma.shape, shape, strict=False))
    small = max(1, int(min(down, across) / 4))  # a smaller map holds all that is left after such a blur
    h, w = (max(1, count // small) for count in chroma.shape[:2])
    reduced = cv2.resize(chroma, (w, h), interpolation=cv2.INTER_AREA)
    reduced = cv2.GaussianBlur(
        reduced, (0, 0), sigmaX=across / small, sigmaY=down / small, borderType=cv2.BORDER_REPLICATE
    )
    blurred: F32 = cv2.resize(reduced, chroma.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return blurred


def dominant(crops: Sequence[Crop], shape: tuple[int, int], target: tuple[int, int]) -> np.ndarray:
    """Return (h, w) int32: the crop that weighs most at each pixel of the map, -1 where none does.

    crops: as for `blend`.
    shape: (H, W) of the page.
    target: (h, w) of the map.
    """
    most = np.zeros(target, np.float32)
    label = np.full(target, -1, np.int32)
    covered = np.zeros(target, np.float32)
    for on_top in (True, False):
        for index, crop in enumerate(crops):
            if crop.ground == on_top:
                continue
            window, region = weights(crop, shape, target)
            if crop.ground:
                window = window * np.maximum(1 - covered[region], 0)
            better = window > most[region]
            label[region][better] = index
            most[region][better] = window[better]
            covered[region] += window
    return label


def weights(crop: Crop, shape: tuple[int, int], target: tuple[int, int]) -> tuple[F32, tuple[slice, slice]]:
    """Return how much a crop counts at each pixel of a map, in [0, 1], and the rows and columns that this is for.

    crop: its weight rises over its ramps, and fades over its feather.
    shape: (H, W) of the page.
    target: (h, w) of the map.
    """
    more = crop.feather  # a contour's colours reach outwards as far as they fade
    rect = crop.rect
    on = Rect(rect.left - more, rect.top - more, rect.right + more, rect.bottom + more).within(shape)
    rows, y = _centres(on.top, on.bottom, shape[0], target[0])
    columns, x = _centres(on.left, on.right, shape[1], target[1])
    left, top, right, bottom = crop.ramps
    across = _rise(x - crop.rect.left, left) * _rise(crop.rect.right - x, right)
    down = _rise(y - crop.rect.top, top) * _rise(crop.rect.bottom - y, bottom)
    window = down[:, None] * across[None]
    if crop.contour and window.size:
        window = window * _inside(crop, shape, target)[rows, columns]
    return window, (rows, columns)


def _centres(low: int, high: int, side: int, count: int) -> tuple[slice, F32]:
    """Return the pixels of a map's side whose centres lie in [low, high) of the page's side, and those centres."""
    first, last = (math.ceil(edge * count / side - 0.5) for edge in (low, high))
    return slice(first, last), ((np.arange(first, last) + 0.5) * (side / count)).astype(np.float32)


def _rise(distance: F32, ramp: int) -> F32:
    """Return 0 at the edge to 1 at `ramp`, smooth at both; two rises that face each other add up to 1."""
    if not ramp:
        return np.ones_like(distance)
    return np.sin(np.clip(distance / ramp, 0, 1) * np.float32(np.pi / 2)) ** 2


def _inside(crop: Crop, shape: tuple[int, int], target: tuple[int, int]) -> F32:
    """Return (h, w) in [0, 1]: 1 inside of the crop's contour, faded over its feather."""
    fixed = 16  # fillPoly's sixteenths of a pixel
    scale = np.array([target[1] / shape[1], target[0] / shape[0]])
    corners = np.round((np.array(crop.contour) * scale - 0.5) * fixed).astype(np.int32)
    mask = np.zeros(target, np.float32)
    cv2.fillPoly(mask, [corners], 1.0, shift=4)
    across, down = (2 * round(crop.feather * side / 2) + 1 for side in scale)
    # Two blurs of half the width: the sum of two boxes fades without a kink.
    for _ in range(2):
        mask = cv2.blur(mask, (across // 4 * 2 + 1, down // 4 * 2 + 1), borderType=cv2.BORDER_REPLICATE)
    return mask


def _laid(
    rect: Rect,
    square: np.ndarray,
    shape: tuple[int, int],
    target: tuple[int, int],
    rows: slice | None = None,
    columns: slice | None = None,
) -> F32:
    """Return a square's chroma at these rows and columns of the map; None for all of them."""
    rows, columns = rows or slice(0, target[0]), columns or slice(0, target[1])
    size = (columns.stop - columns.start, rows.stop - rows.start)
    if 0 in size:
        return np.zeros((size[1], size[0], square.shape[-1]), np.float32)
    step_y, step_x = shape[0] / target[0], shape[1] / target[1]  # pixels of the page per pixel of the map
    small = [min(square.shape[0], max(1, round(side))) for side in (rect.width / step_x, rect.height / step_y)]
    square = square.astype(np.float32)
    if tuple(small) != square.shape[1::-1]:
        square = cv2.resize(square, small, interpolation=cv2.INTER_AREA)  # else warpAffine would skip pixels
    scale_y, scale_x = square.shape[0] / rect.height, square.shape[1] / rect.width
    x = ((columns.start + 0.5) * step_x - rect.left) * scale_x - 0.5
    y = ((rows.start + 0.5) * step_y - rect.top) * scale_y - 0.5
    back = np.array([[step_x * scale_x, 0, x], [0, step_y * scale_y, y]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid: F32 = cv2.warpAffine(square, back, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return laid
