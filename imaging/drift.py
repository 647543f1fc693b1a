"""How far one thing's colour strays over the pages of a series.

N looks at it, one to a page; h, w pixels of a chroma map, ab in CIELAB units.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imaging.color import F32

_LEAST = 25  # pixels of a region that has a colour


@dataclass(frozen=True)
class Drift:
    """rms: of the distances in ab from the mean. hue: circular standard deviation, degrees, weighted by chroma
    (Mardia and Jupp 2000, 2.3.11). looks: pages it was seen on. With none, rms and hue are not numbers."""

    rms: float
    hue: float
    looks: int


@dataclass(frozen=True)
class Looks:
    """What drift needs to know of many looks, to be put together with that of others. count: of the looks. mean: ab.
    square: mean squared distance in ab from `mean`. chroma: mean length of ab."""

    count: int = 0
    mean: tuple[float, float] = (0.0, 0.0)
    square: float = 0.0
    chroma: float = 0.0

    def drift(self) -> Drift:
        if not self.count:
            return Drift(float("nan"), float("nan"), 0)
        together = float(np.hypot(*self.mean)) / self.chroma if self.chroma > 0 else 1.0
        hue = np.degrees(np.sqrt(max(0.0, -2 * np.log(max(together, 1e-12)))))
        return Drift(float(np.sqrt(self.square)), float(hue), self.count)


def looks_at(colors: F32) -> Looks:
    """At one thing. colors: (N, 2) ab, a row to a page; not a number where it is not there."""
    seen = colors[~np.isnan(colors).any(axis=1)].astype(np.float64)
    if not len(seen):
        return Looks()
    a, b = mean = seen.mean(axis=0)
    square = ((seen - mean) ** 2).sum(axis=1).mean()
    return Looks(len(seen), (float(a), float(b)), float(square), float(np.hypot(*seen.T).mean()))


def together(parts: Iterable[Looks]) -> Looks:
    """All looks of these (Chan, Golub and LeVeque 1979)."""
    seen = [part for part in parts if part.count]
    if not seen:
        return Looks()
    counts = np.array([part.count for part in seen], np.float64)
    weights, means = counts / counts.sum(), np.array([part.mean for part in seen])
    a, b = mean = weights @ means
    square = weights @ (np.array([part.square for part in seen]) + ((means - mean) ** 2).sum(axis=1))
    chroma = weights @ np.array([part.chroma for part in seen])
    return Looks(int(counts.sum()), (float(a), float(b)), float(square), float(chroma))


def drift(colors: F32) -> Drift:
    """Of the colour of one thing. colors: as for `looks_at`."""
    return looks_at(colors).drift()


def drift_between(chapters: Sequence[F32]) -> Drift:
    """Of the mean colour from chapter to chapter. chapters: (N, 2) ab each, as for `drift`."""
    seen = [colors[~np.isnan(colors).any(axis=1)] for colors in chapters]
    means = [colors.mean(axis=0) for colors in seen if len(colors)]
    return drift(np.array(means, np.float32).reshape(-1, 2))


def region_colors(chroma: F32, labels: NDArray[np.integer], count: int) -> F32:
    """Mean ab of the regions labelled 1 to `count`. chroma: (h, w, 2); labels: (h, w). Returns (count, 2), not a
    number for one of fewer than 25 pixels."""
    flat = labels.ravel()
    pixels = np.bincount(flat, minlength=count + 1)[1 : count + 1]
    sums = [np.bincount(flat, chroma[..., c].ravel(), count + 1)[1 : count + 1] for c in (0, 1)]
    means = np.stack(sums, axis=1) / np.maximum(pixels, 1)[:, None]
    return np.where(pixels[:, None] >= _LEAST, means, np.nan).astype(np.float32)


def point_colors(chroma: F32, points: Sequence[tuple[float, float]]) -> F32:
    """ab at points, mean of 3 x 3 pixels. points: (x, y) in [0, 1] of the page's sides. Returns (N, 2)."""
    height, width = chroma.shape[:2]
    found = []
    for x, y in points:
        column, row = min(int(x * width), width - 1), min(int(y * height), height - 1)
        patch = chroma[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
        found.append(patch.mean(axis=(0, 1)))
    return np.array(found, np.float32).reshape(-1, 2)
