"""Small pictures of pages, for the report and for the desk.

The report shows pages that the gate has something against, and samples of the others. The preview of such a page is
several objects in the output, `_mangahue/previews/<rel>/<chunk>-<number>`: a `.jpg`, and an `.svg` of the same size for
each layer of what was found on the page. Numbers count these previews of a chunk, not its pages. With `--previews all`
every other page has a preview too, `_mangahue/previews/<rel>/page-<index>.jpg`. So a chapter that is done again
overwrites its own previews.
"""

import itertools
import logging
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import cv2

from datasets.errors import MangahueError
from imaging.color import U8
from imaging.components import Mask
from imaging.overlay import LAYERS, Outlines, find_layers
from jobs.parts.colorize.config import PagesShown
from jobs.parts.colorize.tasks import Chunk, PageTask
from jobs.parts.ledger.ledger import HOME, Ledger
from jobs.parts.ledger.manifest import ALONE

log = logging.getLogger("mangahue")
When = Literal["never", "flawed", "always"]  # flawed: only if the gate has something against the page

SAMPLED_CHAPTERS = 100  # chapters, spread over the job, whose first coloured page is shown
_MOST_FLAWED = 8  # flawed pages shown per chunk: where all are bad, a few are enough
_LONGEST = 640  # pixels of the longer side of a preview with layers
_LONGEST_ALONE = 480  # of one without
_QUALITY = 80
_PUTS = 8  # pictures stored at once: storage mostly lets one wait
_PEN = {  # visible on any picture, and distinct without colour too
    "words": 'stroke="#d6006c" stroke-width="2.5" fill="#d6006c" fill-opacity=".3"',
    "panels": 'stroke="#0062d6" stroke-width="4" stroke-dasharray="14 7" fill="none"',
    "areas": 'stroke="#00803e" stroke-width="1.5" fill="none"',
}


@dataclass(frozen=True)
class Preview:
    """A small picture of a page.

    picture: a JPEG.
    layers: for each name of LAYERS an SVG of the picture's size; empty for a page that the report does not show.
    """

    picture: bytes
    layers: dict[str, bytes]


@dataclass(frozen=True)
class Wanted:
    """Which preview a page is to have.

    layers: when it is one for the report, with layers.
    every: whether it is to have a picture all the same.
    """

    layers: When = "never"
    every: bool = False


def small_picture(page: U8, longest: int = _LONGEST_ALONE) -> bytes:
    """A page as a small JPEG.

    page: (H, W) levels, or (H, W, 3) sRGB.
    longest: most pixels of the picture's longer side.
    Every page has one, so it is made in two steps: by a whole number, which takes a tenth of the time, then the rest.
    """
    height, width = page.shape[:2]
    scale = min(1.0, longest / max(height, width))
    whole = int(1 / scale)
    if whole > 1 and min(height, width) >= whole:
        even = page[: height // whole * whole, : width // whole * whole]
        page = cv2.resize(even, None, fx=1 / whole, fy=1 / whole, interpolation=cv2.INTER_AREA)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(page, size, interpolation=cv2.INTER_LINEAR)
    shown = small if small.ndim == 2 else cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


def draw_preview(gray: U8, page: U8, text: Mask) -> Preview:
    """Draw the preview of a page.

    gray: (H, W) levels of the source.
    page: (H, W, 3), the coloured page.
    text: (H, W) where text is.
    """
    scale = min(1.0, _LONGEST / max(gray.shape))
    size = (max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale)))
    found = find_layers(gray, text, size)
    return Preview(small_picture(page, _LONGEST), {name: _svg(name, found[name], size).encode() for name in LAYERS})


def _svg(name: str, outlines: Outlines, size: tuple[int, int]) -> str:
    width, height = size
    frame = f'viewBox="0 0 {width} {height}" preserveAspectRatio="none"'
    path = " ".join("M" + " ".join(f"{x},{y}" for x, y in outline) + "Z" for outline in outlines)
    shapes = (
        f'<defs><path id="o" d="{path}" fill-rule="evenodd"/></defs>'
        f'<use href="#o" fill="none" stroke="#fff" stroke-width="5" stroke-opacity=".7"/><use href="#o" {_PEN[name]}/>'
    )
    nothing = (
        f'<text x="{width / 2:g}" y="{height / 2:g}" text-anchor="middle" font-family="sans-serif" font-size="22" '
        f'paint-order="stroke" stroke="#fff" stroke-width="5" fill="#333">no {name} found</text>'
    )
    return f'<svg xmlns="http://www.w3.org/2000/svg" {frame}>{shapes if outlines else nothing}</svg>\n'


class Previews:
    """The previews of one chunk. Nothing is stored before `store`.

    sample: show the chunk's first coloured page in the report, whatever the gate says.
    every: keep a picture of every page, not of those alone that the report shows.
    kept: preview keys of pages that stay as they were published. They are not overwritten.
    """

    @classmethod
    def of(cls, chunk: Chunk, ledger: Ledger, shown: PagesShown) -> "Previews":
        """The previews of this chunk, with the keys of its published pages left alone."""
        kept = {page.published.preview for page in chunk.pages if page.published and page.published.is_shown}
        sample = chunk.task.sample and chunk.number == 0
        return cls(ledger, chunk.task.ref.rel, chunk.number, sample=sample, every=shown == "all", kept=kept)

    def __init__(
        self, ledger: Ledger, rel: str, chunk: int, *, sample: bool, every: bool, kept: Collection[str] = ()
    ) -> None:
        self._ledger, self._rel, self._every = ledger, rel, every
        self._sample, self._flawed = sample and not kept, len(kept)
        self._home = f"previews/{rel}"
        self._keys = (key for key in (f"{self._home}/{chunk}-{n}" for n in itertools.count()) if key not in kept)
        self._files: list[tuple[PageTask, str, bytes, str]] = []

    def of_next(self) -> Wanted:
        """Which preview the next page is to have."""
        layers: When = "always" if self._sample else "flawed" if self._flawed < _MOST_FLAWED else "never"
        return Wanted(layers, self._every)

    def add(self, page: PageTask, preview: Preview) -> None:
        """Give a page its preview. Of those with layers the ones too many have a picture alone, or none: pages encoded
        together all draw theirs.
        """
        flawed = bool(page.code)
        if preview.layers and (self._sample or (flawed and self._flawed < _MOST_FLAWED)):
            page.preview = next(self._keys)
            self._flawed, self._sample = self._flawed + flawed, False
            layers = {f".{name}.svg": (data, "image/svg+xml") for name, data in preview.layers.items()}
        elif self._every:
            page.preview, layers = f"{self._home}/{ALONE}{page.member.index}", {}
        else:
            return
        files = {".jpg": (preview.picture, "image/jpeg"), **layers}
        self._files += [(page, f"{HOME}/{page.preview}{end}", data, kind) for end, (data, kind) in files.items()]

    def store(self) -> None:
        """Write all. A page whose preview storage refuses has none."""
        if not self._files:
            return
        with ThreadPoolExecutor(min(_PUTS, len(self._files))) as puts:
            for page, refused in zip((file[0] for file in self._files), self._put_all(puts), strict=True):
                if refused is not None:  # the page is what matters
                    log.warning("%s: a preview for the report could not be stored: %s", self._rel, refused)
                    page.preview = ""

    def _put_all(self, puts: ThreadPoolExecutor) -> Iterator[MangahueError | None]:
        def put(file: tuple[PageTask, str, bytes, str]) -> MangahueError | None:
            try:
                self._ledger.storage.put(file[1], file[2], content_type=file[3])
            except MangahueError as error:
                return error
            return None

        return puts.map(put, self._files)
