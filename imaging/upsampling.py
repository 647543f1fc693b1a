"""A predicted chroma map at the size of the page, sharper than bilinear where the page's levels show how.

H, W: pixels of the page.
h, w: cells of the chroma map, as the network gave them.
y, x: pixels of a smaller form of the page.
n: rows of a band (imaging.bands).
Gray levels are uint8, ab is in CIELAB units.

A cell of the map is a mean over some pixels of the page. Around each cell chroma is fitted as a straight line of gray,
ab = a * gray + b, by least squares. This is the local model of the guided filter (He, Sun, Tang 2010; at low
resolution: He, Sun 2015). That filter gives a * gray + b, which also smooths the map. Here only its slope is used, for
detail: ab = resized(ab) + a * (gray - resized(gray)), which keeps each cell's mean. Thin ink is taken out of the guide:
a line shows where a colour ends, not which colour it is.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from imaging.bands import ChromaRows, resized_rows, whole
from imaging.color import F32, U8

_GUIDE_NOISE = 130.0  # levels squared: a variance of gray that says nothing about colour (paper, screentone, JPEG)
_GUIDE_REACH = 20.0  # levels: further from its cell's mean, a pixel's gray is not believed
_PEN = 7  # pixels: narrower dark strokes are lines, not areas


def upsample_chroma(gray: U8, chroma: F32) -> F32:
    """Resize a chroma map to the page.

    gray: (H, W) levels.
    chroma: (h, w, 2) ab.

    Returns (H, W, 2) ab, within the range of `chroma` channel by channel.
    """
    guide = without_lines(gray)
    return whole(Slopes.of(guide, chroma).upsampled(guide), gray.shape)


@dataclass(frozen=True)
class Slopes:
    """A chroma map, and how its channels follow gray.

    planes: (2, h, w) a and b.
    level: (h, w) mean gray of the cells, thin ink taken out.
    slopes: (2, h, w), in ab to a level.
    """

    planes: F32
    level: F32
    slopes: F32

    @classmethod
    def of(cls, guide: U8, chroma: F32) -> "Slopes":
        """Fit the slopes of a map (h, w, 2) to the guide, the page's levels (H, W) without thin ink."""
        level = shrunk(guide, chroma.shape[1::-1]).astype(np.float32)
        mean = _box(level)
        noise = _box(level * level) - mean * mean + np.float32(_GUIDE_NOISE)
        planes = np.stack(cv2.split(chroma))
        slopes = np.stack([(_box(level * plane) - mean * _box(plane)) / noise for plane in planes])
        return cls(planes, level, slopes.astype(np.float32, copy=False))

    def upsampled(self, guide: U8, change: F32 | None = None) -> ChromaRows:
        """Return the rows of the map at the size of the guide, within the range of the map channel by channel.

        guide: (H, W) levels of the page without thin ink, or of a smaller form of it.
        change: (2, y, x) ab that is resized and added to the map; None for no change.
        """
        shape = guide.shape
        ranges = [(plane.min(), plane.max()) for plane in self.planes]
        changes: list[list[F32]] = [[], []] if change is None else [[plane] for plane in change]

        def rows_of(rows: slice) -> F32:
            both = np.empty((2, rows.stop - rows.start, shape[1]), np.float32)
            detail = resized_rows(self.level, shape, rows)
            np.subtract(guide[rows], detail, out=detail)
            np.clip(detail, -_GUIDE_REACH, _GUIDE_REACH, out=detail)
            resized = np.empty_like(detail)
            for sharp, plane, slope, more, ends in zip(both, self.planes, self.slopes, changes, ranges, strict=True):
                resized_rows(slope, shape, rows, sharp)
                sharp *= detail
                for addend in (plane, *more):
                    sharp += resized_rows(addend, shape, rows, resized)
                np.clip(sharp, *ends, out=sharp)
            return both

        return rows_of


def shrunk(gray: U8, size: tuple[int, int]) -> U8:
    """Return the page at this size (width, height), by means over pixels.

    It is halved as long as it can be, which is much faster.
    """
    while gray.shape[1] >= 2 * size[0] and gray.shape[0] >= 2 * size[1]:
        gray = cv2.resize(gray, (gray.shape[1] // 2, gray.shape[0] // 2), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(gray, size, interpolation=cv2.INTER_AREA)


def without_lines(gray: U8) -> U8:
    """Return the page with dark strokes narrower than `_PEN` filled with the darker of their sides (closing)."""
    closed: U8 = cv2.morphologyEx(gray, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_PEN, _PEN)))
    return closed


def _box(values: F32) -> F32:
    mean: F32 = cv2.blur(values, (3, 3), borderType=cv2.BORDER_REPLICATE)
    return mean
