"""Two editions of drawn pages for the tests of pairing: the colour page, and a gray one that was printed otherwise."""

from functools import cache

import cv2
import numpy as np

from datasets.synthetic import Series, draw_page
from imaging.color import U8
from imaging.matching import F64, for_centres

SERIES = Series(seed=3, chapters=2, pages=6, width=640, height=900)


@cache
def page(number: int) -> tuple[U8, U8]:
    """The ink (H, W) and the colours (H, W, 3) of a page, by a number from 0 to 11."""
    drawn = draw_page(SERIES, 1 + number // SERIES.pages, 1 + number % SERIES.pages)
    return drawn.ink, drawn.color


def turned(degrees: float, scale: float, shift: tuple[float, float], tilt: float = 0.0) -> F64:
    """The homography that turns and scales a page about its upper left corner, and tilts it a little."""
    angle = np.radians(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2], matrix[2, 0] = turn, shift, tilt
    return matrix


def printed(ink: U8, matrix: F64, size: tuple[int, int]) -> U8:
    """The ink on a sheet of white paper of (width, height), where the homography puts it."""
    return np.asarray(cv2.warpPerspective(ink, for_centres(matrix), size, flags=cv2.INTER_AREA, borderValue=255))


def grid(size: tuple[int, int]) -> F64:
    """Points (N, 2) all over a picture of (width, height)."""
    x, y = np.meshgrid(np.linspace(0, size[0], 9), np.linspace(0, size[1], 9))
    return np.stack([x.ravel(), y.ravel()], axis=1)
