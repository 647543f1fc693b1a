"""Drift: how far one thing's colour strays over the pages of a series.

N: looks at the thing, one to a page.
ab is in CIELAB units.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from imaging.color import F32


@dataclass(frozen=True)
class Drift:
    """How far a colour strays.

    rms: root mean square distance from the mean, in ab.
    hue: circular standard deviation in degrees, weighted by chroma (Mardia and Jupp 2000, 2.3.11).
    looks: number of pages that the thing was seen on. With none, rms and hue are NaN.
    """

    rms: float
    hue: float
    looks: int


@dataclass(frozen=True)
class Looks:
    """A summary of many looks, which can be joined to others by `together`.

    count: number of looks.
    mean: mean ab.
    square: mean squared distance from `mean`, in ab.
    chroma: mean length of ab.
    """

    count: int = 0
    mean: tuple[float, float] = (0.0, 0.0)
    square: float = 0.0
    chroma: float = 0.0

    def drift(self) -> Drift:
        """Return the drift of all these looks."""
        if not self.count:
            return Drift(float("nan"), float("nan"), 0)
        together = float(np.hypot(*self.mean)) / self.chroma if self.chroma > 0 else 1.0
        hue = np.degrees(np.sqrt(max(0.0, -2 * np.log(max(together, 1e-12)))))
        return Drift(float(np.sqrt(self.square)), float(hue), self.count)


def looks_at(colors: F32) -> Looks:
    """Summarise the looks at one thing.

    colors: (N, 2) ab, a row to a page; NaN where the thing is not on the page.
    """
    seen = colors[~np.isnan(colors).any(axis=1)].astype(np.float64)
    if not len(seen):
        return Looks()
    a, b = mean = seen.mean(axis=0)
    square = ((seen - mean) ** 2).sum(axis=1).mean()
    return Looks(len(seen), (float(a), float(b)), float(square), float(np.hypot(*seen.T).mean()))


def together(parts: Iterable[Looks]) -> Looks:
    """Join the summaries of these looks into one (Chan, Golub and LeVeque 1979)."""
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
    """Return the drift of one thing's colour.

    colors: (N, 2) ab, as for `looks_at`.
    """
    return looks_at(colors).drift()
