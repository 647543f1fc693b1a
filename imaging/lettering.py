"""Letters on a page, and the blocks of text that they make.

H, W: pixels.
scale: pixels that a page's height has; of a spread, a strip or a cut page, those that a whole page's would have.

The page is thresholded at the level of its paper. There a letter is a small dark component with plain paper around it.
Letters as near to each other as letters stand make a block. How the letters of a block look together decides whether it
is text. Nothing here knows a script: Latin letters in rows and kanji in columns pass the same tests.
"""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from imaging.color import U8
from imaging.components import I32, I64, Components, Mask

F64 = NDArray[np.float64]

GRID = 4  # pixels to a cell of the grid that blocks are made on
_DARKER = 30  # levels that paper may be darker than most of it is
_INK = 0.68  # share of the paper's level; what is darker is ink
_LONGEST, _BROADEST, _LEAST = 0.12, 0.055, 0.004  # to the scale: sides of a letter, or of several that touch
_APART = 0.55  # how far a letter reaches for the next, to its own size
_MOST_COMPARED = 120  # letters of a block, of which all pairs are compared


@dataclass(frozen=True)
class Page:
    """A page, and where its paper is.

    gray: (H, W) levels.
    paper: (H, W) bool, where the page is as bright as paper.
    level: gray level of the paper.
    scale: in pixels, as in the head of this module.
    """

    gray: U8
    paper: Mask
    level: int
    scale: float


@dataclass(frozen=True)
class Letters:
    """N components that may be letters.

    pixels: (P,) the pixels of all letters, as indices into the flat page.
    owner: (P,) which letter each of these pixels is of.
    box: (N, 4) left, top, right, bottom.
    ink: (N,) number of dark pixels.
    stroke: (N,) breadth of the broadest stroke, in pixels.
    size: (N,) about a letter's height, in pixels.
    """

    pixels: I64
    owner: I64
    box: I32
    ink: F64
    stroke: F64
    size: F64

    def __len__(self) -> int:
        return len(self.box)

    def only(self, chosen: Mask) -> "Letters":
        """Return the letters chosen, (N,) bool, numbered anew."""
        there = chosen[self.owner]
        owner = (chosen.cumsum() - 1)[self.owner[there]]
        return Letters(
            self.pixels[there], owner, self.box[chosen], self.ink[chosen], self.stroke[chosen], self.size[chosen]
        )


@dataclass(frozen=True)
class Block:
    """Letters that stand together.

    letters: indices of its letters.
    cells: (h, w) bool on the grid, where its letters and the paper between them are.
    corner: (left, top) of `cells` on the grid, in cells.
    size: of a letter, in pixels.
    likeness: log odds that the block is text; -inf for less than three letters, which look like anything.
    """

    letters: I64
    cells: Mask
    corner: tuple[int, int]
    size: float
    likeness: float

    @property
    def area(self) -> int:
        """The block's area in pixels."""
        return int(self.cells.sum()) * GRID**2


def look(gray: U8) -> Page:
    """Find a page's paper, and how bright it is.

    gray: (H, W) levels.
    """
    height, width = gray.shape
    scale = page_scale(height, width)
    counts = cv2.calcHist([gray], [0], None, [256], [0, 256]).ravel()
    brightest = int(np.searchsorted(counts.cumsum(), 0.995 * gray.size))
    lowest = max(brightest - 20, 0)
    level = max(lowest + int(counts[lowest:].argmax()), 160)  # a page without white has no paper
    return Page(gray, gray >= level - _DARKER, level, scale)


def page_scale(height: int, width: int) -> float:
    """Return the pixels that a whole page's height has at this size.

    For a spread and for a strip the width decides.
    """
    return min(max(height, width), 1.42 * min(height, width))


