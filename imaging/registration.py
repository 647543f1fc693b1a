"""A colour picture laid on the ink of a gray page: the common area, a smooth warp, a mask of what differs.

H, W: pixels of the gray page.
h, w: pixels of the common area.
x, y: pixels of a page from its upper left corner, pixel centres at halves.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from imaging.bands import bands
from imaging.color import F32, U8, luma
from imaging.components import Mask
from imaging.local_features import even_ink
from imaging.matching import F64, corners, for_centres, moved
from imaging.text import find_text

_AREA = 1_400_000  # pixels of the common area at which lines are compared, at most
LEAST_SIDE = 32  # pixels of the common area
_SMOOTH = 0.06  # sigma of the residual warp to the longer side
_STEP = 8  # pixels: the warp is smoothed at this step
_TRUE = 0.7  # pixels by which the flow there and back may differ
_MOST = 0.02  # of the longer side: the largest residual; beyond, the flow has lost its way
_COARSE = 350_000  # pixels at which differences are looked for, at most: screens melt there
_EDGES, _FIRM = 0.14, 60.0  # share of pixels that count as edges, and the least gradient of one
_NEAR = 2  # pixels by which edges of one line may lie apart
_REACH = 0.012  # sigma to the longer side of the area whose edges are counted together
_ALONE, _ALONE_TEXT = 0.65, 0.4  # share of edges without partner from which on art and text differ
_BUSY = 0.05  # share of an area's pixels that are edges, at least
_BLANK = 6.0  # levels: the spread in a row or column below which it is blank; three times that is not
_FRAME = 0.006  # of the longer side: what is masked beyond the edge of what differs
_SMALLEST = 0.0004  # share of the common area


@dataclass(frozen=True)
class Registered:
    """A colour picture on a gray page.

    box: (left, top, right, bottom) of the common area on the gray page.
    color: (h, w, 3) sRGB, in the frame of the common area.
    masked: (h, w) where the two show different things, or the picture does not reach.
    onto: (3, 3), from points of the picture to points of the common area.
    warp: (y, x, 2) float32, the residual on a coarse grid over the common area: a pixel of the page shows what lies so
        far from it, in pixels of the page, by `onto` alone.
    """

    box: tuple[int, int, int, int]
    color: U8
    masked: Mask
    onto: F64
    warp: F32


def register(color: U8, gray: U8, homography: F64) -> Registered | None:
    """Lay a colour picture on a gray page; None where they have less than 32 pixels in common.

    color: (Hc, Wc, 3) sRGB.
    gray: (H, W) levels.
    homography: from points of the picture to points of the page, as in `imaging.matching.Fit`.
    """
    box = common_box((color.shape[1], color.shape[0]), (gray.shape[1], gray.shape[0]), homography)
    if min(box[2] - box[0], box[3] - box[1]) < LEAST_SIDE:
        return None
    left, top, right, bottom = box
    crop = gray[top:bottom, left:right]
    onto = np.array([[1.0, 0, -left], [0, 1, -top], [0, 0, 1]]) @ homography
    color, used = _no_finer(color, onto)
    scale = min(1.0, math.sqrt(_AREA / crop.size))
    size = (max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale)))
    small_onto = np.diag([size[0] / crop.shape[1], size[1] / crop.shape[0], 1.0]) @ used
    small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    ink = even_ink(small, 2 * _AREA)
    laid, inside = _laid(luma(color), small_onto, size)
    coarse = _residual(ink, even_ink(laid, 2 * _AREA), inside)
    flow = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    columns, rows = np.meshgrid(np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32))
    laid, inside = (
        cv2.remap(values, columns + flow[..., 0], rows + flow[..., 1], how, borderMode=cv2.BORDER_REPLICATE)
        for values, how in ((laid, cv2.INTER_LINEAR), (inside, cv2.INTER_NEAREST))
    )
    masked = find_differences(small, laid, inside > 0)
    full = cv2.resize(masked.astype(np.uint8), (crop.shape[1], crop.shape[0]), interpolation=cv2.INTER_NEAREST) > 0
    warp = coarse * np.array([crop.shape[1] / size[0], crop.shape[0] / size[1]], np.float32)
    return Registered(box, _warped(color, used, warp, crop.shape), full, onto, warp)


def common_box(color: tuple[int, int], gray: tuple[int, int], homography: F64) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) on the gray page of the part of it that a colour picture covers.

    color, gray: (width, height) of the pictures.
    """
    quad = moved(corners(color), homography)
    left, top = np.floor(quad.min(axis=0) + 0.5).clip(0, gray).astype(int).tolist()
    right, bottom = np.floor(quad.max(axis=0) + 0.5).clip(0, gray).astype(int).tolist()
    return left, top, right, bottom


