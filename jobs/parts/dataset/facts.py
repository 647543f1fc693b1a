"""What is noted of each page while it is read: sizes, panels, how colourful it is, what it looks like from afar."""

import base64
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image

from datasets.page import Page
from imaging.color import U8, gray_of_equal_lightness, to_lab
from imaging.colorfulness import colorfulness
from imaging.near_duplicates import Look, look_of
from imaging.panels import find_panels
from imaging.scaling import at_most

_LONG = 900  # pixels of the longer side at which a page is looked at
_COLORS = 64  # pixels of the side of the square on which colours are measured
_PREVIEW = 240  # pixels of a preview's height
_MASKED = (255, 120, 160)  # sRGB over what is masked


@dataclass(frozen=True)
class PageFacts:
    """What is noted of a row.

    chapter, index, name, split, source: of the row.
    gray, color: whether it has this picture.
    masked: share of the page that is not judged.
    width, height: pixels of the row.
    panels: (width, height) of each, in pixels of the row.
    colorfulness: of its colours (imaging.colorfulness); None without.
    chroma: their mean (a, b); None without.
    look: what it looks like from afar (imaging.near_duplicates), base64.
    """

    chapter: str
    index: int
    name: str
    split: str
    source: str
    gray: bool
    color: bool
    masked: float
    width: int
    height: int
    panels: tuple[tuple[int, int], ...]
    colorfulness: float | None
    chroma: tuple[float, float] | None
    look: str

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "PageFacts":
        """Make facts of what `to_json` returned, read from JSON."""
        chroma = values["chroma"]
        panels = tuple((int(width), int(height)) for width, height in values["panels"])
        return cls(**{**values, "panels": panels, "chroma": None if chroma is None else (chroma[0], chroma[1])})

    def to_json(self) -> dict[str, Any]:
        """The facts as plain values."""
        return asdict(self)

    @property
    def row(self) -> tuple[str, int, str]:
        """What tells the row from others of its data set."""
        return self.chapter, self.index, self.source

    @property
    def seen(self) -> Look:
        """`look`, decoded."""
        return Look.from_bytes(base64.b64decode(self.look))


def facts_of(page: Page, gray: U8 | None, color: U8 | None) -> PageFacts:
    """The facts of a row.

    page: the row.
    gray: (H, W) levels of its gray picture, None where it has none.
    color: (h, w, 3) sRGB of its colour picture, None where it has none.
    """
    mask = page.decode_mask((page.height, page.width))
    small_color = None if color is None else at_most(color, _LONG)
    if gray is None:
        assert small_color is not None  # a row has a picture
        small_gray = gray_of_equal_lightness(small_color)
    else:
        small_gray = at_most(gray, _LONG)
    colors = None if color is None else cv2.resize(color, (_COLORS, _COLORS), interpolation=cv2.INTER_AREA)
    across, down = page.width / small_gray.shape[1], page.height / small_gray.shape[0]
    boxes = [panel.box for panel in find_panels(small_gray)]
    return PageFacts(
        chapter=page.chapter,
        index=page.index,
        name=page.name,
        split=page.split,
        source=page.source,
        gray=page.gray is not None,
        color=page.color is not None,
        masked=0.0 if mask is None else float(mask.mean()),
        width=page.width,
        height=page.height,
        panels=tuple(
            (round((right - left) * across), round((bottom - top) * down)) for left, top, right, bottom in boxes
        ),
        colorfulness=None if colors is None else colorfulness(colors),
        chroma=None if colors is None else mean_chroma(colors),
        look=base64.b64encode(look_of(small_gray, small_color).to_bytes()).decode(),
    )


def mean_chroma(colors: U8) -> tuple[float, float]:
    """The mean a and b of (H, W, 3) sRGB."""
    a, b = to_lab(colors)[..., 1:].mean(axis=(0, 1))
    return float(a), float(b)


def preview_of(page: Page, gray: U8 | None, color: U8 | None) -> bytes:
    """A small JPEG of a row: its gray and its colour picture side by side, as far as it has them, and what is masked.

    page, gray, color: as for `facts_of`.
    """
    size = (max(1, min(3 * _PREVIEW, round(_PREVIEW * page.width / page.height))), _PREVIEW)
    gray_rgb = (
        None if gray is None else np.repeat(cv2.resize(gray, size, interpolation=cv2.INTER_AREA)[..., None], 3, 2)
    )
    color_rgb = None if color is None else cv2.resize(color, size, interpolation=cv2.INTER_AREA)
    sides = [side for side in (gray_rgb, color_rgb) if side is not None]
    mask = page.decode_mask((size[1], size[0]))
    if mask is not None:
        tinted = [np.where(mask[..., None], (side // 2 + np.array(_MASKED, np.uint8) // 2), side) for side in sides]
        sides = [side.astype(np.uint8) for side in tinted]
    out = io.BytesIO()
    Image.fromarray(np.concatenate(sides, axis=1)).save(out, "JPEG", quality=80)
    return out.getvalue()
