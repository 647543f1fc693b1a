"""Target spaces: what a network is asked to predict, as numbers in [-1, 1].

ab: chroma under the page's own luminance, as ab / 110.
rgb: the coloured page itself, as level / 127.5 - 1.

H, W: pixels.

Ink is a gray level (0 to 255) of the page, encoded as level / 127.5 - 1.
"""

import numpy as np

from imaging.color import F32, U8, to_lab

CHANNELS = {"ab": 2, "rgb": 3}
PAPER = {"ab": 0.0, "rgb": 1.0}  # white paper, in every channel
AB_RANGE = 110.0  # sRGB's own gamut reaches 107.9 (blue)


def quantized_target(rgb: U8, space: str) -> np.ndarray:
    """Return the truth of a training page in the least room: (C, H, W), int8 ab units or uint8 levels.

    rgb: (H, W, 3) sRGB.
    space: a key of CHANNELS.

    ab is rounded to whole units, a third of a just noticeable difference at the least.
    """
    if space == "ab":
        return np.round(to_lab(rgb)[..., 1:]).astype(np.int8).transpose(2, 0, 1)
    return rgb.transpose(2, 0, 1)


def chroma_of(prediction: F32, space: str) -> F32:
    """Return the chroma of a prediction, (H, W, 2) float32 ab.

    prediction: (C, H, W) in [-1, 1].
    space: the space that it is in, a key of CHANNELS.
    """
    if space == "ab":
        return np.ascontiguousarray(prediction.transpose(1, 2, 0)) * np.float32(AB_RANGE)
    return lab_of(prediction)[..., 1:]


def lab_of(prediction: F32) -> F32:
    """Return a prediction of space `rgb` as CIELAB, luminance included: (H, W, 3) L, a, b.

    prediction: (3, H, W) in [-1, 1].
    """
    levels = np.clip(np.round((prediction + 1) * 127.5), 0, 255).astype(np.uint8)
    return to_lab(np.ascontiguousarray(levels.transpose(1, 2, 0)))
