"""Hints of colour that somebody chose for a page, as a network is hinted of them.

S side of the square the network sees. Positions are in pixels of the page, from its left and top edge: the centre of
the first pixel is at 0.5.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from imaging.color import F32
from imaging.components import Mask
from imaging.crops import Crop

_FADE = 3.0  # sigma of how what is put right on a hint fades around it, pixels of the square
_FULL = 0.5  # share of its surroundings that are hinted at which nothing has faded yet


@dataclass(frozen=True)
class Hint:
    """A disc of the page that has this colour. ab: CIELAB; its lightness stays that of the ink."""

    x: float
    y: float
    radius: float
    ab: tuple[float, float]


def draw_hints(hints: Sequence[Hint], crop: Crop, shape: tuple[int, int], page: tuple[int, int], size: int) -> F32:
    """The hints on the square that shows a crop of the page: (S, S, 3), 1 and the ab where there is one; else 0.

    crop: in pixels of a page of `shape` (H, W), which may be smaller than the page itself.
    page: (H, W) of the page itself.
    A hint that is smaller than a pixel of the square fills that pixel. Where hints overlap the last one counts.
    """
    hinted = np.zeros((size, size, 3), np.float32)
    centres = np.arange(size, dtype=np.float32) + 0.5
    for hint in hints:
        (y, tall), (x, wide) = (
            _on_square(at, hint.radius, shape[axis] / page[axis], low, high - low, size)
            for axis, (at, low, high) in enumerate(
                ((hint.y, crop.rect.top, crop.rect.bottom), (hint.x, crop.rect.left, crop.rect.right))
            )
        )
        inside = ((centres[:, None] - y) / tall) ** 2 + ((centres - x) / wide) ** 2 <= 1
        hinted[inside] = (1.0, *hint.ab)
        if 0 <= y < size and 0 <= x < size:
            hinted[int(y), int(x)] = (1.0, *hint.ab)
    return hinted


def keep_hints(chroma: F32, hinted: F32) -> F32:
    """Chroma with what it lacks on the hints added: wholly there, less and less around them.

    chroma: (S, S, 2) ab, what a network said of a square. hinted: (S, S, 3), of `draw_hints`. Returns (S, S, 2).
    """
    mask = hinted[..., 0]
    lacking = mask[..., None] * (hinted[..., 1:] - chroma)
    near, share = (cv2.GaussianBlur(part, (0, 0), _FADE) for part in (lacking, mask))
    around = near / np.maximum(share, _FULL)[..., None]
    return np.where(mask[..., None] > 0, hinted[..., 1:], chroma + around).astype(np.float32)


def without_hinted(mask: Mask, hints: Sequence[Hint]) -> Mask:
    """A mask (H, W) of the page without those of its components, joined along sides or corners, that a hint lies on."""
    if not hints:
        return mask
    height, width = mask.shape
    _, components = cv2.connectedComponents(mask.view(np.uint8))
    hinted = {int(components[min(int(hint.y), height - 1), min(int(hint.x), width - 1)]) for hint in hints}
    return mask & ~np.isin(components, list(hinted - {0}))


def _on_square(at: float, radius: float, shrunk: float, low: int, length: int, size: int) -> tuple[float, float]:
    """Position and radius along one side of the square."""
    scale = size / length
    return (at * shrunk - low) * scale, radius * shrunk * scale
