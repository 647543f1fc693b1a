"""What is done with a page's bytes, inside a sandbox: decoded, looked at, joined, encoded; and a PDF built again.

S: side of the square the network sees, pixels. No Ray and no torch here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets.archive import ChapterRef
from datasets.chapters.pdf import jpegs_of, recolor
from datasets.errors import MangahueError
from datasets.page import decode, encode, frames, gray_of
from datasets.storage import open_storage
from imaging.color import F32, U8, is_color_page, to_lab
from imaging.crops import Crop
from imaging.descreen import for_network, network_pair
from imaging.gate import Fault
from imaging.hints import Hint
from imaging.postprocess import postprocess_page
from imaging.views import Strategy, plan_views
from jobs.parts.colorize.page_settings import PageSettings
from jobs.parts.colorize.previews import Preview, When, draw_preview
from jobs.parts.ledger.palette_usage import as_record

_JPEG = b"\xff\xd8"


@dataclass(frozen=True)
class Seen:
    """A page looked at. width, height: pixels. why: why it is not to be coloured.

    grays: (N, S, S) levels to show the network if it is to be coloured, else None; crops: where each belongs on a page
    of this shape (H, W), which may be smaller than the page itself.
    """

    width: int
    height: int
    grays: U8 | None
    why: str = ""
    crops: tuple[Crop, ...] = ()
    shape: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Colored:
    """A coloured page, encoded. faults: what the gate has against it. colors: of the palette (palette_usage.py)."""

    data: bytes
    faults: tuple[Fault, ...]
    colors: dict[str, list[float]]
    preview: Preview | None = None


def see(data: bytes, image_size: int, strategy: Strategy, pixels: int) -> Seen:
    """Raises PageUnreadableError."""
    if (count := frames(data)) > 1:
        return Seen(0, 0, None, f"{count} frames: animated pages pass as they are")
    page = decode(data, pixels=pixels)
    height, width = page.shape[:2]
    if is_color_page(page):
        return Seen(width, height, None, "in colour already")
    shown = for_network(gray_of(page))
    views = plan_views(shown, strategy, image_size)
    crops = tuple(view.crop for view in views)
    return Seen(width, height, np.stack([view.gray for view in views]), crops=crops, shape=shown.shape)


def learn_from(data: bytes, image_size: int, pixels: int) -> tuple[U8, F32] | None:
    """A coloured page at the network's size: ink (S, S) and chroma (S, S, 2); None for one that is not in colour.

    Raises PageUnreadableError.
    """
    if frames(data) > 1:
        return None
    page = decode(data, pixels=pixels)
    if not is_color_page(page):
        return None
    gray, small = network_pair(gray_of(page), page, image_size)
    return gray, np.ascontiguousarray(to_lab(small)[..., 1:])


def color_over(
    data: bytes,
    chroma: np.ndarray,
    whole_page_chroma: np.ndarray | None,
    hints: Sequence[Hint],
    settings: PageSettings,
    pixels: int,
    preview: When = "never",
) -> Colored:
    """The page at full size under its chroma (h, w, 2).

    whole_page_chroma, hints: as `postprocess_page` takes them.
    preview: when one is made.
    Raises PageUnreadableError.
    """
    gray = gray_of(decode(data, pixels=pixels))
    other = None if whole_page_chroma is None else whole_page_chroma.astype(np.float32)
    laid = postprocess_page(gray, chroma.astype(np.float32), settings.postprocess, other, hints)
    shown = draw_preview(gray, laid.page) if preview == "always" or (preview == "flawed" and laid.faults) else None
    return Colored(encode(laid.page, settings.image_format), laid.faults, as_record(laid.colors), shown)


def rebuild_pdf(ref: ChapterRef, pages: Mapping[int, bytes], out: Path) -> None:
    """The chapter, a PDF, with these pages (by index) instead of its own, at `out`. Raises ChapterUnreadableError."""
    with open_storage(ref.root).open(ref.key) as source:
        recolor(source, pages, out)
    with out.open("rb") as made:
        found = jpegs_of(made)
    if any(data.startswith(_JPEG) and found[index] != data for index, data in pages.items()):
        raise MangahueError(f"{ref.rel}: the PDF made has other pages than planned; this is a bug")
