"""What the desk has done in a sandbox: pictures made fit for a browser, colours found in them. No torch here."""

from collections.abc import Sequence

import cv2
import numpy as np

from datasets.page import decode, decode_plain, encode, gray_of
from imaging.color import gray_of_equal_lightness, to_lab
from imaging.palette import build_palette
from imaging.scaling import at_most
from imaging.text import find_text
from jobs.parts.colorize.previews import draw_preview, small_picture
from jobs.parts.colorize.report.drift_chart import css_of

MOST_PIXELS = 24_000_000  # of a picture that a browser is given: four bytes of memory for each
_LONGEST = 16_000  # pixels of its longer side
_SIDE = 160  # pixels of a picture's longer side in which colours are looked for
_SWATCHES = 24


def for_browser(data: bytes, pixels: int, small: bool = False) -> bytes:
    """A page as a JPEG that every browser shows; one that is very large comes reduced.

    pixels: the most that the page may have.
    small: in the size of a preview.
    Raises PageUnreadableError.
    """
    page = decode_plain(data, pixels=pixels)
    if small:
        return small_picture(page)
    height, width = page.shape[:2]
    scale = min(1.0, (MOST_PIXELS / (height * width)) ** 0.5, _LONGEST / max(height, width))
    if scale < 1:
        size = (max(1, int(width * scale)), max(1, int(height * scale)))
        page = cv2.resize(page, size, interpolation=cv2.INTER_AREA)
    return encode(page if page.ndim == 3 else np.repeat(page[..., None], 3, axis=2), "jpeg")


def layer_of(data: bytes, name: str, pixels: int) -> bytes:
    """What is found on a page, as an SVG to lay over it.

    name: one of imaging.overlay.LAYERS.
    pixels: the most that the page may have.
    Raises PageUnreadableError.
    """
    gray = gray_of(decode_plain(data, pixels=pixels))
    return draw_preview(gray, gray, find_text(gray)).layers[name]


def swatches_of(pictures: Sequence[bytes], pixels: int) -> list[str]:
    """The colours that coloured pages have most of, as CSS has them.

    pixels: the most that a picture may have.
    Raises PageUnreadableError.
    """
    pages = []
    for data in pictures:
        little = at_most(decode(data, pixels=pixels), _SIDE)
        pages.append((gray_of_equal_lightness(little), np.ascontiguousarray(to_lab(little)[..., 1:])))
    return list(dict.fromkeys(css_of(color) for color in build_palette(pages, _SWATCHES).colors)) if pages else []
