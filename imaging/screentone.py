"""A black-and-white manga page drawn from a colour page: lines, solid blacks, screens, and what a scan adds.

H, W: pixels.

Ink is coverage in [0, 1], 1 where the paper is black. Sizes in pixels are those of a page 1400 pixels high, and are
scaled to the page. Screens are counted in lines to a page's height, because their film is sold by lines to the inch:
the usual 60 lines an inch on a manuscript, printed at five sixths of its size on a page of 18 cm, are 510.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from imaging.color import F32, U8, gray_of_equal_lightness

_HEIGHT = 1400  # pixels of the page that sizes are given for
_LINES = (200, 240, 290, 340, 400, 450, 510, 510, 510)  # a screen's lines to the page's height: 7.0 to 2.7 pixels apart
_LONGEST = 65_500  # pixels of a side: the limit of libjpeg
_FINE = 5.0  # pixels: a screen of a smaller pitch is drawn at twice its size
_DOT_ANGLES = (45, 45, 45, 45, 0, 15, 30, 60, 75)  # degrees; most dots are laid at 45, which the eye sees least
_LINE_ANGLES = (45, 135, 0, 90)
_BRIGHTER = (np.linspace(0, 1, 256) ** 0.75).astype(np.float32)  # so that not all dark grounds come out black


@dataclass(frozen=True)
class Screen:
    """A sheet of screen.

    kind: "dot" or "line".
    pitch: pixels from dot to dot, or from line to line.
    angle: in degrees.
    phase: of the two waves that make a screen, in radians; a line screen uses the first.
    """

    kind: str
    pitch: float
    angle: float
    phase: tuple[float, float]

    def cover(self, coverage: F32) -> F32:
        """Return the ink (H, W) of an area of this screen.

        coverage: (H, W) share of the area that dots or lines take, in [0, 1].
        """
        height, width = coverage.shape
        times = 2 if self.pitch < _FINE else 1  # where edges are less than a pixel apart, samples would beat
        level = np.clip(coverage * 255 + np.float32(0.5), 0, 255).astype(np.uint8)
        if times > 1:
            level = np.repeat(np.repeat(level, times, axis=0), times, axis=1)
        pitch = self.pitch * times
        ink = _wave(times * height, times * width, pitch, self.angle, self.phase[0])
        if self.kind == "dot":
            ink += _wave(times * height, times * width, pitch, self.angle + 90, self.phase[1])
        ink -= cv2.LUT(level, _thresholds(self.kind))
        ink *= np.float32(pitch / (2 * np.pi))  # a wave's steepest slope is 2 pi / pitch: edges are a pixel wide
        ink += np.float32(0.5)
        np.clip(ink, 0, 1, out=ink)
        return cv2.resize(ink, (width, height), interpolation=cv2.INTER_AREA) if times > 1 else ink


def _wave(height: int, width: int, pitch: float, angle: float, phase: float) -> F32:
    """Return cos(fx x + fy y + phase), computed from the cosines of rows and of columns."""
    turn = 2 * np.pi / pitch
    x = turn * np.cos(np.radians(angle)) * np.arange(width) + phase
    y = turn * np.sin(np.radians(angle)) * np.arange(height)
    columns = np.stack([np.cos(x), np.sin(x)]).astype(np.float32)
    rows = np.stack([np.cos(y), -np.sin(y)], axis=1).astype(np.float32)
    return rows @ columns


@cache
def _thresholds(kind: str) -> F32:
    """Return (256,) heights of the wave.

    Above the i-th lies the share i / 255 of a screen's area. The first and the last lie outside of the wave.
    """
    at = np.cos(2 * np.pi * (np.arange(512) + 0.5) / 512)
    heights = np.sort((at[:, None] + at).ravel() if kind == "dot" else at)[::-1]
    found = heights[(np.arange(256) * (heights.size - 1)) // 255]
    found[0], found[-1] = 9, -9
    return found.astype(np.float32)


def to_screentone(rgb: U8, seed: int, *, screens: bool = True) -> U8:
    """Return the page as a manga artist's, printed and scanned: training ink derived from colour.

    rgb: (H, W, 3) sRGB.
    seed: of the artist's choices and the scanner's accidents; equal seeds give equal pages.
    screens: False leaves the screens' areas even gray of the same tone, the page that descreening aims at.

    Returns (H, W) gray levels. Lines are extended differences of Gaussians (Winnemoeller, Kyprianidis, Olsen 2012). The
    rest of the page is reduced to a few tones, each a screen of its own.
    """
    drawing, scan = (np.random.default_rng([seed, part]) for part in range(2))
    height, width = rgb.shape[:2]
    scale = max(min(height, width * 1.41) / _HEIGHT, 0.05)  # a spread is as high as its pages, a strip as wide
    gray = gray_of_equal_lightness(rgb)
    tone, label, sheets = _tones(_exposed(gray, drawing), scale, drawing)
    lines = _lines(gray, scale, drawing)
    if screens:
        for number, sheet in enumerate(sheets, 1):
            _lay(sheet, tone, label == number)
    return _scanned(1 - (1 - lines) * (1 - tone), scan)


def _lay(sheet: Screen, tone: F32, area: np.ndarray) -> None:
    """Put a screen's dots in place of the even tone of an area."""
    rows, columns = np.flatnonzero(area.any(axis=1)), np.flatnonzero(area.any(axis=0))
    if rows.size:
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        np.copyto(tone[box], sheet.cover(tone[box]), where=area[box])


