"""How near a coloured page is to the truth.

H, W pixels; pages are (H, W, 3) uint8 sRGB. What is near a line is meant for pages about 1000 pixels across.
"""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from imaging.color import F32, U8, gray_of_equal_lightness, lightness_of_level, to_lab
from imaging.colorfulness import colorfulness as colorfulness


def ciede2000(ours: U8, truth: U8) -> float:
    """Mean CIEDE2000 over the pixels; 1 is about a just noticeable difference."""
    return float(ciede2000_map(to_lab(ours), to_lab(truth)).mean())


def ciede2000_map(one: F32, other: F32) -> F32:
    """CIEDE2000 of each pixel (Sharma, Wu, Dalal 2005). one, other: (..., 3) CIELAB. Returns (...)."""
    l1, a1, b1 = (one[..., i] for i in range(3))
    l2, a2, b2 = (other[..., i] for i in range(3))
    mean7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    stretch = 1.5 - 0.5 * np.sqrt(mean7 / (mean7 + np.float32(25.0**7)))
    c1, h1 = np.hypot(a1 * stretch, b1), np.arctan2(b1, a1 * stretch)
    c2, h2 = np.hypot(a2 * stretch, b2), np.arctan2(b2, a2 * stretch)
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


def seam_energy(chroma: F32, owner: np.ndarray, *, reach: int = 2) -> float:
    """How much more chroma changes across the borders between squares than elsewhere; 1 where they can't be told.

    chroma: (h, w, 2) ab. owner: (h, w) which square each pixel is from (`placing.dominant`), below 0 none. The mean
    distance in ab of pixels `reach` apart, level and upright, that have different owners, over that of pixels with
    the same. A border in a gutter also crosses the picture's own edges: compare with the truth under the same owners.
    Not a number where there are no borders.
    """
    across, within = [], []
    for axis in (0, 1):
        before, after = ([slice(None)] * 2 for _ in range(2))
        before[axis], after[axis] = slice(None, -reach), slice(reach, None)
        one, other = owner[tuple(before)], owner[tuple(after)]
        step = np.hypot(*np.moveaxis(chroma[tuple(after)] - chroma[tuple(before)], -1, 0))
        owned = (one >= 0) & (other >= 0)
        across.append(step[owned & (one != other)])
        within.append(step[owned & (one == other)])
    crossed, kept = np.concatenate(across), np.concatenate(within)
    if not len(crossed) or not len(kept):
        return float("nan")
    return float(crossed.mean() / max(float(kept.mean()), 1e-6))


def psnr(ours: U8, truth: U8) -> float:
    """Peak signal to noise ratio of the RGB levels, dB; infinite for equal pages."""
    return float(peak_signal_noise_ratio(_batch(ours), _batch(truth), data_range=255.0))


def ssim(ours: U8, truth: U8) -> float:
    """Structural similarity of the RGB levels (Wang et al. 2004, Gaussian window 11, sigma 1.5), in [-1, 1]."""
    return _ssim(_batch(ours), _batch(truth), 255.0)


def luminance_ssim(ours: U8, ink: U8) -> float:
    """Structural similarity of CIELAB L* with the source. ours: (H, W, 3); ink: (H, W) gray levels of the source."""
    lightness = torch.from_numpy(lightness_of_level())
    levels = [torch.from_numpy(gray.astype(np.int64)) for gray in (gray_of_equal_lightness(ours), ink)]
    one, other = (lightness[level][None, None] for level in levels)
    return _ssim(one, other, 100.0)


def _ssim(one: torch.Tensor, other: torch.Tensor, data_range: float) -> float:
    value = structural_similarity_index_measure(one, other, data_range=data_range)
    assert isinstance(value, torch.Tensor)
    return float(value)


def _batch(page: U8) -> torch.Tensor:
    return torch.from_numpy(page.astype(np.float32)).permute(2, 0, 1)[None].contiguous()


_PEN = 1.5  # pixels: standard deviation of the blur under which strokes are looked for
_STROKE = 12.0  # levels: curvature across a stroke, times the blur's variance
_BESIDE, _BEYOND = 3.0, 10.0  # pixels from a stroke's middle: just past its ink; where its mixing has ended
_LEVEL, _STEP = 4.0, 12.0  # ab: a side counts as of one colour below, a line as a boundary of two above