def _no_finer(color: U8, homography: F64) -> tuple[U8, F64]:
    """Return the picture and its matrix, made smaller where it is finer than the page: samples would beat."""
    height, width = color.shape[:2]
    quad = moved(corners((width, height)), homography).astype(np.float32)
    scale = math.sqrt(abs(cv2.contourArea(quad)) / (width * height))
    if scale >= 0.75:
        return color, homography
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(color, size, interpolation=cv2.INTER_AREA)
    return small, homography @ np.diag([width / size[0], height / size[1], 1.0])


def _laid(level: U8, matrix: F64, size: tuple[int, int]) -> tuple[U8, U8]:
    """Return a picture in the frame of the page, and 255 where it reaches."""
    centred = for_centres(matrix)
    laid = cv2.warpPerspective(level, centred, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.warpPerspective(np.full_like(level, 255), centred, size, flags=cv2.INTER_NEAREST)
    return laid, inside


def _residual(ink: U8, laid: U8, inside: U8) -> F32:
    """Return (y, x, 2), how far from a pixel of the ink its line lies in the picture, smoothed, on a coarse grid.

    The flow is that of dense inverse search (Kroeger et al. 2016). It counts where both have edges, and where the flow
    back leads home.
    """
    height, width = ink.shape
    flow, back = (_flow(*pair) for pair in ((ink, laid), (laid, ink)))
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    home = flow + cv2.remap(back, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR)
    off = np.linalg.norm(home, axis=-1)
    near = np.linalg.norm(flow, axis=-1) < _MOST * max(ink.shape)
    weight = np.minimum(_steepness(ink), _steepness(laid)) ** 2 * np.exp(-((off / _TRUE) ** 2)) * (inside > 0) * near
    small = (max(2, width // _STEP), max(2, height // _STEP))
    sigma = _SMOOTH * max(small)
    parts = [
        cv2.GaussianBlur(cv2.resize(values, small, interpolation=cv2.INTER_AREA), (0, 0), sigma)
        for values in (weight * flow[..., 0], weight * flow[..., 1], weight)
    ]
    held = parts[2] + np.float32(1e-3) * max(float(parts[2].max()), 1e-6)  # where nothing is known the warp fades out
    return np.stack([parts[0] / held, parts[1] / held], axis=-1)


def _flow(one: U8, other: U8) -> F32:
    if min(one.shape) < 64:  # less than the search's coarsest level can hold
        return np.zeros((*one.shape, 2), np.float32)
    return np.asarray(cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(one, other, None))


def _steepness(view: U8) -> F32:
    return cv2.magnitude(*(cv2.Sobel(view, cv2.CV_32F, *order) for order in ((1, 0), (0, 1))))


def _warped(color: U8, onto: F64, coarse: F32, shape: tuple[int, ...]) -> U8:
    """Return the picture in the frame of the common area, (h, w, 3)."""
    height, width = shape
    back = np.linalg.inv(onto)
    warp = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    out = np.empty((height, width, 3), np.uint8)
    for rows in bands((height, width)):
        y, x = np.mgrid[rows.start : rows.stop, :width].astype(np.float64) + 0.5
        points = np.stack([x + warp[rows, :, 0], y + warp[rows, :, 1], np.ones_like(x)], axis=-1) @ back.T
        points = (points[..., :2] / points[..., 2:] - 0.5).astype(np.float32)
        out[rows] = cv2.remap(color, points, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return out


def find_differences(gray: U8, laid: U8, inside: Mask) -> Mask:
    """Return where two registered pages show different things, or one of them shows nothing.

    gray: (h, w) levels of the gray page.
    laid: (h, w) levels of the colour picture in its frame.
    inside: (h, w) where the picture reaches; all else differs.

    Text (imaging.text) of either page differs where most of its edges have no partner in the other. So does art that
    most lines of the gray page are missing in: colours may add lines, and do not take any away.
    """
    both = [find_text(page) for page in (gray, laid)]
    ink, other = (even_ink(page, _COARSE) for page in (gray, laid))
    there = _resized(inside, ink.shape)
    edges, theirs = (_firm_edges(view, there) for view in (ink, other))
    missing, added = _without(edges, theirs), _without(theirs, edges)
    text = _resized(both[0] | both[1], ink.shape)
    differ = _text_apart(text, edges + theirs, missing + added) | _lines_missing(edges, missing)
    differ |= _blank_frame(ink, other, there)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * max(1, round(_FRAME * max(ink.shape))) + 1,) * 2)
    closed = cv2.morphologyEx(differ.astype(np.uint8), cv2.MORPH_CLOSE, kernel, iterations=2)
    grown = cv2.dilate(closed, kernel) > 0
    return _resized(grown, gray.shape) | ~inside


def _text_apart(text: Mask, edges: U8, alone: F32) -> Mask:
    """Return the components of the text most of whose edges are alone."""
    count, labels = cv2.connectedComponents(text.astype(np.uint8))
    both, single = (np.bincount(labels.ravel(), weights=values.ravel(), minlength=count) for values in (edges, alone))
    apart = single > _ALONE_TEXT * np.maximum(both, 1)
    apart[0] = False
    return np.asarray(apart[labels])


def _lines_missing(edges: U8, missing: F32) -> Mask:
    sigma = _REACH * max(edges.shape)
    there = cv2.GaussianBlur(edges.astype(np.float32), (0, 0), sigma)
    differ = (cv2.GaussianBlur(missing, (0, 0), sigma) > _ALONE * there) & (there > _BUSY)
    _, labels, figures, _ = cv2.connectedComponentsWithStats(differ.astype(np.uint8))
    large = figures[:, cv2.CC_STAT_AREA] >= _SMALLEST * edges.size
    large[0] = False
    return np.asarray(large[labels])


def _blank_frame(ink: U8, other: U8, inside: Mask) -> Mask:
    """Return the rows and columns at the edges of the common area that are blank in one page and not in the other."""
    blank = np.zeros(ink.shape, bool)
    pages = [np.where(inside, page, np.uint8(128)) for page in (ink, other)]
    for axis in (0, 1):
        spread = [page.std(axis=1 - axis) for page in pages]
        apart = (np.minimum(*spread) < _BLANK) & (np.maximum(*spread) > 3 * _BLANK)
        for lines in (apart, apart[::-1]):
            count = int(np.argmin(lines)) if not lines.all() else 0
            strip = slice(0, count) if lines is apart else slice(len(lines) - count, len(lines))
            blank[(strip, slice(None)) if axis == 0 else (slice(None), strip)] = True
    return blank


def _resized(mask: Mask, shape: tuple[int, ...]) -> Mask:
    size = (shape[1], shape[0])
    return np.asarray(cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0)


def _firm_edges(view: U8, inside: Mask) -> U8:
    """Return 1 at the steepest pixels inside."""
    steep = _steepness(cv2.GaussianBlur(view, (0, 0), 0.8))
    edge = float(np.quantile(steep[inside], 1 - _EDGES)) if inside.any() else 0.0
    return ((steep > max(edge, _FIRM)) & inside).astype(np.uint8)


def _without(one: U8, other: U8) -> F32:
    """Return 1 at edges of the one that have none of the other near."""
    near = cv2.dilate(other, np.ones((2 * _NEAR + 1,) * 2, np.uint8))
    return ((one > 0) & (near == 0)).astype(np.float32)