def _exposed(gray: U8, rng: np.random.Generator) -> F32:
    """Return (H, W) lightness in [0, 1].

    The page's own black and white are set, and its middle tones raised, since ink drawings are light.
    """
    dark, light = np.percentile(gray[::4, ::4], [1, 97])
    dark, light = min(float(dark), 60.0), max(float(light), 180.0)
    curve = np.clip((np.arange(256) - dark) / (light - dark), 0, 1) ** rng.uniform(0.4, 0.7)
    return curve.astype(np.float32)[gray]


def _lines(gray: U8, scale: float, rng: np.random.Generator) -> F32:
    """Return (H, W) ink of the outlines and of the solid blacks."""
    level = _BRIGHTER[gray]
    sigma = scale * rng.uniform(0.7, 1.1)
    sharpness, black, slope = rng.uniform(16, 32), rng.uniform(0.12, 0.22), rng.uniform(8, 20)
    fine = cv2.GaussianBlur(level, (0, 0), max(sigma, 0.3))
    coarse = cv2.GaussianBlur(level, (0, 0), 1.6 * max(sigma, 0.3))
    edge = np.clip((1 + sharpness) * fine - sharpness * coarse, black - 0.5, black)
    return -np.tanh(slope * (edge - np.float32(black))).astype(np.float32)


def _tones(level: F32, scale: float, rng: np.random.Generator) -> tuple[F32, U8, list[Screen]]:
    """Return the coverage (H, W), the number of each pixel's screen, and the screens.

    Screens are counted from 1; 0 is white or black.
    """
    height, width = level.shape
    half = (max(1, width // 2), max(1, height // 2))
    small = cv2.resize(level, half, interpolation=cv2.INTER_AREA)
    for _ in range(2):  # flat areas with firm borders, as in cut film
        small = cv2.bilateralFilter(small, 7, 0.12, 3 * max(scale, 0.3))
    even = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    count = int(rng.integers(2, 5))
    borders = np.sort(np.linspace(rng.uniform(0.08, 0.18), rng.uniform(0.7, 0.88), count + 1))
    borders[1:-1] += rng.uniform(-0.04, 0.04, count - 1)
    steps = np.searchsorted(borders, np.arange(256) / 255).astype(np.uint8)  # 0: black, count + 1: white
    label = cv2.medianBlur(steps[(even * 255).astype(np.uint8)], 5)
    tone = np.clip(1 - even, 0, 1)
    for number in range(1, count + 1):
        if rng.random() < 0.65:  # else the film is graded, and follows the page
            tone[label == number] = 1 - (borders[number - 1] + borders[number]) / 2
    white = label > count
    tone[label == 0], tone[white] = 1, 0
    label[white] = 0
    return tone, label, _sheets(count, scale, rng)


def _sheets(count: int, scale: float, rng: np.random.Generator) -> list[Screen]:
    """Return the screens of a page: mostly dots, and mostly of one number of lines."""
    usual = rng.choice(_LINES)
    sheets = []
    for _ in range(count):
        kind = "dot" if rng.random() < 0.88 else "line"
        lines = usual if rng.random() < 0.7 else rng.choice(_LINES)
        angle = rng.choice(_DOT_ANGLES if kind == "dot" else _LINE_ANGLES) + rng.normal(0, 0.7)
        phase = rng.uniform(0, 2 * np.pi, 2)
        sheets.append(Screen(kind, scale * _HEIGHT / float(lines), float(angle), (float(phase[0]), float(phase[1]))))
    return sheets


def _scanned(ink: F32, rng: np.random.Generator) -> U8:
    """Return the gray levels (H, W) of printed ink once it is scanned.

    A scan has its own paper and black, cleaned or not, and its blur, noise and JPEG.
    """
    cleaned = rng.random() < 0.6
    paper, black = (255.0, 0.0) if cleaned else (rng.uniform(232, 252), rng.uniform(5, 30))
    blurred = cv2.GaussianBlur(ink, (0, 0), rng.uniform(0.3, 0.65))
    page = np.float32(paper) - np.float32(paper - black) * blurred
    page += rng.standard_normal(page.shape, np.float32) * np.float32(rng.uniform(0.3, 1.5 if cleaned else 4))
    levels = np.clip(np.round(page), 0, 255).astype(np.uint8)
    quality = int(rng.integers(70, 96))
    if max(levels.shape) > _LONGEST:
        return levels
    data = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)
