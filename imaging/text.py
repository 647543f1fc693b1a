"""Text on a page: speech bubbles, captions and lettering, which colouring leaves neutral.

H, W: pixels.

Lettering is found first (imaging.lettering). From it follows the area that belongs to the text:

- Where the paper that it stands on is closed, all of that paper.
- Where the paper runs out into a gutter or into white art, what is left of it when its necks are cut.
- Else the lettering and a margin.
"""

import math

import cv2
import numpy as np

from imaging.bands import ChromaRows, with_margin
from imaging.color import F32, U8
from imaging.components import I64, Components, Mask
from imaging.lettering import GRID, Block, Letters, find_blocks, find_letters, look, page_scale, standing_room

_LOOKED_AT = 1500.0  # a page of a larger scale is examined at this one: its letters are large enough there
_SURE, _LIKELY = 1.0, 0.0  # the least likeness of text on open paper, and of text in a closed bubble
_ROOMY = 6.0  # the most that a bubble's area is to that of its lettering
_LARGEST = 0.35  # share of the page that the box around joined bubbles has at most; a margin's box is larger
_LARGEST_HOLE = 0.004  # to the page's scale squared: a larger hole in a bubble is art behind it
_TILE = 96  # pixels: side of the squares that are faded, or skipped, as a whole
_PAD = 2  # pixels around a bubble's inside, where its smoothed rim is darker than paper


def find_text(gray: U8) -> Mask:
    """Find the text of a page: lettering, and the inside of its bubble or caption.

    gray: (H, W) levels of a black-and-white page, or the gray form of a colour page.

    Returns (H, W) bool. Dark letters on paper are found, in any script. Three kinds of text are not looked for: sound
    effects drawn over art, light letters on dark ground, and less than three letters together, which look as much like
    an eye or a button.
    """
    height, width = gray.shape
    shrink = _LOOKED_AT / page_scale(height, width)
    if shrink >= 1:
        return _find(gray)
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    small = _find(cv2.resize(gray, size, interpolation=cv2.INTER_AREA)).astype(np.uint8)
    return cv2.resize(small * np.uint8(255), (width, height), interpolation=cv2.INTER_LINEAR) > 127


def neutral(chroma: ChromaRows, text: Mask, *, edge: float = 1.5) -> ChromaRows:
    """Fade chroma to nothing on text.

    chroma: of the page.
    text: (H, W), as `find_text` returns it.
    edge: width of the fading outside the mask, in pixels. Inside, chroma is zero; beyond, it is left as it is.
    """

    def rows_of(rows: slice) -> F32:
        faded = chroma(rows)
        fade(faded, text, rows, edge=edge)
        return faded

    return rows_of


def fade(planes: F32, text: Mask, rows: slice, *, edge: float = 1.5) -> None:
    """Fade rows of a page to nothing on text, in place.

    planes: (..., n, W), these rows.
    text: (H, W) of the page.
    edge: as for `neutral`.
    """
    height, width = text.shape
    margin = math.ceil(edge) + 1
    wide, inner = with_margin(rows, margin, height)
    away = (~text[wide]).view(np.uint8)
    for left in range(0, width, _TILE):
        # Few tiles have text in or beside them: only there the distance to it is computed.
        before = min(left, margin)
        around = away[:, left - before : left + _TILE + margin]
        if around.all():
            continue
        part = planes[..., left : left + _TILE]
        way = cv2.distanceTransform(around, cv2.DIST_L2, 3)[inner, before : before + part.shape[-1]]
        part *= np.minimum(way / np.float32(edge + 1), 1)


def _find(gray: U8) -> Mask:
    page = look(gray)
    letters = find_letters(page)
    blocks = [block for block in find_blocks(page, letters) if block.likeness > _LIKELY]
    if not blocks:
        return np.zeros(gray.shape, dtype=bool)
    room = standing_room(page, letters)
    regions = Components.of(room, connectivity=4)
    homes = _homes(letters, blocks, regions)
    text = np.bincount(homes, weights=[block.area for block in blocks], minlength=len(regions.area))
    closed = (text > 0) & (regions.area <= _ROOMY * text)
    found = np.zeros(gray.shape, np.uint8)
    for number, (left, top, right, bottom) in zip(*regions.boxes(closed), strict=True):
        wide, high = right - left, bottom - top
        # A region that goes from edge to edge of the page is a gutter.
        closed[number] = wide * high < _LARGEST * gray.size and wide < gray.shape[1] and high < gray.shape[0]
    found.ravel()[regions.pixels(closed)[0]] = 1
    for block, home in zip(blocks, homes, strict=True):
        if not closed[home]:
            _grow(found, room, block)
    return _smoothed(found, page.scale)


