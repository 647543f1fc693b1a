"""Whose luminance a coloured page has: its ink's, the network's, or the ink's with the network's shading.

H, W pixels of the page; h, w of the network's map. Lightness is CIELAB L*, in [0, 100].
"""

from typing import Literal

import cv2
import numpy as np

from imaging.color import F32, U8, lightness_of_level
from imaging.components import Mask
from imaging.text import neutral

Luminance = Literal["keep", "blend", "predict"]

_HALF = 0.5  # of the shading that the network sees otherwise
_NOISE = 3.0  # L*: the network is no surer than this; paper that it sees a trace darker would take a tint
_SOFT = 0.02  # of the map's shorter side: shading is what is left of light when it is blurred by this (sigma)
_MOST = 15.0  # L*: further off is no shading
_DARK = 30.0  # L*: darker ink moves the less the darker it is, and black not at all


def relight(gray: U8, lightness: F32, luminance: Luminance, text: Mask | None = None) -> U8:
    """The gray levels of a page whose luminance the network has a say in.

    gray: (H, W) levels of the ink. lightness: (h, w), what the network says. text: (H, W), what `blend` leaves as it
    is. Returns (H, W) levels.

    keep: `gray`. predict: the network's own, stretched: no line is finer than its map. blend: each pixel of ink, moved
    by half of what the network sees otherwise around it beyond 3 L*, by 15 L* at the most: lines and screens stay,
    light changes softly. Darker ink stays darker.
    """
    if luminance == "keep":
        return gray
    size = gray.shape[::-1]
    if luminance == "predict":
        return _levels(cv2.resize(lightness, size, interpolation=cv2.INTER_LINEAR))
    small = cv2.resize(gray, lightness.shape[::-1], interpolation=cv2.INTER_AREA)
    other = lightness - lightness_of_level()[small]
    soft = cv2.GaussianBlur(other, (0, 0), max(_SOFT * min(other.shape), 0.1), borderType=cv2.BORDER_REPLICATE)
    seen = np.sign(soft) * np.maximum(np.abs(soft) - np.float32(_NOISE), 0)
    step = cv2.resize(np.clip(_HALF * seen, -_MOST, _MOST), size, interpolation=cv2.INTER_LINEAR)
    if text is not None:
        step = neutral(cv2.merge([step, step]), text)[..., 0]
    ink = lightness_of_level()[gray]
    return _levels(ink + step * np.minimum(ink / np.float32(_DARK), 1))


def _levels(lightness: F32) -> U8:
    """The gray levels nearest to these lightnesses."""
    table = lightness_of_level()
    between = ((table[1:] + table[:-1]) / 2).astype(np.float32)
    return np.searchsorted(between, lightness.ravel()).astype(np.uint8).reshape(lightness.shape)
