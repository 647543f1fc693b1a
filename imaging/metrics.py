"""How near a coloured page is to the truth.

H, W: pixels.
Pages are (H, W, 3) uint8 sRGB.
A mask (H, W) is True where a page is not judged, which is not all over; None where all of it is.
"""

from typing import TypeVar

import numpy as np
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from imaging.color import F32, U8, gray_of_equal_lightness, lightness_of_level, to_lab
from imaging.colorfulness import colorfulness as colorfulness
from imaging.components import Mask

Array = TypeVar("Array", U8, F32)


def ciede2000(ours: U8, truth: U8, masked: Mask | None = None) -> float:
    """Return the mean CIEDE2000 over the pixels; 1 is about a just noticeable difference.

    ours: (H, W, 3) sRGB.
    truth: (H, W, 3) sRGB.
    masked: pixels to leave out.
    """
    return float(judged(ciede2000_map(to_lab(ours), to_lab(truth)), masked).mean())


def judged(values: Array, masked: Mask | None) -> Array:
    """Return the values (H, W, ...) of the pixels that are judged, in one row; as they are where all of them are."""
    return values if masked is None else values[~masked]


def ciede2000_map(one: F32, other: F32) -> F32:
    """Return the CIEDE2000 of each pixel (Sharma, Wu, Dalal 2005).

    one: (..., 3) CIELAB.
    other: (..., 3) CIELAB.

    Returns (...).
    """
    l1, a1, b1 = (one[..., i] for i in range(3))
    l2, a2, b2 = (other[..., i] for i in range(3))
    mean7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    scale = 1.5 - 0.5 * np.sqrt(mean7 / (mean7 + np.float32(25.0**7)))
    c1, h1 = np.hypot(a1 * scale, b1), np.arctan2(b1, a1 * scale)
    c2, h2 = np.hypot(a2 * scale, b2), np.arctan2(b2, a2 * scale)
    turn = (h2 - h1 + np.pi) % (2 * np.pi) - np.pi
    hue_step = 2 * np.sqrt(c1 * c2) * np.sin(turn / 2)
    hue = h1 + turn / 2
    chroma, light = (c1 + c2) / 2, (l1 + l2) / 2
    t = (
        1
        - 0.17 * np.cos(hue - np.radians(30))
        + 0.24 * np.cos(2 * hue)
        + 0.32 * np.cos(3 * hue + np.radians(6))
        - 0.20 * np.cos(4 * hue - np.radians(63))
    )
    s_l = 1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2)
    s_c = 1 + 0.045 * chroma
    s_h = 1 + 0.015 * chroma * t
    degrees = np.degrees(hue) % 360
    rotation = np.radians(60) * np.exp(-(((degrees - 275) / 25) ** 2))
    chroma7 = chroma**7
    r_t = -2 * np.sqrt(chroma7 / (chroma7 + np.float32(25.0**7))) * np.sin(rotation)
    d_l, d_c, d_h = (l2 - l1) / s_l, (c2 - c1) / s_c, hue_step / s_h
    return np.sqrt(np.maximum(d_l**2 + d_c**2 + d_h**2 + r_t * d_c * d_h, 0)).astype(np.float32)


def psnr(ours: U8, truth: U8, masked: Mask | None = None) -> float:
    """Return the peak signal to noise ratio of the RGB levels, in dB; infinite for equal pages."""
    one, other = (_batch(page if masked is None else page[~masked][None]) for page in (ours, truth))
    return float(peak_signal_noise_ratio(one, other, data_range=255.0))


def ssim(ours: U8, truth: U8, masked: Mask | None = None) -> float:
    """Return the structural similarity of the RGB levels, in [-1, 1].

    masked: pixels to leave out; windows that reach into them see white there.

    Wang et al. 2004, with a Gaussian window of 11 pixels and sigma 1.5.
    """
    return _ssim(_batch(ours), _batch(truth), 255.0, masked)


def luminance_ssim(ours: U8, ink: U8, masked: Mask | None = None) -> float:
    """Return the structural similarity of a page's CIELAB L* with that of its source, in [-1, 1].

    ours: (H, W, 3) sRGB.
    ink: (H, W) gray levels of the source.
    masked: as for `ssim`.
    """
    lightness = torch.from_numpy(lightness_of_level())
    levels = [torch.from_numpy(gray.astype(np.int64)) for gray in (gray_of_equal_lightness(ours), ink)]
    one, other = (lightness[level][None, None] for level in levels)
    return _ssim(one, other, 100.0, masked)


def _ssim(one: torch.Tensor, other: torch.Tensor, data_range: float, masked: Mask | None) -> float:
    if masked is None:
        value = structural_similarity_index_measure(one, other, data_range=data_range)
        assert isinstance(value, torch.Tensor)
        return float(value)
    left_out = torch.from_numpy(masked).expand_as(one)
    one, other = (page.masked_fill(left_out, data_range) for page in (one, other))
    _, by_pixel = structural_similarity_index_measure(one, other, data_range=data_range, return_full_image=True)
    return float(by_pixel[~left_out].mean())


def _batch(page: U8) -> torch.Tensor:
    return torch.from_numpy(page.astype(np.float32)).permute(2, 0, 1)[None].contiguous()