def _homes(letters: Letters, blocks: list[Block], regions: Components) -> I64:
    """Return the region of paper that each block stands on."""
    _, first = np.unique(letters.owner, return_index=True)
    home = regions.at(letters.pixels[first])
    return np.array([np.bincount(home[block.letters]).argmax() for block in blocks])


def _grow(found: U8, room: Mask, block: Block) -> None:
    """Add text on open paper to `found`, and as much of the paper as belongs to it."""
    size, shape = block.size, found.shape
    margin = round(6 * size)
    left, top = (max(n * GRID - margin, 0) for n in block.corner)
    high, wide = (n * GRID for n in block.cells.shape)
    right = min(block.corner[0] * GRID + wide + margin, shape[1])
    bottom = min(block.corner[1] * GRID + high + margin, shape[0])
    own = np.zeros((bottom - top, right - left), np.uint8)
    cells = cv2.resize(block.cells.view(np.uint8), (wide, high), interpolation=cv2.INTER_NEAREST)
    y, x = block.corner[1] * GRID - top, block.corner[0] * GRID - left
    part = own[y : y + high, x : x + wide]
    part[:] = cells[: part.shape[0], : part.shape[1]]
    here = room[top:bottom, left:right]
    text = _closed(own, 0.7 * size) & here.view(np.uint8)
    region = found[top:bottom, left:right]
    for neck in (0.5, 1.0, 2.0):  # to a letter's size: necks of twice that are cut; a gutter's is the widest
        body = _part_at(_opened(here, neck * size), text)
        if int(body.sum()) <= _ROOMY * block.area and not _at_edge(body):
            region |= body | text | _tails(here, body)
            return
    if block.likeness > _SURE:
        region |= text | (_dilated(text, 0.6 * size) & here.view(np.uint8))


def _opened(room: Mask, radius: float) -> U8:
    """Return what a disc of this radius, in pixels, can cover without leaving the room."""
    # The picture's edge is not a wall: what lies beyond it counts as room.
    walled = cv2.copyMakeBorder(room.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    core = cv2.distanceTransform(walled, cv2.DIST_L2, 3)[1:-1, 1:-1] > radius
    return _dilated(core.view(np.uint8), radius)


def _dilated(mask: U8, radius: float) -> U8:
    if not mask.any():
        return mask
    return (cv2.distanceTransform(1 - mask, cv2.DIST_L2, 3) <= radius).view(np.uint8)


def _closed(mask: U8, radius: float) -> U8:
    grown = _dilated(mask, radius)
    return (cv2.distanceTransform(grown, cv2.DIST_L2, 3) > radius).view(np.uint8) | mask


def _part_at(mask: U8, seeds: U8) -> U8:
    """Return the components of a mask that hold more than a tenth of the seeds."""
    count, labels = cv2.connectedComponents(mask, connectivity=4)
    held = np.bincount(labels[seeds > 0], minlength=count)
    chosen = held > 0.1 * seeds.sum()
    chosen[0] = False
    return chosen.astype(np.uint8)[labels]


def _at_edge(mask: U8) -> bool:
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def _tails(room: Mask, body: U8) -> U8:
    """Return what was cut off a body with its necks, where it is small and closed.

    It is a bubble's tail, or its corners.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(room.view(np.uint8) & (1 - body), connectivity=4)
    high, wide = body.shape
    inner = (stats[:, 0] > 0) & (stats[:, 1] > 0)
    inner &= (stats[:, 0] + stats[:, 2] < wide) & (stats[:, 1] + stats[:, 3] < high)
    beside = np.zeros(count, dtype=bool)
    beside[labels[_dilated(body, 1) > 0]] = True
    chosen = inner & beside & (stats[:, 4] < 0.2 * body.sum())
    chosen[0] = False
    return chosen.astype(np.uint8)[labels]


def _smoothed(found: U8, scale: float) -> Mask:
    """Return the mask with its small holes filled and its rim taken in.

    Larger holes stay: they are art that bubbles stand around.
    """
    around = 2 * _PAD + 1
    found = cv2.dilate(found, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (around, around)))
    outlines, tree = cv2.findContours(found, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    holes = [o for o, (*_, parent) in zip(outlines, tree[0] if outlines else (), strict=True) if parent >= 0]
    small = [hole for hole in holes if cv2.contourArea(hole) < _LARGEST_HOLE * scale**2]
    cv2.drawContours(found, small, -1, 1, cv2.FILLED)
    return found > 0
