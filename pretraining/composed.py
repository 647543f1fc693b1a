"""Pages composed of single scenes: panels between gutters, some that bleed, frames and lettering.

H, W: pixels.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from datasets.synthetic.layout import Panel, layout
from datasets.synthetic.lettering import Speaker, bubble, caption, sound
from datasets.synthetic.pen import LETTERING, Pen, blank
from datasets.synthetic.script import CAPTIONS, LINES, SOUNDS
from imaging.color import U8

Rng = np.random.Generator

_WIDTH, _HEIGHTS = 400, (480, 620)  # pixels
_LETTERED = 0.6  # share of the panels
_CAPTIONS = [text for texts in CAPTIONS.values() for text in texts]
_LINES = [(kind, text) for lines in LINES for _, kind, text in lines]


def compose_page(scenes: Sequence[U8], rng: Rng) -> U8:
    """Return a page (H, W, 3) whose panels are parts of the scenes (h, w, 3), each used before any is used twice."""
    height = int(rng.integers(*_HEIGHTS))
    panels = layout(_WIDTH, height, rng, splash=False)
    page = np.full((height, _WIDTH, 3), 0 if rng.random() < 0.08 else 255, np.uint8)
    line = int(rng.integers(0, 4))
    order = [int(i) for _ in range(len(panels)) for i in rng.permutation(len(scenes))]
    for panel, number in zip(panels, order, strict=False):
        _mount(page, panel, scenes[number], line, rng)
    return page


def crop_to(scene: U8, aspect: float, rng: Rng, *, least: float = 0.5) -> U8:
    """Return a part of a scene of this aspect (width / height): at least the share `least` of the largest."""
    height, width = scene.shape[:2]
    share = rng.uniform(least, 1)
    wide = max(8, min(width, round(share * min(width, height * aspect))))
    high = max(8, min(height, round(wide / aspect)))
    top, left = int(rng.integers(height - high + 1)), int(rng.integers(width - wide + 1))
    return scene[top : top + high, left : left + wide]


def letter_over(scene: U8, rng: Rng, size: float) -> U8:
    """Return a scene with a bubble, a caption or a sound on it; size: of the letters, in pixels."""
    height, width = scene.shape[:2]
    pen = Pen(blank(height, width), np.zeros((height, width), np.float32), max(1.0, size / 9))
    chance = rng.random()
    if chance < 0.7:
        kind, text = _LINES[int(rng.integers(len(_LINES)))]
        head = Speaker(width * rng.uniform(0.2, 0.8), height * rng.uniform(0.4, 0.9), 0.1 * height)
        bubble(pen, text, size, head, [], rng, kind=kind)
    elif chance < 0.9:
        corner = str(rng.choice(["top left", "top right", "bottom left", "bottom right"]))
        caption(pen, _CAPTIONS[int(rng.integers(len(_CAPTIONS)))], size, corner, rng)
    else:
        word = str(rng.choice(SOUNDS))
        sound(pen, word, 2.2 * size, width / 2, height * rng.uniform(0.2, 0.8), rng.uniform(-14, 14), rng)
    lettered = (pen.canvas[..., 3] == LETTERING)[..., None]
    return np.where(lettered, pen.canvas[..., :1], scene)


def _mount(page: U8, panel: Panel, scene: U8, line: int, rng: Rng) -> None:
    """Lay a part of a scene into a panel, letter it, and frame it."""
    height, width = page.shape[:2]
    corners = np.round(panel.corners).astype(np.int32)
    left, top = np.maximum(corners.min(axis=0), 0)
    right, bottom = np.minimum(corners.max(axis=0), (width, height))
    wide, high = int(right - left), int(bottom - top)
    own = crop_to(scene, wide / high, rng)
    own = cv2.resize(own, (wide, high), interpolation=cv2.INTER_AREA if own.shape[0] > high else cv2.INTER_LINEAR)
    if rng.random() < _LETTERED:
        own = letter_over(own, rng, rng.uniform(7, 12))
    inside = np.zeros((high, wide), np.uint8)
    cv2.fillPoly(inside, [corners - np.array([left, top], np.int32)], 1)
    area = page[top:bottom, left:right]
    np.copyto(area, own, where=inside[..., None] > 0)
    if line:
        cv2.polylines(page, [corners], True, (12, 12, 12), line)
