"""Colour conversions that gradients flow through. For whole pages without gradients there is imaging.color.

B batch; H, W pixels. sRGB in [0, 1] (IEC 61966-2-1). L in [0, 100], ab in about [-110, 110] (CIELAB, D65, 2 degrees).
All arithmetic is in float32, also under autocast: it is by element, which autocast leaves alone.
"""

import torch
from torch import Tensor

from imaging.colorimetry import (
    LAB_DELTA,
    LAB_EPSILON,
    LAB_KAPPA,
    LUMA,
    SRGB_GAMMA,
    SRGB_KNEE_ENCODED,
    SRGB_KNEE_LINEAR,
    SRGB_OFFSET,
    SRGB_SLOPE,
    XYZN_TO_RGB,
)

_XYZN_TO_RGB: list[list[float]] = XYZN_TO_RGB.tolist()
_U_SCALE, _V_SCALE = 0.492, 0.877  # ITU-R BT.601


def lightness(ink: Tensor) -> Tensor:
    """CIELAB L* of gray levels: ink (B, 1, H, W), sRGB gray levels in [-1, 1] -> (B, 1, H, W) in [0, 100]."""
    y = _linear(((ink.float() + 1) / 2).clamp(0, 1))
    bright = 116 * y.clamp(min=LAB_EPSILON) ** (1 / 3) - 16
    return torch.where(y > LAB_EPSILON, bright, LAB_KAPPA * y)


def lab_to_rgb(lightness: Tensor, ab: Tensor) -> Tensor:
    """CIELAB to sRGB: L (B, 1, H, W) and ab (B, 2, H, W) -> (B, 3, H, W) in [0, 1].

    A channel out of gamut is cut off in linear light, and its gradient is 0; all gradients are finite.
    """
    a, b = ab.float().split(1, 1)
    fy = (lightness.float() + 16) / 116
    xyz = [_inverse_f(fy + a / 500), _inverse_f(fy), _inverse_f(fy - b / 200)]
    linear = [sum(share * value for share, value in zip(row, xyz, strict=True)) for row in _XYZN_TO_RGB]
    return _encoded(torch.cat(linear, 1).clamp(0, 1))  # type: ignore[arg-type]


def yuv_of(rgb: Tensor) -> Tensor:
    """sRGB to the analog YUV of ITU-R BT.601: U = 0.492 (B - Y), V = 0.877 (R - Y), of the encoded values.

    rgb: (B, 3, H, W) in [0, 1]. Returns (B, 3, H, W): Y in [0, 1], U in [-0.436, 0.436], V in [-0.615, 0.615].
    """
    red, green, blue = rgb.float().split(1, 1)
    y = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return torch.cat([y, _U_SCALE * (blue - y), _V_SCALE * (red - y)], 1)


def rgb_of_yuv(yuv: Tensor) -> Tensor:
    """The reverse of `yuv_of`: (B, 3, H, W) -> (B, 3, H, W). What is out of gamut stays outside [0, 1]."""
    y, u, v = yuv.float().split(1, 1)
    red, blue = y + v / _V_SCALE, y + u / _U_SCALE
    green = (y - LUMA[0] * red - LUMA[2] * blue) / LUMA[1]
    return torch.cat([red, green, blue], 1)


# The base of a root is held in its own branch: the gradient of the branch not taken is 0, and 0 times the infinite
# slope at 0 is not a number. Whether `clamp` lets a gradient through at its very ends depends on the version of torch.


def _linear(encoded: Tensor) -> Tensor:
    """sRGB in [0, 1] to linear light."""
    power = ((encoded + SRGB_OFFSET) / (1 + SRGB_OFFSET)) ** SRGB_GAMMA
    return torch.where(encoded > SRGB_KNEE_ENCODED, power, encoded / SRGB_SLOPE)


def _encoded(linear: Tensor) -> Tensor:
    """Linear light in [0, 1] to sRGB."""
    root = (1 + SRGB_OFFSET) * linear.clamp(min=SRGB_KNEE_LINEAR) ** (1 / SRGB_GAMMA) - SRGB_OFFSET
    return torch.where(linear > SRGB_KNEE_LINEAR, root, SRGB_SLOPE * linear)


def _inverse_f(f: Tensor) -> Tensor:
    """From CIELAB's f to linear light over white (CIE 15): the cube, and below 6/29 a straight line."""
    return torch.where(f > LAB_DELTA, f**3, (116 * f - 16) / LAB_KAPPA)
