"""Colour spaces of a page.

H, W: pixels.
sRGB is uint8 (IEC 61966-2-1). L is in [0, 100], ab in about [-110, 110] (CIELAB, D65, 2 degrees).

A gray level g stands for the luminance of the sRGB gray (g, g, g). So the gray of equal L* is gamma-encoded relative
luminance, and needs no cube root.
"""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from imaging.bands import ChromaRows, bands, resized_chroma
from imaging.colorimetry import (
    LAB_DELTA,
    LAB_EPSILON,
    LAB_KAPPA,
    RGB_TO_XYZN,
    SRGB_GAMMA,
    SRGB_KNEE_ENCODED,
    SRGB_KNEE_LINEAR,
    SRGB_OFFSET,
    SRGB_SLOPE,
    XYZN_TO_RGB,
)

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

_RGB_TO_XYZN = RGB_TO_XYZN.astype(np.float32)
_XYZN_TO_RGB = XYZN_TO_RGB.astype(np.float32)
_LUMINANCE = _RGB_TO_XYZN[1:2]
_TINY = np.float32(1e-9)  # of linear light


@cache
def _linear_of_level() -> F32:
    level = np.arange(256, dtype=np.float64) / 255
    power = ((level + SRGB_OFFSET) / (1 + SRGB_OFFSET)) ** SRGB_GAMMA
    return np.where(level <= SRGB_KNEE_ENCODED, level / SRGB_SLOPE, power).astype(np.float32)


@cache
def _level_of_linear() -> U8:
    """Return 8-bit sRGB for 65,536 steps of linear light.

    A step is under 0.05 levels at the dark end.
    """
    linear = np.arange(65536, dtype=np.float64) / 65535
    root = (1 + SRGB_OFFSET) * linear ** (1 / SRGB_GAMMA) - SRGB_OFFSET
    encoded = np.where(linear <= SRGB_KNEE_LINEAR, linear * SRGB_SLOPE, root)
    return np.round(encoded * 255).astype(np.uint8)


def _encode(linear: F32) -> U8:
    """Turn linear light into sRGB levels; what lies outside [0, 1] is cut off."""
    step = linear * np.float32(65535)
    step += np.float32(0.5)
    np.clip(step, 0, 65535, out=step)
    return np.take(_level_of_linear(), step.astype(np.uint16))


@cache
def lightness_of_level() -> F32:
    """Return (256,) CIELAB L* of each gray level."""
    y = _linear_of_level().astype(np.float64)
    return np.where(y > LAB_EPSILON, 116 * np.cbrt(y) - 16, LAB_KAPPA * y).astype(np.float32)


def gray_of_equal_lightness(rgb: U8) -> U8:
    """Return the gray page in which each pixel has the CIELAB L* of its colour.

    rgb: (H, W, 3) sRGB.

    Returns (H, W) gray levels, to within half a level.
    """
    height, width = rgb.shape[:2]
    gray = np.empty((height, width), np.uint8)
    for rows in bands((height, width)):
        linear = cv2.LUT(rgb[rows], _linear_of_level())
        gray[rows] = _encode(cv2.transform(linear, _LUMINANCE).reshape(gray[rows].shape))
    return gray


def neutral_levels(rgb: U8) -> U8 | None:
    """Return the levels (H, W) of a picture (H, W, 3) that is neutral in every pixel; None of any other."""
    height, width = rgb.shape[:2]
    levels = np.empty((height, width), np.uint8)
    for rows in bands((height, width)):
        red, green, blue = cv2.split(rgb[rows])
        if not (np.array_equal(red, green) and np.array_equal(red, blue)):
            return None
        levels[rows] = red
    return levels


def luma(rgb: U8) -> U8:
    """Return the gray that the usual converters make.

    rgb: (H, W, 3) sRGB.

    Returns (H, W) uint8: 0.299 R + 0.587 G + 0.114 B of the encoded values (ITU-R BT.601).
    """
    gray: U8 = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return gray


def to_lab(rgb: U8) -> F32:
    """Convert sRGB to CIELAB (CIE 15, D65).

    rgb: (H, W, 3) uint8.

    Returns (H, W, 3) float32: L, a, b.
    """
    xyz: F32 = cv2.transform(_linear_of_level()[rgb], _RGB_TO_XYZN)
    f = np.where(xyz > LAB_EPSILON, np.cbrt(xyz), (np.float32(LAB_KAPPA) * xyz + 16) / 116).astype(np.float32)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def join_chroma(ink: U8, chroma: F32 | ChromaRows) -> U8:
    """Lay predicted colour under the source's own ink.

    ink: (H, W) uint8 gray levels of the page at full size.
    chroma: (h, w, 2) float32 ab, resized to (H, W); or the page's rows of chroma.

    Returns (H, W, 3) uint8 sRGB with the luminance of `ink`: L* is the same within the rounding of 8 bits. A colour out
    of gamut gives up chroma until it fits. It moves towards the gray of its own luminance along a straight line in
    linear light, which leaves luminance as it is.
    """
    rows_of = chroma if callable(chroma) else resized_chroma(chroma, ink.shape)
    page = np.empty((*ink.shape, 3), np.uint8)
    for rows in bands(ink.shape):
        page[rows] = cv2.merge(_joined(ink[rows], rows_of(rows)))
    return page


