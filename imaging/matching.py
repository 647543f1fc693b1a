"""Where a colour picture lies on a gray page: by local features, a homography, and the edges that agree under it.

x, y: pixels of a page from its upper left corner, pixel centres at halves.
A homography is a (3, 3) float64 matrix from points of the colour picture to points of the gray page.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from imaging.color import F32, U8
from imaging.local_features import LENGTH, Features

F64 = NDArray[np.float64]

_RATIO = 0.88  # of the nearest feature's distance to the next one's, at most (Lowe's test)
_LEAST = 5  # features that must agree
_LOOSE, _TIGHT = 0.012, 0.004  # of the gray page's diagonal: how far apart features may lie that agree
_STEADY, _PERSPECTIVE = 12, 60  # features that an affine map takes, and a homography; with fewer it is a similarity
_MOST_TURN = math.radians(12)
_SCALES = (0.1, 10.0)
_MOST_SKEW = 0.25  # by which the sides of the quadrilateral may differ, as a share
_EDGES, _FIRM = 0.12, 60.0  # share of pixels that count as edges, and the least gradient of one
_TILES, _BUSY = 4, 40  # tiles to a side, and the edge pixels that both pages must have in one for it to tell anything
_LEAST_COMMON = 400  # pixels of the view in common, or nothing is said
_NEAR = 1  # pixels of the view by which edges may lie apart


@dataclass(frozen=True)
class Fit:
    """A colour picture laid on a gray page.

    homography: (3, 3), of the picture as it is, in a mirror or not.
    mirrored: whether left and right are changed.
    inliers: features that agree.
    tentative: features that passed the ratio test.
    overlap: how far edges agree where both pages lie, 0 for chance and 1 for all.
    evenness: the same for the poorer quarter of the common area's tiles: near 0 where pages are alike in part alone.
    shared: share of the colour picture that lies on the gray page.
    """

    homography: F64
    mirrored: bool
    inliers: int
    tentative: int
    overlap: float
    evenness: float
    shared: float


def fit(color: Features, gray: Features, *, mirrored: bool = False) -> Fit | None:
    """Lay a colour picture on a gray page; None where they have nothing in common.

    mirrored: look for the picture in a mirror.
    """
    shown = color.mirrored() if mirrored else color
    if min(len(shown.points), len(gray.points)) < _LEAST:
        return None
    alike = shown.descriptors.astype(np.float32) @ gray.descriptors.astype(np.float32).T
    pairs = _distinctive(alike)
    if len(pairs) < _LEAST:
        return None
    source, target = shown.points[pairs[:, 0]], gray.points[pairs[:, 1]]
    diagonal = math.hypot(*gray.size)
    first = _similarity(source, target, _LOOSE * diagonal)
    if first is None or not _plausible(first, shown.size):
        return None
    matrix, inliers = _refined(source, target, first, diagonal)
    if inliers < _LEAST or not _plausible(matrix, shown.size):
        return None
    overlap, evenness, shared = edge_overlap(shown, gray, matrix)
    if mirrored:
        matrix = matrix @ np.array([[-1.0, 0, color.size[0]], [0, 1, 0], [0, 0, 1]])
    return Fit(matrix, mirrored, inliers, len(pairs), overlap, evenness, shared)


def _distinctive(alike: F32) -> NDArray[np.int64]:
    """Return (M, 2): features that are nearest to each other, and much nearer than the next of the gray page.

    alike: (N, M) products of the descriptors; it is the same after the call.
    """
    nearest = alike.argmax(axis=1)
    rows = np.arange(len(alike))
    best = alike[rows, nearest]
    mutual = alike.argmax(axis=0)[nearest] == rows
    alike[rows, nearest] = -1
    second = alike.max(axis=1)
    alike[rows, nearest] = best
    kept = np.flatnonzero(mutual & (_distance(best) < _RATIO * _distance(second)))
    return np.stack([kept, nearest[kept]], axis=1)


def _distance(alike: F32) -> F32:
    return np.sqrt(np.maximum(2 * LENGTH**2 - 2 * alike, 0))


def _similarity(source: F32, target: F32, near: float) -> F64 | None:
    """Return the similarity on which most features agree to within `near` pixels; None for fewer than five."""
    cv2.setRNGSeed(0)
    found, agree = cv2.estimateAffinePartial2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=near, maxIters=3000, confidence=0.999
    )
    return None if found is None or int(agree.sum()) < _LEAST else np.vstack([found, [0, 0, 1]])


def _refined(source: F32, target: F32, matrix: F64, diagonal: float) -> tuple[F64, int]:
    """Return a better matrix, of as many numbers as the features can tell, and how many features agree with it.

    source, target: (M, 2) points of the two pages.
    """
    for share in (_LOOSE, _TIGHT, _TIGHT):
        agree = np.linalg.norm(moved(source, matrix) - target, axis=1) < share * diagonal
        count = int(agree.sum())
        better = None
        if count >= _PERSPECTIVE:
            better = cv2.findHomography(source[agree], target[agree], cv2.RANSAC, _TIGHT * diagonal)[0]
        elif count >= _STEADY:
            affine = cv2.estimateAffine2D(source[agree], target[agree], ransacReprojThreshold=_TIGHT * diagonal)[0]
            better = None if affine is None else np.vstack([affine, [0, 0, 1]])
        matrix = matrix if better is None else better
    away = np.linalg.norm(moved(source, matrix) - target, axis=1)
    return matrix, int((away < _TIGHT * diagonal).sum())


def moved(points: NDArray, matrix: F64) -> F64:
    """Return (N, 2) points under a homography."""
    flat = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return np.asarray(flat[:, :2] / flat[:, 2:])


def corners(size: tuple[int, int]) -> F64:
    """Return (4, 2), the corners of a picture of this (W, H), clockwise from the upper left."""
    width, height = size
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)


def _plausible(matrix: F64, size: tuple[int, int]) -> bool:
    """Return whether a picture may lie so on a page: upright, hardly slanted, of a sensible scale."""
    flat = np.column_stack([corners(size), np.ones(4)]) @ matrix.T
    if (flat[:, 2] <= 0.2).any():
        return False
    quad = flat[:, :2] / flat[:, 2:]
    sides = np.roll(quad, -1, axis=0) - quad
    long = np.linalg.norm(sides, axis=1) / np.array([size[0], size[1]] * 2)
    turns = np.arctan2(sides[:, 1], sides[:, 0]) - np.arange(4) * np.pi / 2
    turns = (turns + np.pi) % (2 * np.pi) - np.pi
    even = long.max() <= (1 + _MOST_SKEW) * long.min()
    return bool(even and np.abs(turns).max() <= _MOST_TURN and _SCALES[0] <= long.mean() <= _SCALES[1])


def edge_overlap(color: Features, gray: Features, matrix: F64) -> tuple[float, float, float]:
    """Return how far the edges of two pages agree under a homography: over all, and in the poorer quarter of the tiles
    of the common area; and the share of the colour picture that lies on the page.

    The agreement is Cohen's kappa of edge pixels with room of a pixel: 0 for chance, 1 for all. Both pages' edges must
    be found in the other; the worse direction counts.
    """
    scale = _scaling(gray) @ matrix @ np.linalg.inv(_scaling(color))
    size = (gray.view.shape[1], gray.view.shape[0])
    laid = cv2.warpPerspective(color.view, for_centres(scale), size, flags=cv2.INTER_AREA, borderValue=128)
    inside = cv2.warpPerspective(np.full_like(color.view, 255), for_centres(scale), size, flags=cv2.INTER_NEAREST)
    common = cv2.erode(inside, np.ones((5, 5), np.uint8), borderValue=0) > 0
    area = abs(cv2.contourArea(moved(corners(color.size), matrix).astype(np.float32)))
    whole = area * size[0] * size[1] / (gray.size[0] * gray.size[1])
    shared = min(1.0, float((inside > 0).sum()) / max(whole, 1.0))
    if common.sum() < _LEAST_COMMON:
        return 0.0, 0.0, shared
    one, other = _edges(laid, common), _edges(gray.view, common)
    near = [cv2.dilate(edges, np.ones((2 * _NEAR + 1,) * 2, np.uint8)) > 0 for edges in (one, other)]
    overlap = min(_agreement(one, near[1], common), _agreement(other, near[0], common))
    left, top, wide, high = cv2.boundingRect(common.astype(np.uint8))
    found = []
    for row in range(_TILES):
        for column in range(_TILES):
            tile = np.s_[
                top + high * row // _TILES : top + high * (row + 1) // _TILES,
                left + wide * column // _TILES : left + wide * (column + 1) // _TILES,
            ]
            if min((one[tile] > 0).sum(), (other[tile] > 0).sum()) >= _BUSY:
                parts = ((one, near[1]), (other, near[0]))
                found.append(max(_agreement(edges[tile], met[tile], common[tile]) for edges, met in parts))
    return overlap, float(np.quantile(found, 0.25)) if found else overlap, shared


def _agreement(edges: U8, near: NDArray[np.bool_], common: NDArray[np.bool_]) -> float:
    """Return the share of edges that lie near the other page's, beyond chance."""
    there = (edges > 0) & common
    if not there.any():
        return 0.0
    chance = float(near[common].mean())
    return (float(near[there].mean()) - chance) / max(1 - chance, 1e-6)


def _edges(view: U8, common: NDArray[np.bool_]) -> U8:
    """Return 255 at the steepest pixels of the common area; paper's grain and JPEG's noise are none of them."""
    soft = cv2.GaussianBlur(view, (0, 0), 0.8)
    steep = cv2.magnitude(*(cv2.Sobel(soft, cv2.CV_32F, *order) for order in ((1, 0), (0, 1))))
    edge = np.quantile(steep[common], 1 - _EDGES)
    return ((steep > max(float(edge), _FIRM)) & common).astype(np.uint8) * 255


def _scaling(page: Features) -> F64:
    height, width = page.view.shape
    return np.diag([width / page.size[0], height / page.size[1], 1.0])


def for_centres(matrix: F64) -> F64:
    """Return the matrix for OpenCV, which counts from the centre of the first pixel."""
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return np.asarray(np.linalg.inv(half) @ matrix @ half)
