"""Work on a page's bytes, done inside a sandbox: decode, examine, join, encode. Also rebuilds a PDF or an EPUB.

S: side of the square the network sees, pixels. No Ray and no torch here.
"""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets.archive import EPUB_SUFFIX, ChapterRef, suffix_of
from datasets.chapters.pdf import jpegs_of, recolor
from datasets.chapters.recolored_book import recolor_book
from datasets.errors import MangahueError
from datasets.limits import Limits
from datasets.page import decode, decode_plain, encode, format_of, frames, gray_of
from datasets.storage import open_storage
from imaging.color import F32, U8, is_color_page, to_lab
from imaging.crops import Crop
from imaging.descreen import for_network, network_pair
from imaging.gate import Fault
from imaging.hints import Hint
from imaging.postprocess import postprocess_page
from imaging.views import Strategy, plan_views
from jobs.parts.colorize.page_settings import PageSettings
from jobs.parts.colorize.previews import Preview, Wanted, draw_preview, small_picture
from jobs.parts.ledger.palette_usage import as_record

_JPEG = b"\xff\xd8"


@dataclass(frozen=True)
class Seen:
    """What was found when a page was examined.

    width, height: pixels.
    grays: (N, S, S) levels to show the network; None if the page is not to be coloured.
    why: why it is not to be coloured; "" otherwise.
    crops: for each square of `grays` where it belongs on a page of `shape`.
    shape: (H, W), which may be smaller than the page itself.
    preview: of a page in colour already, if one was asked for.
    """

    width: int
    height: int
    grays: U8 | None
    why: str = ""
    crops: tuple[Crop, ...] = ()
    shape: tuple[int, int] = (0, 0)
    preview: Preview | None = None


@dataclass(frozen=True)
class Colored:
    """A coloured page.

    data: the page, encoded.
    faults: what the gate has against it.
    colors: the palette colours that the page uses, as palette_usage.as_record tells them.
    preview: a small picture, if one was asked for.
    """

    data: bytes
    faults: tuple[Fault, ...]
    colors: dict[str, list[float]]
    preview: Preview | None = None


def see(data: bytes, image_size: int, strategy: Strategy, pixels: int, with_preview: bool = False) -> Seen:
    """Examine a page: should it be coloured, and what is the network shown of it?

    image_size: S.
    pixels: the most that the page may have.
    with_preview: draw that of a page in colour already.
    Raises PageUnreadableError.
    """
    if (count := frames(data)) > 1:
        return Seen(0, 0, None, f"{count} frames: animated pages pass as they are")
    page = decode_plain(data, pixels=pixels)
    height, width = page.shape[:2]
    if page.ndim == 3 and is_color_page(page):
        preview = Preview(small_picture(page), {}) if with_preview else None
        return Seen(width, height, None, "in colour already", preview=preview)
    shown = for_network(gray_of(page))
    views = plan_views(shown, strategy, image_size)
    crops = tuple(view.crop for view in views)
    return Seen(width, height, np.stack([view.gray for view in views]), crops=crops, shape=shown.shape)


def learn_from(data: bytes, image_size: int, pixels: int) -> tuple[U8, F32] | None:
    """A coloured page at the network's size: ink (S, S) and chroma (S, S, 2) ab. None for a page without colour.

    image_size: S.
    pixels: the most that the page may have.
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
    preview: Wanted = Wanted(),  # noqa: B008  # frozen
    keep_format: bool = False,
) -> Colored:
    """The page at full size with this chroma under its ink.

    chroma: (h, w, 2) ab, or (h, w, 3) with L last.
    whole_page_chroma, hints: as `postprocess_page` takes them.
    pixels: the most that the page may have.
    preview: which one is drawn.
    keep_format: encode it in the format that it has, where that is one of ours, else as PNG.
    Raises PageUnreadableError.
    """
    gray = gray_of(decode_plain(data, pixels=pixels))
    other = None if whole_page_chroma is None else whole_page_chroma.astype(np.float32)
    laid = postprocess_page(gray, chroma.astype(np.float32), settings.postprocess, other, hints)
    shown = None
    if preview.layers == "always" or (preview.layers == "flawed" and laid.faults):
        shown = draw_preview(gray, laid.page, laid.text)
    elif preview.every:
        shown = Preview(small_picture(laid.page), {})
    image_format = format_of(data) if keep_format else settings.image_format
    return Colored(encode(laid.page, image_format), laid.faults, as_record(laid.colors), shown)


def rebuild(ref: ChapterRef, limits: Limits, pages: Mapping[int, bytes], out: Path) -> None:
    """Write the chapter, a PDF or an EPUB, to `out` with some of its pages replaced.

    pages: the new pages, by page index.
    out: the file to write; its extension tells which of the two the chapter is.
    Raises ChapterUnreadableError; MangahueError where what was made does not hold these pages.
    """
    if suffix_of(out.name) == EPUB_SUFFIX:
        recolor_book(open_storage(ref.root), ref, limits, pages, out)
        with zipfile.ZipFile(out) as book:
            if (damaged := book.testzip()) is not None:
                raise MangahueError(f"{ref.rel}: {damaged} is damaged in the EPUB made; is the disk full?")
        return
    with open_storage(ref.root).open(ref.key) as source:
        recolor(source, pages, out)
    with out.open("rb") as made:
        found = jpegs_of(made)
    if any(data.startswith(_JPEG) and found[index] != data for index, data in pages.items()):
        raise MangahueError(f"{ref.rel}: the PDF made has other pages than planned; this is a bug")
