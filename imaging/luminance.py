"""The luminance of a coloured page: the ink's, the network's, or the ink's with the network's shading.

H, W: pixels of the page.
h, w: pixels of the network's map.
Lightness is CIELAB L*, in [0, 100].
"""

from typing import Literal

import cv2
import numpy as np

from imaging.bands import bands, resized_rows
from imaging.color import F32, U8, lightness_of_level
from imaging.components import Mask
from imaging.text import fade

Luminance = Literal["keep", "blend", "predict"]

_HALF = 0.5  # share that is applied of the network's difference in shading
_NOISE = 3.0  # L*: smaller differences are not believed; else paper seen a trace darker would be tinted
_SOFT = 0.02  # sigma to the map's shorter side: what this blur leaves of a difference is shading
_MOST = 15.0  # L*: the largest step; what is further off is not shading
_DARK = 30.0  # L*: below this, ink moves less the darker it is, and black not at all


def relight(gray: U8, lightness: F32, luminance: Luminance, text: Mask | None = None) -> U8:
    """Return the gray levels of a page after the luminance that was chosen.

    gray: (H, W) levels of the ink.
    lightness: (h, w) L* that the network predicts.
    luminance: one of three:
        keep: `gray` itself.
        predict: the network's lightness, resized; no line is finer than its map.
        blend: the ink with the network's shading. The difference of the two is blurred, and a pixel moves by
            half of its excess over 3 L*, by 15 L* at most. Lines and screens stay, light changes softly,
            and darker ink stays darker.
    text: (H, W) mask that `blend` leaves as it is; None for no text.

    Returns (H, W) levels.
    """
    if luminance == "keep":
        return gray
    table = lightness_of_level()
    if luminance == "predict":
        step = lightness
    else:
        small = cv2.resize(gray, lightness.shape[::-1], interpolation=cv2.INTER_AREA)
        other = lightness - table[small]
        soft = cv2.GaussianBlur(other, (0, 0), max(_SOFT * min(other.shape), 0.1), borderType=cv2.BORDER_REPLICATE)
        seen = np.sign(soft) * np.maximum(np.abs(soft) - np.float32(_NOISE), 0)
        step = np.clip(_HALF * seen, -_MOST, _MOST)
    relit = np.empty_like(gray)
    for rows in bands(gray.shape):
        lit = resized_rows(step, gray.shape, rows)
        if luminance == "blend":
            if text is not None:
                fade(lit, text, rows)
            ink = cv2.LUT(gray[rows], table)
            lit *= np.minimum(ink / np.float32(_DARK), 1)
            lit += ink
        relit[rows] = _levels(lit)
    return relit


def _levels(lightness: F32) -> U8:
    """Return the gray levels nearest to these lightnesses."""
    table = lightness_of_level()
    between = ((table[1:] + table[:-1]) / 2).astype(np.float32)
    return np.searchsorted(between, lightness.ravel()).astype(np.uint8).reshape(lightness.shape)
