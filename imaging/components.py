"""Connected components of a mask, and where those few are that matter.

H, W: pixels.

A component is kept as runs of pixels in the mask's rows, which are far fewer than its pixels. OpenCV's own statistics
are computed for every component at once, and take several times as long as finding the components.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Components:
    """N components of a mask.

    width: W.
    start: (R,) first pixel of each run, as an index into the flat page, in order.
    long: (R,) pixels of each run.
    owner: (R,) the component that each run is of, from 1.
    area: (N + 1,) pixels of each component; 0 at 0.
    """

    width: int
    start: I64
    long: I64
    owner: I32
    area: I64

    @classmethod
    def of(cls, mask: Mask, connectivity: int) -> "Components":
        """Find the components of a mask.

        mask: (H, W) bool.
        connectivity: 4, or 8, where diagonal neighbours touch.
        """
        start, long = _runs(mask)
        count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=connectivity)
        owner = labels.ravel()[start]
        area = np.bincount(owner, weights=long, minlength=count).astype(np.int64)
        return cls(mask.shape[1], start, long, owner, area)

    def at(self, pixels: I64) -> I32:
        """Return the component that each of these pixels of the mask, indices into the flat page, is of."""
        return self.owner[np.searchsorted(self.start, pixels, side="right") - 1]

    def boxes(self, chosen: Mask) -> tuple[I64, I32]:
        """Return the numbers (n,) of the components chosen, and their boxes (n, 4): left, top, right, bottom.

        chosen: (N + 1,) bool.

        A box ends before right and bottom.
        """
        ids = np.flatnonzero(chosen)
        there = chosen[self.owner]
        row, left = np.divmod(self.start[there], self.width)
        right = left + self.long[there]
        index = (chosen.cumsum() - 1)[self.owner[there]]
        low, high = np.full((2, len(ids)), np.iinfo(np.int32).max), np.zeros((2, len(ids)), np.int64)
        for least, side in zip(low, (left, row), strict=True):
            np.minimum.at(least, index, side)
        for most, side in zip(high, (right, row + 1), strict=True):
            np.maximum.at(most, index, side)
        return ids, np.stack([*low, *high], axis=1).astype(np.int32)

    def pixels(self, chosen: Mask) -> tuple[I64, I64]:
        """Return the pixels of the components chosen, as indices into the flat page, in order, and their owners.

        chosen: (N + 1,) bool.

        An owner is the component's number among those chosen, from 0.
        """
        there = chosen[self.owner]
        start, long = self.start[there], self.long[there]
        before = long.cumsum() - long
        pixels = np.repeat(start - before, long) + np.arange(long.sum())
        return pixels, np.repeat((chosen.cumsum() - 1)[self.owner[there]], long)


def _runs(mask: Mask) -> tuple[I64, I64]:
    """Return the first pixel of each run of a mask (H, W), as an index into the flat page, and its length."""
    # An empty column at either side, so that no run goes over the end of a row.
    flat = cv2.copyMakeBorder(mask.view(np.uint8), 0, 0, 1, 1, cv2.BORDER_CONSTANT, value=0).ravel()
    change = np.flatnonzero(flat[1:] != flat[:-1])
    start, long = change[::2], change[1::2] - change[::2]
    return start - 2 * (start // (mask.shape[1] + 2)), long