class Strokes(NamedTuple):
    """Pixels in the middle of ink lines: place and unit normal, (n,) float32 each."""

    x: F32
    y: F32
    normal_x: F32
    normal_y: F32

    def only(self, kept: NDArray[np.bool_]) -> "Strokes":
        return Strokes(*(values[kept] for values in self))

    def around(self, values: F32, offset: float) -> F32:
        """`values` (H, W, 2) at `offset` pixels along each normal, bilinear: (n, 2)."""
        x, y = self.x + offset * self.normal_x, self.y + offset * self.normal_y
        found = [
            cv2.remap(
                values, x[i : i + 30000, None], y[i : i + 30000, None], cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE
            )
            for i in range(0, len(x), 30000)  # remap takes fewer than 32768 rows
        ]
        return np.concatenate(found).reshape(-1, 2) if found else np.empty((0, 2), np.float32)


def find_strokes(gray: U8) -> Strokes:
    """The middles of dark lines: ridges of the Hessian of the blurred page (Steger 1998). gray: (H, W)."""
    soft = cv2.GaussianBlur(gray.astype(np.float32), (0, 0), _PEN)
    xx, yy, xy = (cv2.Sobel(soft, -1, dx, dy, ksize=3) / 4 for dx, dy in ((2, 0), (0, 2), (1, 1)))
    half, middle = np.hypot((xx - yy) / 2, xy), (xx + yy) / 2
    strong = ((middle + half) * _PEN**2 > _STROKE) & (np.abs(middle - half) < (middle + half) / 2)
    y, x = np.nonzero(strong)
    turn = 0.5 * np.arctan2(2 * xy[y, x], (xx - yy)[y, x])
    places = (values.astype(np.float32) for values in (x, y, np.cos(turn), np.sin(turn)))
    strokes, pair = Strokes(*places), np.dstack([soft, soft])
    sides = np.minimum(strokes.around(pair, 1)[:, 0], strokes.around(pair, -1)[:, 0])
    return strokes.only(soft[y, x] <= sides)


def near_strokes(strokes: Strokes, shape: tuple[int, int], *, reach: int = 3) -> NDArray[np.bool_]:
    """(H, W) whether a pixel lies within `reach` pixels of a stroke's middle."""
    marked = np.zeros(shape, np.uint8)
    marked[strokes.y.astype(int), strokes.x.astype(int)] = 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return cv2.dilate(marked, disk).astype(bool)


class Bleed(NamedTuple):
    """Sums over a page's strokes, so that pages are added before they are divided.

    off, across: of `boundaries` strokes where the truth has one colour on each side and two across. Bleed is off /
    across: what chroma changes between 3 and 10 pixels off the line, on both sides, as a share of what it changes from
    one side to the other. 0: all of the change is at the line. A ramp over the whole way gives 0.7; above 1 chroma
    changes more beside lines than across them. A page of one colour has none, whatever its truth.
    false: the chroma step over strokes, `plain` of them, where the truth has none; false / plain is in ab units.
    """

    off: float
    across: float
    boundaries: int
    false: float
    plain: int


def bleed(ours: F32, truth: F32, strokes: Strokes) -> Bleed:
    """How far colour runs over the lines. ours, truth: (H, W, 2) ab of the joined pages; strokes: of their ink.

    Looked at are strokes on whose sides the truth changes by less than 4 ab units between 3 and 10 pixels off the
    stroke's middle: a boundary, where it steps by more than 12 from 3 pixels on one side to 3 on the other; plain,
    where it steps by less than 3.
    """

    def profile(values: F32, of: Strokes) -> list[F32]:
        return [of.around(values, offset) for offset in (-_BEYOND, -_BESIDE, _BESIDE, _BEYOND)]

    def length(step: F32) -> F32:
        return np.hypot(step[:, 0], step[:, 1])

    left, left_side, right_side, right = profile(truth, strokes)
    level = (length(left - left_side) < _LEVEL) & (length(right - right_side) < _LEVEL)
    step = length(right_side - left_side)
    boundary, plain = strokes.only(level & (step > _STEP)), strokes.only(level & (step < _STEP / 4))
    left, left_side, right_side, right = profile(ours, boundary)
    off = length(left - left_side) + length(right - right_side)
    _, one, other, _ = profile(ours, plain)
    false = length(other - one)
    return Bleed(float(off.sum()), float(length(right - left).sum()), len(off), float(false.sum()), len(false))