def find_letters(page: Page) -> Letters:
    """Find the components that have a letter's size, ink and strokes, and paper around them."""
    # A letter is a hole in the paper: diagonal neighbours are one stroke.
    components = Components.of(~page.paper, connectivity=8)
    longest, broadest = _LONGEST * page.scale, _BROADEST * page.scale
    ids, box = components.boxes((components.area >= 8) & (components.area <= longest * broadest))
    sides = box[:, 2:] - box[:, :2]
    long, broad = sides.max(axis=1), sides.min(axis=1)
    fits = (long <= longest) & (broad <= broadest) & (long >= max(4, _LEAST * page.scale))
    letters = _measure(page, components, ids[fits], box[fits])
    filled = letters.ink / np.maximum(sides[fits].prod(axis=1), 1)
    good = (letters.ink >= 0.25 * components.area[ids[fits]]) & (filled > 0.1) & (filled < 0.95)
    good &= letters.stroke <= 0.45 * np.maximum(letters.size, 8)
    letters = letters.only(good)
    return letters.only(_clearness(letters, _coarse(standing_room(page, letters))) > 0.5)


def standing_room(page: Page, letters: Letters) -> Mask:
    """Return (H, W) bool: paper, and the letters on it."""
    room = page.paper.copy()
    room.ravel()[letters.pixels] = True
    return room


def find_blocks(page: Page, letters: Letters) -> list[Block]:
    """Join letters that are near each other, with nothing but paper between them, into blocks."""
    if not len(letters):
        return []
    room = _coarse(standing_room(page, letters))
    clear = _clearness(letters, room)
    left, top, right, bottom = _reach(letters, room.shape)
    change = np.zeros((room.shape[0] + 1, room.shape[1] + 1), np.int32)  # its running sum is the filled boxes
    for rows, columns, step in ((top, left, 1), (bottom, right, 1), (top, right, -1), (bottom, left, -1)):
        np.add.at(change, (rows, columns), step)
    reached = (change.cumsum(axis=0).cumsum(axis=1)[:-1, :-1] > 0) & room
    count, cells, stats, _ = cv2.connectedComponentsWithStats(reached.astype(np.uint8), connectivity=4)
    middle = (letters.box[:, :2] + letters.box[:, 2:]) // 2 // GRID
    owner = cells[middle[:, 1], middle[:, 0]]
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[order], np.arange(1, count + 1))
    blocks = []
    for number, (start, end) in enumerate(pairwise(starts), 1):
        if start < end:
            x, y, w, h = stats[number, :4]
            own = order[start:end]
            shape = cells[y : y + h, x : x + w] == number
            blocks.append(_block(letters, own, clear[own], shape, (int(x), int(y))))
    return blocks


def _measure(page: Page, components: Components, ids: I64, box: I32) -> Letters:
    """Return these components as letters."""
    count = len(ids)
    chosen = np.zeros(len(components.area), bool)
    chosen[ids] = True
    pixels, owner = components.pixels(chosen)
    dark = page.gray.ravel()[pixels] < _INK * page.level
    strokes = np.zeros(page.gray.shape, np.uint8)
    strokes.ravel()[pixels[dark]] = 1
    depth = cv2.distanceTransform(strokes, cv2.DIST_L2, 3).ravel()[pixels[dark]]
    deepest = np.zeros(count, np.float32)
    np.maximum.at(deepest, owner[dark], depth)
    ink = np.bincount(owner, weights=dark, minlength=count).astype(np.float64)
    sides = box[:, 2:] - box[:, :2]
    size = np.minimum(sides[:, 1], 3 * sides[:, 0]).astype(np.float64)  # letters that touch are as high as one letter
    return Letters(pixels, owner, box, ink, 2 * deepest.astype(np.float64), size)


