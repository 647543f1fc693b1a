"""The gray page of a coloured one, made in many ways: converters, levels, drawn ink, line art, scans.

H, W: pixels.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from imaging.color import F32, U8, gray_of_equal_lightness, luma
from imaging.descreen import descreen
from imaging.screentone import to_screentone

_KINDS = {"lightness": 0.12, "luma": 0.2, "mix": 0.16, "outlined": 0.22, "drawn": 0.26, "screened": 0.04}
_SCREENED_HEIGHT = 1000  # pixels: on a smaller page the dots of a screen are no more than noise


@dataclass(frozen=True)
class Printing:
    """How the gray pages of a series are made.

    kind: a key of the kinds: equal L*, luma, any mix of the channels; light pages with outlines, down to line art;
        drawn ink without and with its screens.
    mix: shares of R, G and B.
    gamma: of the levels; above 1 darkens.
    black: level of the darkest.
    white: level of the paper.
    tone: share of the tones that an outlined page keeps.
    sharpness: of the outlines.
    noise: levels.
    quality: of a JPEG in between; 0 for none.
    """

    kind: str
    mix: tuple[float, float, float]
    gamma: float
    black: float
    white: float
    tone: float
    sharpness: float
    noise: float
    quality: int


def draw_printing(rng: np.random.Generator) -> Printing:
    """Choose how the pages of a series are printed."""
    mix = rng.dirichlet((2.0, 2.0, 2.0))
    changed, worn, packed = rng.random(3) < (0.5, 0.4, 0.5)
    return Printing(
        kind=str(rng.choice(list(_KINDS), p=list(_KINDS.values()))),
        mix=(float(mix[0]), float(mix[1]), float(mix[2])),
        gamma=float(np.exp(rng.normal(0, 0.25))) if changed else 1.0,
        black=float(rng.uniform(0, 35)) if worn else 0.0,
        white=float(rng.uniform(228, 255)) if worn else 255.0,
        tone=float(rng.uniform(0, 0.6)),
        sharpness=float(rng.uniform(10, 30)),
        noise=float(rng.uniform(0, 4)) if worn else 0.0,
        quality=int(rng.integers(60, 96)) if packed else 0,
    )


def print_page(rgb: U8, printing: Printing, rng: np.random.Generator) -> U8:
    """Return the gray levels (H, W) of a page (H, W, 3), its screens smoothed as a network sees it."""
    gray = _made(rgb, printing, int(rng.integers(2**31)))
    level = (gray.astype(np.float32) / 255) ** np.float32(printing.gamma)
    level = np.float32(printing.black) + np.float32(printing.white - printing.black) * level
    if printing.noise:
        level += rng.standard_normal(level.shape, np.float32) * np.float32(printing.noise)
    out = np.clip(level + np.float32(0.5), 0, 255).astype(np.uint8)
    if not printing.quality:
        return out
    data = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, printing.quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


def _made(rgb: U8, printing: Printing, seed: int) -> U8:
    if printing.kind == "lightness":
        return gray_of_equal_lightness(rgb)
    if printing.kind == "mix":
        mixed: U8 = cv2.transform(rgb, np.array([printing.mix], np.float32))
        return mixed.reshape(rgb.shape[:2])
    if printing.kind == "outlined":
        return _outlined(luma(rgb), printing)
    if printing.kind == "drawn":
        return to_screentone(rgb, seed, screens=False)
    if printing.kind == "screened":
        return _screened(rgb, seed)
    return luma(rgb)


def _outlined(gray: U8, printing: Printing) -> U8:
    """Return outlines (Winnemoeller, Kyprianidis, Olsen 2012) over tones that are made lighter."""
    level = gray.astype(np.float32) / 255
    sigma = max(0.3, 0.8 * gray.shape[0] / _SCREENED_HEIGHT)
    fine, coarse = (cv2.GaussianBlur(level, (0, 0), s) for s in (sigma, 1.6 * sigma))
    edge: F32 = fine + np.float32(printing.sharpness) * (fine - coarse)
    lines = np.clip(edge / np.float32(0.25), 0, 1)
    tones = 1 - np.float32(printing.tone) * (1 - level)
    return np.round(255 * lines * tones).astype(np.uint8)


def _screened(rgb: U8, seed: int) -> U8:
    """Draw the page as large as screens need, smooth them as a job does, and return it at its own size."""
    height, width = rgb.shape[:2]
    times = max(1.0, _SCREENED_HEIGHT / height)
    large = cv2.resize(rgb, (round(width * times), round(height * times)), interpolation=cv2.INTER_CUBIC)
    gray = descreen(to_screentone(np.ascontiguousarray(large), seed))
    small: U8 = cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA)
    return small
