"""Hints of colour that somebody chose for a page, drawn for a network and kept in its answer.

S: side of the square that the network sees.

Positions are in pixels of the page, from its left and top edge: the centre of the first pixel is at 0.5.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from imaging.color import F32, U8
from imaging.components import Mask
from imaging.crops import Crop
from imaging.lines import I32, find_areas, find_lines

_FADE = 3.0  # pixels of the square: sigma by which a hint's correction fades around it
_GAP, _GAP_PIXELS = 8.0, 250_000  # an opening of so many pixels is closed, on a square of so many
_SAME = 25.0  # ab: by which the network's answers differ for two colours
_FULL = 0.5  # where this share of the surroundings is hinted, nothing has faded yet


@dataclass(frozen=True)
class Hint:
    """A disc of the page that has this colour.

    x: of its centre, in pixels.
    y: of its centre, in pixels.
    radius: in pixels.
    ab: CIELAB; lightness stays that of the ink.
    """

    x: float
    y: float
    radius: float
    ab: tuple[float, float]


def draw_hints(hints: Sequence[Hint], crop: Crop, shape: tuple[int, int], page: tuple[int, int], size: int) -> F32:
    """Draw the hints on the square that shows a crop of the page.

    hints: those of the page.
    crop: in pixels of a page of `shape`.
    shape: (H, W) of the page that the crop was cut from; it may be smaller than the page itself.
    page: (H, W) of the page itself.
    size: S.

    Returns (S, S, 3): 1 and the ab where there is a hint, else 0. A hint that is smaller than a pixel of the square
    fills that pixel. Where hints overlap the last one counts.
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


def keep_hints(chroma: F32, plain: F32, hinted: F32, gray: U8) -> F32:
    """Return chroma that has the hinted colours on the hints, in the areas around them, and fading beyond.

    chroma: (S, S, 2) ab, the network's answer to a square with its hints.
    plain: (S, S, 2) ab, its answer without them.
    hinted: (S, S, 3), as `draw_hints` returns it.
    gray: (S, S) levels of the square.

    Returns (S, S, 2) ab. In the area that lines enclose around a hint, what the network took for the same colour, left
    to itself, gets the hint's; of several hints in an area the nearest. Elsewhere what the network's answer lacks on a
    hint is added around it, and fades.
    """
    mask = hinted[..., 0]
    if not mask.any():
        return chroma
    lacking = mask[..., None] * (hinted[..., 1:] - chroma)
    near, share = (cv2.GaussianBlur(part, (0, 0), _FADE) for part in (lacking, mask))
    kept = chroma + near / np.maximum(share, _FULL)[..., None]
    areas = find_areas(find_lines(gray), gap=_GAP * (gray.size / _GAP_PIXELS) ** 0.5)
    hinted_areas = _areas_of_hints(mask > 0, areas)
    for area in np.unique(hinted_areas[hinted_areas > 0]):
        row, column = _nearest(hinted_areas == area)
        unlike = np.square(plain - plain[row, column]).sum(axis=-1)
        same = (areas == area) * np.exp(-unlike / (2 * _SAME**2))
        kept += same[..., None] * (hinted[row, column, 1:] - kept)
    return np.where(mask[..., None] > 0, hinted[..., 1:], kept).astype(np.float32)


def _areas_of_hints(mask: Mask, areas: I32) -> I32:
    """Return (S, S): on each hint of a mask the area that most of it lies in, where it does; elsewhere 0.

    areas: (S, S) labels from 1.
    """
    count, hints = cv2.connectedComponents(mask.view(np.uint8))
    votes = np.zeros((count, int(areas.max()) + 1), np.int32)
    np.add.at(votes, (hints, areas), 1)
    area: I32 = votes.argmax(axis=1).astype(np.int32)[hints]
    return np.where(mask & (area == areas), areas, 0)


def _nearest(mask: Mask) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return row and column (S, S) of the nearest pixel of a mask that is not empty."""
    _, labels = cv2.distanceTransformWithLabels((~mask).view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    rows, columns = np.nonzero(mask)
    of_label = np.zeros((2, labels.max() + 1), np.intp)
    of_label[:, labels[rows, columns]] = rows, columns
    row, column = of_label[:, labels]
    return row, column


def without_hinted(mask: Mask, hints: Sequence[Hint]) -> Mask:
    """Return a mask of the page without those of its components that a hint lies on.

    mask: (H, W) bool; its components are joined along sides or corners.
    hints: those of the page.
    """
    if not hints:
        return mask
    height, width = mask.shape
    _, components = cv2.connectedComponents(mask.view(np.uint8))
    hinted = {int(components[min(int(hint.y), height - 1), min(int(hint.x), width - 1)]) for hint in hints}
    return mask & ~np.isin(components, list(hinted - {0}))


def _on_square(at: float, radius: float, shrunk: float, low: int, length: int, size: int) -> tuple[float, float]:
    """Return a hint's position and radius along one side of the square."""
    scale = size / length
    return (at * shrunk - low) * scale, radius * shrunk * scale
