"""How far one thing's colour strays over the pages of a series.

N looks at it, one to a page; h, w pixels of a chroma map, ab in CIELAB units.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from imaging.color import F32


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
