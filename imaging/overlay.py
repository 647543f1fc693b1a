"""Outlines of what is found on a page, to lay over a small picture of it.

H, W: pixels of the page.
h, w: pixels of the picture.

An outline is a closed polygon, (K, 2) x, y in pixels of the picture.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from imaging.color import U8
from imaging.components import Mask
from imaging.lines import find_areas, find_lines
from imaging.panels import find_panels

Outlines = list[NDArray[np.int32]]

LAYERS = ("words", "panels", "areas")
_GAP = 6.0  # pixels of the picture: wider openings in a line are meant to be open
_LEAST = 0.002  # share of the picture: a smaller area is not given a colour of its own
_MOST_AREAS = 150
_SIMPLE = 1.0  # pixels that a simplified outline may be off


def find_layers(gray: U8, text: Mask, size: tuple[int, int]) -> dict[str, Outlines]:
    """Return the outlines of each of `LAYERS`: text with its bubbles, panels, and the larger areas that lines enclose.

    gray: (H, W) levels.
    text: (H, W) where text is, as `find_text` finds it.
    size: (w, h) of the picture.

    A hole, in a bubble or an area, is an outline of its own.
    """
    width, height = size
    small = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    shown = cv2.resize(text.view(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_AREA) > 127
    scale = np.array([width / gray.shape[1], height / gray.shape[0]])
    panels = [np.round(np.array(panel.corners) * scale).astype(np.int32) for panel in find_panels(gray)]
    return {"words": _outlines(shown.view(np.uint8)), "panels": panels, "areas": _areas(small)}


def _areas(gray: U8) -> Outlines:
    labels = find_areas(find_lines(gray), gap=_GAP)
    sizes = np.bincount(labels.ravel())
    large = [int(label) for label in np.argsort(-sizes, kind="stable")[:_MOST_AREAS]]
    large = [label for label in large if label and sizes[label] >= _LEAST * gray.size]
    return [outline for label in large for outline in _outlines((labels == label).view(np.uint8))]


def _outlines(mask: U8) -> Outlines:
    """Return the outlines of a mask's parts and of their holes, without those that are only a line."""
    found, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    simple = [cv2.approxPolyDP(contour, _SIMPLE, closed=True).reshape(-1, 2) for contour in found]
    return [outline for outline in simple if len(outline) >= 3]
