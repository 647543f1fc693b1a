"""Small pictures of a few pages, for the report: pages that the gate has something against, and samples of the others.

A preview is several objects in the output, `_mangahue/previews/<rel>/<chunk>-<number>`: a `.jpg`, and an `.svg` of the
same size for each layer of what was found on the page. Numbers count the previews of a chunk, not its pages. So a
chapter that is done again overwrites its own previews.
"""

import itertools
import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import cv2

from datasets.errors import MangahueError
from imaging.color import U8
from imaging.components import Mask
from imaging.overlay import LAYERS, Outlines, find_layers
from jobs.parts.colorize.tasks import Chunk
from jobs.parts.ledger.ledger import HOME, Ledger

log = logging.getLogger("mangahue")
When = Literal["never", "flawed", "always"]  # flawed: only if the gate has something against the page

SAMPLED_CHAPTERS = 100  # chapters, spread over the job, whose first coloured page is shown
_MOST_FLAWED = 8  # flawed pages shown per chunk: where all are bad, a few are enough
_LONGEST = 640  # pixels of a preview's longer side
_QUALITY = 80
_PEN = {  # visible on any picture, and distinct without colour too
    "words": 'stroke="#d6006c" stroke-width="2.5" fill="#d6006c" fill-opacity=".3"',
    "panels": 'stroke="#0062d6" stroke-width="4" stroke-dasharray="14 7" fill="none"',
    "areas": 'stroke="#00803e" stroke-width="1.5" fill="none"',
}


@dataclass(frozen=True)
class Preview:
    """A small picture of a page.

    picture: a JPEG.
    layers: for each name of LAYERS an SVG of the picture's size.
    """

    picture: bytes
    layers: dict[str, bytes]


def draw_preview(gray: U8, page: U8, text: Mask) -> Preview:
    """Draw the preview of a page.

    gray: (H, W) levels of the source.
    page: (H, W, 3), the coloured page.
    text: (H, W) where text is.
    """
    scale = min(1.0, _LONGEST / max(gray.shape))
    size = (max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale)))
    small = cv2.resize(page, size, interpolation=cv2.INTER_AREA)
    _, picture = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    found = find_layers(gray, text, size)
    return Preview(picture.tobytes(), {name: _svg(name, found[name], size).encode() for name in LAYERS})


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
    """The previews of one chunk.

    sample: show the chunk's first coloured page, whatever the gate says.
    kept: preview keys of pages that stay as they were published. They are not overwritten.
    """

    @classmethod
    def of(cls, chunk: Chunk, ledger: Ledger) -> "Previews":
        """The previews of this chunk, with the keys of its published pages left alone."""
        kept = {page.published.preview for page in chunk.pages if page.published} - {""}
        sample = chunk.task.sample and chunk.number == 0
        return cls(ledger, chunk.task.ref.rel, chunk.number, sample=sample, kept=kept)

    def __init__(self, ledger: Ledger, rel: str, chunk: int, *, sample: bool, kept: Collection[str] = ()) -> None:
        self._ledger, self._rel, self._sample, self._flawed = ledger, rel, sample and not kept, len(kept)
        home = f"previews/{rel}/{chunk}"
        self._keys = (key for key in (f"{home}-{number}" for number in itertools.count()) if key not in kept)

    def of_next(self) -> When:
        """For which kind of page a preview is still wanted."""
        if self._sample:
            return "always"
        return "flawed" if self._flawed < _MOST_FLAWED else "never"

    def put(self, preview: Preview, *, flawed: bool) -> str:
        """Write a preview. Returns its key below `_mangahue/`, without the suffix.

        Returns "" where storage refuses it, or where no more is wanted: pages encoded together all draw theirs.
        """
        if not self._sample and not (flawed and self._flawed < _MOST_FLAWED):
            return ""
        key = next(self._keys)
        files = {".jpg": (preview.picture, "image/jpeg")}
        files |= {f".{name}.svg": (data, "image/svg+xml") for name, data in preview.layers.items()}
        self._flawed, self._sample = self._flawed + flawed, False
        try:
            for suffix, (data, kind) in files.items():
                self._ledger.storage.put(f"{HOME}/{key}{suffix}", data, content_type=kind)
        except MangahueError as error:  # the page is what matters
            log.warning("%s: a preview for the report could not be stored: %s", self._rel, error)
            return ""
        return key