def _joined(ink: U8, chroma: F32) -> list[U8]:
    """Return the three channels, (n, W) each, of ink (n, W) and chroma (2, n, W)."""
    fy, y = cv2.LUT(ink, _f_of_level()), cv2.LUT(ink, _linear_of_level())
    x = _inverse_f(fy + chroma[0] * np.float32(1 / 500))
    z = _inverse_f(fy - chroma[1] * np.float32(1 / 200))
    x -= y  # with D65 as white the gray of luminance y is (y, y, y): offsets from it are linear in x - y and z - y
    z -= y
    offsets = [x * row[0] + z * row[2] for row in _XYZN_TO_RGB]
    # The largest share of the way from gray that keeps every channel within [0, 1]. This is in closed form; scaling ab
    # would need a search. The price is a small shift of hue for colours out of gamut.
    highest = np.maximum(np.maximum(offsets[0], offsets[1]), offsets[2]).clip(_TINY, np.inf)
    lowest = np.minimum(np.minimum(offsets[0], offsets[1]), offsets[2]).clip(-np.inf, -_TINY)
    room = np.minimum((1 - y) / highest, y / -lowest).clip(0, 1)
    for offset in offsets:
        offset *= room
        offset += y
    return [_encode(offset) for offset in offsets]


@cache
def _f_of_level() -> F32:
    return ((lightness_of_level() + 16) / 116).astype(np.float32)


def _inverse_f(f: F32) -> F32:
    """Turn CIELAB's f into linear light over white (CIE 15).

    It is the cube of f, and below 6/29 a straight line.
    """
    # Line and cube meet at 6/29. So each is taken of f as far as it goes, and a mask is not needed, which is slow.
    straight = f.clip(-np.inf, LAB_DELTA)
    straight -= np.float32(LAB_DELTA)
    straight *= np.float32(116 / LAB_KAPPA)
    above = f.clip(LAB_DELTA, np.inf)
    cube = above * above
    cube *= above
    cube += straight
    return cube


def is_color_page(rgb: U8, *, chroma: float = 12.0, share: float = 0.005) -> bool:
    """Return whether a page is already in colour, not counting a tint over the whole page.

    rgb: (H, W, 3) sRGB.
    chroma: what is longer than this, in CIELAB units, counts as colour.
    share: the page is in colour if more than this share of its pixels is.

    The page is examined with its longer side at 256 pixels. A tint, as of yellowed paper or a JPEG cast, is a straight
    line of ab over L that most pixels keep to. It is subtracted, as far as a tint goes, before colour is counted.
    """
    height, width = rgb.shape[:2]
    scale = min(1.0, 256 / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    lab = to_lab(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)).reshape(-1, 3)
    residual = lab[:, 1:] - _tint(lab)
    return bool((np.hypot(residual[:, 0], residual[:, 1]) > chroma).mean() > share)


_MOST_TINT = 25.0  # chroma of the yellowest paper; what goes beyond is colour
_TINT_ROUNDS = 8


def _tint(lab: F32) -> F32:
    """Return (N, 2) ab of the page's tint at each pixel's lightness.

    It is a line fitted to the least sum of distances.
    """
    basis = np.stack([np.ones(len(lab), np.float32), lab[:, 0] / 100], axis=1)
    weight = np.ones(len(lab), np.float32)
    tint = np.zeros_like(lab[:, 1:])
    for _ in range(_TINT_ROUNDS):  # weights of 1 / distance turn least squares into least distances
        weighted = basis * weight[:, None]
        line = np.linalg.lstsq(weighted.T @ basis + 1e-6 * np.eye(2), weighted.T @ lab[:, 1:], rcond=None)[0]
        tint = (basis @ line).astype(np.float32)
        distance = np.hypot(*(lab[:, 1:] - tint).T)
        weight = (1 / np.maximum(distance, 1)).astype(np.float32)
    length = np.hypot(tint[:, 0], tint[:, 1])
    return tint * np.minimum(1, _MOST_TINT / np.maximum(length, _MOST_TINT))[:, None]
