"""Local features of a page, by which pages are found and compared: of its ink, whatever its colours and screens.

H, W: pixels of the page.
N: features of a page.
x, y: pixels of the page from its upper left corner, pixel centres at halves.

Features are SIFT (Lowe 2004) with root-normalised descriptors (Arandjelovic and Zisserman 2012), all upright: pages
are, to within some degrees, and a descriptor that need not turn tells more.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from imaging.color import F32, U8, luma

LENGTH = 512  # of a descriptor: entries are integers, the root of a share of the gradient times this
_AREA = 600_000  # pixels that features are found at, at most
_VIEW_AREA = 240_000  # pixels of the view that edges are compared on, at most
_MOST = 800  # features of a page
_LEAST_CONTRAST = 0.015
_SOFT = 1.0  # pixels: sigma that melts what is left of screens at the size of the features
_AROUND = 24.0  # pixels: sigma of what is "around" a pixel, whose mean and spread are evened out
_SPREAD = 12.0  # levels: spreads below count as this, or empty paper would become noise
_BINS, _TURNS = 4, 8  # of SIFT: cells along a side of a descriptor, directions of a gradient


@dataclass(frozen=True)
class Features:
    """What is kept of a page to find and compare it.

    size: (W, H).
    points: (N, 2) float32, x and y of each feature.
    scales: (N,) float32, pixels: the size of the neighbourhood that a feature describes.
    descriptors: (N, 128) uint8 of length 512.
    view: (h, w) uint8, the page small and evened out, by `even_ink`.
    """

    size: tuple[int, int]
    points: F32
    scales: F32
    descriptors: U8
    view: U8

    def mirrored(self) -> "Features":
        """Return the features of the page seen in a mirror, left and right changed."""
        points = self.points.copy()
        points[:, 0] = self.size[0] - points[:, 0]
        return Features(self.size, points, self.scales, mirror(self.descriptors), self.view[:, ::-1])


def find_features(picture: U8) -> Features:
    """Return the features of a page, the strongest 800.

    picture: (H, W) levels or (H, W, 3) sRGB.
    """
    height, width = picture.shape[:2]
    ink = even_ink(picture, _AREA)
    scale = np.array([width / ink.shape[1], height / ink.shape[0]], np.float32)
    sift = cv2.SIFT.create(nfeatures=_MOST, contrastThreshold=_LEAST_CONTRAST)
    found: Sequence[cv2.KeyPoint] = _distinct(sift.detect(ink, None))
    found, raw = sift.compute(ink, found) if found else ([], None)
    if raw is None or not len(raw):
        points, scales, raw = np.zeros((0, 2)), np.zeros(0), np.zeros((0, 128), np.float32)
    else:
        points = (np.array([point.pt for point in found]) + 0.5) * scale
        scales = np.array([point.size for point in found]) * float(scale.mean())
    return Features(
        (width, height),
        points.astype(np.float32),
        scales.astype(np.float32),
        _rooted(raw),
        cv2.resize(ink, _within(ink.shape, _VIEW_AREA), interpolation=cv2.INTER_AREA),
    )


def even_ink(picture: U8, area: int) -> U8:
    """Return a page's ink, small, with its tones evened out: a line is as dark on a dark ground as on a light one.

    picture: (H, W) levels or (H, W, 3) sRGB.
    area: pixels of the result, at most. A smaller page keeps its size.

    Returns (h, w) levels around 128.
    """
    gray = luma(picture) if picture.ndim == 3 else picture
    small = cv2.resize(gray, _within(gray.shape, area), interpolation=cv2.INTER_AREA).astype(np.float32)
    small = cv2.GaussianBlur(small, (0, 0), _SOFT)
    mean = cv2.GaussianBlur(small, (0, 0), _AROUND)
    small -= mean
    spread = cv2.sqrt(cv2.GaussianBlur(small * small, (0, 0), _AROUND))
    small *= 48 / np.maximum(spread, _SPREAD)
    return np.clip(small + 128, 0, 255).astype(np.uint8)


def mirror(descriptors: U8) -> U8:
    """Return the descriptors that the features have in a mirror: columns change sides, and directions with them."""
    cells = descriptors.reshape(-1, _BINS, _BINS, _TURNS)
    turns = (_TURNS // 2 - np.arange(_TURNS)) % _TURNS
    return np.ascontiguousarray(cells[:, :, ::-1][..., turns]).reshape(descriptors.shape)


def _within(shape: tuple[int, ...], area: int) -> tuple[int, int]:
    """Return (width, height) of a picture of this shape, made smaller where it has more than `area` pixels."""
    height, width = shape[:2]
    scale = min(1.0, math.sqrt(area / (height * width)))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _distinct(found: "Sequence[cv2.KeyPoint]") -> "list[cv2.KeyPoint]":
    """Return the points upright, each once: SIFT gives one twice where two directions are strong."""
    upright: dict[object, cv2.KeyPoint] = {}
    for point in found:
        point.angle = 0.0
        upright.setdefault((point.pt, point.size), point)
    return list(upright.values())


def _rooted(raw: NDArray[np.float32]) -> U8:
    share = raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-6)
    return np.clip(np.round(np.sqrt(share) * LENGTH), 0, 255).astype(np.uint8)
