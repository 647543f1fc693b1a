"""Spots of colour that somebody chose for a page, as a network is told of them.

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

_FADE = 3.0  # sigma of how what is put right on a spot fades around it, pixels of the square
_FULL = 0.5  # share of its surroundings that are told at which nothing has faded yet


@dataclass(frozen=True)
class Spot:
    """A disc of the page that has this colour. ab: CIELAB; its lightness stays that of the ink."""

    x: float
    y: float
    radius: float
    ab: tuple[float, float]


def draw_spots(spots: Sequence[Spot], crop: Crop, shape: tuple[int, int], page: tuple[int, int], size: int) -> F32:
    """The spots on the square that shows a place of the page: (S, S, 3), 1 where a colour is told, and its ab; else 0.

    crop: in pixels of a page of `shape` (H, W), which may be smaller than the page itself, `page` (H, W). A spot that
    is smaller than a pixel of the square tells that pixel. Where spots overlap the last one counts.
    """
    told = np.zeros((size, size, 3), np.float32)
    centres = np.arange(size, dtype=np.float32) + 0.5
    for spot in spots:
        (y, tall), (x, wide) = (
            _on_square(at, spot.radius, shape[axis] / page[axis], low, high - low, size)
            for axis, (at, low, high) in enumerate(
                ((spot.y, crop.rect.top, crop.rect.bottom), (spot.x, crop.rect.left, crop.rect.right))
            )
        )
        inside = ((centres[:, None] - y) / tall) ** 2 + ((centres - x) / wide) ** 2 <= 1
        told[inside] = (1.0, *spot.ab)
        if 0 <= y < size and 0 <= x < size:
            told[int(y), int(x)] = (1.0, *spot.ab)
    return told


def keep_to(chroma: F32, told: F32) -> F32:
    """What a network said of a square, (S, S, 2) ab, with what it lacks on the told spots added: there wholly, and less
    and less around them. told: of `draw_spots`. Returns (S, S, 2)."""
    mask = told[..., 0]
    lacking = mask[..., None] * (told[..., 1:] - chroma)
    near, share = (cv2.GaussianBlur(part, (0, 0), _FADE) for part in (lacking, mask))
    around = near / np.maximum(share, _FULL)[..., None]
    return np.where(mask[..., None] > 0, told[..., 1:], chroma + around).astype(np.float32)


def without_told(mask: Mask, spots: Sequence[Spot]) -> Mask:
    """A mask (H, W) of the page without those of its components, joined along sides or corners, that a spot lies on."""
    if not spots:
        return mask
    height, width = mask.shape
    _, components = cv2.connectedComponents(mask.view(np.uint8))
    told = {int(components[min(int(spot.y), height - 1), min(int(spot.x), width - 1)]) for spot in spots}
    return mask & ~np.isin(components, list(told - {0}))


def _on_square(at: float, radius: float, shrunk: float, low: int, length: int, size: int) -> tuple[float, float]:
    """Position and radius along one side of the square."""
    scale = size / length
    return (at * shrunk - low) * scale, radius * shrunk * scale
