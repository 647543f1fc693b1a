"""Measures of chroma maps, for the tables of docs/quality.md.

h, w: pixels of a chroma map. ab is in CIELAB units.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imaging.color import F32
from imaging.drift import Drift, drift

_LEAST = 25  # pixels that a region needs to have a colour


def seam_energy(chroma: F32, owner: np.ndarray, *, reach: int = 2) -> float:
    """How much more chroma changes across the borders between squares than elsewhere; 1 where the borders can't be
    seen.

    chroma: (h, w, 2) ab.
    owner: (h, w) the square that each pixel is from (imaging.crops.dominant); below 0 for none.
    reach: distance in pixels of the two pixels that are compared.

    The mean distance in ab of two pixels, side by side or one above the other, that have different owners, over that of
    pixels with the same owner. A border in a gutter also crosses the picture's own edges, so compare with the truth
    under the same owners.
    Returns NaN where there are no borders.
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


def drift_between(chapters: Sequence[F32]) -> Drift:
    """The drift of the mean colour from chapter to chapter.

    chapters: (N, 2) ab of each, as for `drift`.
    """
    seen = [colors[~np.isnan(colors).any(axis=1)] for colors in chapters]
    means = [colors.mean(axis=0) for colors in seen if len(colors)]
    return drift(np.array(means, np.float32).reshape(-1, 2))


def region_colors(chroma: F32, labels: NDArray[np.integer], count: int) -> F32:
    """Mean ab of the regions with the labels 1 to `count`.

    chroma: (h, w, 2).
    labels: (h, w).
    Returns (count, 2), with NaN for a region of fewer than 25 pixels.
    """
    flat = labels.ravel()
    pixels = np.bincount(flat, minlength=count + 1)[1 : count + 1]
    sums = [np.bincount(flat, chroma[..., c].ravel(), count + 1)[1 : count + 1] for c in (0, 1)]
    means = np.stack(sums, axis=1) / np.maximum(pixels, 1)[:, None]
    return np.where(pixels[:, None] >= _LEAST, means, np.nan).astype(np.float32)


def point_colors(chroma: F32, points: Sequence[tuple[float, float]]) -> F32:
    """ab at points, as the mean of 3 x 3 pixels.

    points: (x, y) in [0, 1] of the page's sides.
    Returns (N, 2).
    """
    height, width = chroma.shape[:2]
    found = []
    for x, y in points:
        column, row = min(int(x * width), width - 1), min(int(y * height), height - 1)
        patch = chroma[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
        found.append(patch.mean(axis=(0, 1)))
    return np.array(found, np.float32).reshape(-1, 2)