def _coarse(room: Mask) -> Mask:
    """Return the room on the grid: cells of which most is room.

    A line as broad as a bubble's outline still separates.
    """
    height, width = room.shape
    down, across = -height % GRID, -width % GRID
    whole = cv2.copyMakeBorder(room.view(np.uint8), 0, down, 0, across, cv2.BORDER_REPLICATE)
    size = ((width + across) // GRID, (height + down) // GRID)
    return cv2.resize(whole * np.uint8(255), size, interpolation=cv2.INTER_AREA) >= 200


def _reach(letters: Letters, shape: tuple[int, ...]) -> tuple[I32, ...]:
    """Return left, top, right, bottom, (N,) each, in cells, of what each letter reaches."""
    apart = _APART * letters.size[:, None]
    low = np.maximum((letters.box[:, :2] - apart) / GRID, 0).astype(np.int32)
    high = np.ceil((letters.box[:, 2:] + apart) / GRID).astype(np.int32)
    return low[:, 0], low[:, 1], np.minimum(high[:, 0], shape[1]), np.minimum(high[:, 1], shape[0])


def _clearness(letters: Letters, room: Mask) -> F64:
    """Return (N,): the share of paper and letters in what each letter reaches, 0 to 1."""
    left, top, right, bottom = _reach(letters, room.shape)
    total = cv2.integral(room.astype(np.uint8))
    inside = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
    clear: F64 = inside / np.maximum((bottom - top) * (right - left), 1)
    return clear


def _block(letters: Letters, own: I64, clear: F64, cells: Mask, corner: tuple[int, int]) -> Block:
    # Dots and commas say little about how letters look: only larger letters are measured.
    large = own[letters.size[own] >= 0.5 * np.percentile(letters.size[own], 75)]
    size = float(np.median(letters.size[large]))
    box, heights = letters.box[large[:_MOST_COMPARED]].astype(np.float64), letters.size[large[:_MOST_COMPARED]]
    aligned, astray = _in_lines(box, heights)
    likeness = -np.inf
    if len(large) >= 3:
        around = float(np.average(clear, weights=letters.ink[own] + 1))
        density = float(letters.ink[own].sum()) / (int(cells.sum()) * GRID**2)
        filled = float(np.median(letters.ink[large[:_MOST_COMPARED]] / (box[:, 2:] - box[:, :2]).prod(axis=1)))
        likeness = _likeness(around, aligned, astray, filled, density)
    return Block(own, cells, corner, size, likeness)


def _likeness(clear: float, aligned: float, astray: float, filled: float, density: float) -> float:
    """Return the log odds that letters are text.

    clear: share of paper around the letters, 0 to 1.
    aligned: share of letters in a row or column, from `_in_lines`.
    astray: share of near pairs out of line, from `_in_lines`.
    filled: share of a letter's box that its ink fills.
    density: ink to the block's area.

    The weights are those of a logistic regression. It was fitted on blocks of real lettering, of the same series' art
    turned to line art and screentone, and of the generated series.
    """
    return (
        24.6 * clear
        + 8.7 * aligned
        - 7.3 * astray
        - 11.4 * abs(filled - 0.42)  # a stray line fills less, and a dash more
        + 26.5 * min(density, 0.2)
        - 30.7
    )


def _in_lines(box: F64, size: F64) -> tuple[float, float]:
    """Return how far letters stand in lines: two shares.

    The first is the share of letters with a neighbour beside them in a row, or in a column if that is more. The second
    is the share of near pairs that are neither in one line nor in two, but half beside each other.
    """
    larger = np.maximum(size[:, None], size)
    kin = np.minimum(size[:, None], size) > 0.5 * larger
    np.fill_diagonal(kin, False)
    middle, sides = (box[:, :2] + box[:, 2:]) / 2, box[:, 2:] - box[:, :2]
    off = np.abs(middle[:, None] - middle)  # (n, n, 2)
    apart = (off - (sides[:, None] + sides) / 2) / larger[..., None]
    beside = (apart < 0.8) & (apart > -0.2)
    level = np.minimum(np.abs(box[:, None, 3] - box[:, 3]), off[..., 1]) < 0.15 * larger  # on a base line, or centred
    row = (level & beside[..., 0] & kin).any(axis=1).mean()
    column = ((off[..., 0] < 0.2 * larger) & beside[..., 1] & kin).any(axis=1).mean()
    near = kin & (off.max(axis=2) < 3 * larger)
    if not near.any():
        return float(max(row, column)), 1.0
    common = np.minimum(box[:, None, 2:], box[:, 2:]) - np.maximum(box[:, None, :2], box[:, :2])
    share = (common / np.minimum(sides[:, None], sides))[near]
    astray = ((share > 0) & (share < 0.65)).mean(axis=0).min()
    return float(max(row, column)), float(astray)
