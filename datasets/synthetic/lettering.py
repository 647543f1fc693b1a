"""Lettering of the generated series: speech bubbles, captions, sound effects.

It is neutral, and labelled LETTERING. Lengths are in pixels of a panel's own canvas. Boxes are (left, top, right,
bottom).
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from datasets.synthetic.pen import F64, INK, LETTERING, Pen, level_of, oval

Box = tuple[float, float, float, float]
Rng = np.random.Generator
U8 = NDArray[np.uint8]

_LEADING = 1.12


@dataclass(frozen=True)
class Speaker:
    """The head that a bubble belongs to.

    x: of the head's middle.
    y: of the head's middle.
    radius: of the head.
    """

    x: float
    y: float
    radius: float


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=max(size, 4))  # Pillow brings this one, so no system font is assumed


def letter(text: str, size: float, rng: Rng, *, bold: float = 0.035) -> U8:
    """Return lines of hand lettering, centred: (h, w) coverage, 0 to 255, cut to the text's own box.

    text: its lines are separated by line feeds.
    size: in pixels.
    rng: of the hand's tremor.
    bold: width of the stroke that makes letters bolder, to the size.
    """
    font = _font(round(size))
    lines = text.upper().split("\n")
    apart = size * max(0.0, 2 * bold - 0.06)  # bold letters need more room between them
    widths = [sum(font.getlength(c) + apart for c in line) for line in lines]
    margin = round(size * 0.3) + 2
    page = Image.new("L", (int(max(widths)) + 2 * margin, int(size * _LEADING * len(lines)) + 2 * margin), 0)
    draw = ImageDraw.Draw(page)
    stroke = max(0, round(size * bold))
    for row, line in enumerate(lines):
        x = margin + (max(widths) - widths[row]) / 2
        y = margin + row * size * _LEADING
        for c in line:
            dx, dy = rng.normal(0, size * 0.012), rng.normal(0, size * 0.022)
            weight = stroke // 2 if c in "!?:" else stroke  # a bold stroke would close the gap over the dot
            draw.text((x + dx, y + dy), c, fill=255, font=font, stroke_width=weight)
            x += font.getlength(c) + apart
    ink = np.asarray(page)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    cut: U8 = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if rows.size else np.zeros((1, 1), np.uint8)
    return cut


def wrap(text: str, size: float, widest: float, shape: float = 1.7) -> str:
    """Break a text into lines.

    text: the text.
    size: of the lettering, in pixels.
    widest: the most pixels that a line has, where the words allow it.
    shape: about the block's width to its height.
    """
    font = _font(round(size))
    words = text.upper().split()
    total = font.getlength(" ".join(words))
    goal = min(widest, max((total * size * _LEADING * shape) ** 0.5, max(font.getlength(w) for w in words)))
    lines, current = [], ""
    for word in words:
        longer = f"{current} {word}".strip()
        if current and font.getlength(longer) > goal * 1.08:
            lines.append(current)
            longer = word
        current = longer
    return "\n".join([*lines, current])


def bubble(
    pen: Pen,
    text: str,
    size: float,
    speaker: Speaker,
    taken: list[Box],
    rng: Rng,
    *,
    kind: str = "speech",
    lettered: tuple[Box, ...] = (),
) -> Box | None:
    """Letter a bubble near its speaker.

    pen: of the panel.
    text: what is said.
    size: of the lettering, in pixels; it is made smaller where the panel leaves no room.
    speaker: the head that the bubble belongs to.
    taken: boxes that the bubble keeps clear of as far as it can.
    rng: of the hand's tremor and of the outline.
    kind: speech, shout or thought.
    lettered: boxes of lettering, which it must not hide.

    Returns the bubble's box. Where it would have to hide what is lettered already, nothing is drawn, and None returned.
    """
    height, width = pen.canvas.shape[:2]
    for step in range(8):  # the lettering gets smaller where the panel leaves no room
        block = letter(wrap(text, size, width * 0.62), size, np.random.default_rng(rng.integers(2**32)))
        pad = 1.62 if kind == "shout" else 1.42
        rx, ry = block.shape[1] / 2 * pad + size * 0.15, block.shape[0] / 2 * pad + size * 0.3
        if (rx < width * 0.47 and ry < height * (0.25 + 0.02 * step)) or size <= 5:
            break
        size *= 0.87
    x, y = _place(rx, ry, width, height, speaker, taken, pen.line * 3)
    own = (x - rx, y - ry, x + rx, y + ry)
    if any(_overlap(own, box) > 0.02 * rx * ry for box in lettered):
        return None
    outline = _outline(x, y, rx, ry, kind, rng)
    _blow(pen, [outline, *_tail(x, y, rx, ry, speaker, kind)])
    _stamp(pen, block, x, y)
    return own


def caption(pen: Pen, text: str, size: float, corner: str, rng: Rng) -> Box:
    """Letter a narrator's box and return the box.

    pen: of the panel.
    text: what the narrator says.
    size: of the lettering, in pixels; it is made smaller where the panel leaves no room.
    corner: top left, top right, bottom left or bottom right.
    rng: of the hand's tremor.
    """
    height, width = pen.canvas.shape[:2]
    block = letter(wrap(text, size, width * 0.8, shape=4.5), size, rng, bold=0.02)
    while size > 5 and (block.shape[1] > width * 0.84 or block.shape[0] > height * 0.3):
        size *= 0.87
        block = letter(wrap(text, size, width * 0.8, shape=4.5), size, rng, bold=0.02)
    rx, ry = block.shape[1] / 2 + size * 0.55, block.shape[0] / 2 + size * 0.45
    gap = pen.line * 3.5
    x = gap + rx if "left" in corner else width - gap - rx
    y = gap + ry if "top" in corner else height - gap - ry
    _blow(pen, [np.array([(x - rx, y - ry), (x + rx, y - ry), (x + rx, y + ry), (x - rx, y + ry)])])
    _stamp(pen, block, x, y)
    return x - rx, y - ry, x + rx, y + ry


def sound(pen: Pen, text: str, size: float, x: float, y: float, tilt: float, rng: Rng) -> None:
    """Letter a sound effect in big outlined letters, always whole.

    pen: of the panel.
    text: the sound.
    size: of the lettering, in pixels.
    x: of the middle, which moves where the panel's edge is close.
    y: the same.
    tilt: in degrees.
    rng: of the hand's tremor.
    """
    block = letter(text, size, rng, bold=0.09)
    rim = max(2, round(size * 0.09))
    block = np.pad(block, 2 * rim)
    turned = np.asarray(Image.fromarray(block).rotate(tilt, expand=True, resample=Image.Resampling.BILINEAR))
    solid = (turned > 127).astype(np.uint8)
    (high, wide), (height, width) = solid.shape, pen.canvas.shape[:2]
    x = min(max(x, wide / 2), max(width - wide / 2, width / 2))
    y = min(max(y, high / 2), max(height - high / 2, height / 2))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * rim + 1, 2 * rim + 1))
    edge = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * max(1, rim // 3) + 1,) * 2)
    white = cv2.dilate(solid, kernel)
    for mask, level in (
        (cv2.dilate(white, edge), level_of(INK.lightness)),
        (white, 255),
        (solid, level_of(INK.lightness)),
    ):
        _lay(pen, mask > 0, x, y, level)


def _place(
    rx: float, ry: float, width: int, height: int, speaker: Speaker, taken: list[Box], gap: float
) -> tuple[float, float]:
    """Return the middle of a bubble.

    It hides the least of what is taken, and of such points it is nearest to above its speaker.
    """
    best, middle = np.inf, (width / 2, ry + gap)
    for x in np.linspace(min(rx + gap, width / 2), max(width - rx - gap, width / 2), 13):
        for y in np.linspace(min(ry + gap, height / 2), max(height * 0.8 - ry, ry + gap), 9):
            hidden = sum(_overlap((x - rx, y - ry, x + rx, y + ry), box) for box in taken) / (4 * rx * ry)
            reach = np.hypot(x - speaker.x, y - (speaker.y - speaker.radius - ry)) / np.hypot(width, height)
            cost = 6 * hidden + reach + 0.5 * y / height
            if cost < best:
                best, middle = cost, (float(x), float(y))
    return middle


def _overlap(one: Box, other: Box) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, wide) * max(0.0, high)


def _outline(x: float, y: float, rx: float, ry: float, kind: str, rng: Rng) -> F64:
    if kind == "shout":
        turns = np.linspace(0, 2 * np.pi, 36, endpoint=False)
        reach = np.where(np.arange(36) % 2, 0.86, rng.uniform(1.0, 1.16, 36))
        return np.stack([x + rx * reach * np.cos(turns), y + ry * reach * np.sin(turns)], axis=1)
    turns = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    if kind == "thought":
        swell = 0.95 + 0.09 * np.abs(np.sin(turns * 6))
        return np.stack([x + rx * swell * np.cos(turns), y + ry * swell * np.sin(turns)], axis=1)
    c, s = np.cos(turns), np.sin(turns)
    wobble = 1 + 0.012 * np.sin(2 * turns + rng.uniform(0, 6)) + 0.01 * np.sin(3 * turns + rng.uniform(0, 6))
    round_x, round_y = np.sign(c) * np.abs(c) ** 0.88, np.sign(s) * np.abs(s) ** 0.88
    return np.stack([x + rx * wobble * round_x, y + ry * wobble * round_y], axis=1)


def _tail(x: float, y: float, rx: float, ry: float, speaker: Speaker, kind: str) -> list[F64]:
    """Return the shapes from the bubble towards its speaker's head: a curved tail, or the drops of a thought."""
    away = np.array([speaker.x - x, speaker.y - y])
    distance = float(np.hypot(*away))
    free = distance - speaker.radius * 1.15
    edge = float(1 / np.hypot(away[0] / rx, away[1] / ry)) * distance if distance else 0.0
    if free <= edge:
        return []
    along = away / distance
    length = min(free, edge + 3 * ry)
    if kind == "thought":
        drops = [edge + (length - edge) * t for t in (0.2, 0.55, 0.9)]
        return [
            oval(x + along[0] * d, y + along[1] * d, r, r)
            for d, r in zip(drops, (ry / 5, ry / 7, ry / 11), strict=True)
        ]
    across = np.array([-along[1], along[0]])
    half = min(rx, ry) * 0.24
    base, tip = np.array([x, y]) + along * edge * 0.7, np.array([x, y]) + along * length
    bend = (base + tip) / 2 + across * half * 0.9
    t = np.linspace(0, 1, 12)[:, None]

    def arc(start: F64) -> F64:
        return (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * tip

    return [np.concatenate([arc(base - across * half), arc(base + across * half)[::-1]])]


def _blow(pen: Pen, shapes: list[F64]) -> None:
    """Draw paper where any of the shapes is, with one ink line round their union."""
    mask = np.zeros(pen.canvas.shape[:2], dtype=np.uint8)
    for shape in shapes:
        cv2.fillPoly(mask, [np.round(shape).astype(np.int32)], 1)
    rims, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    pen.canvas[mask > 0] = (255, 128, 128, LETTERING)
    ink = (level_of(INK.lightness), 128, 128, LETTERING)
    cv2.drawContours(pen.canvas, rims, -1, ink, max(1, round(pen.line * 1.15)))


def _stamp(pen: Pen, block: U8, x: float, y: float) -> None:
    """Put lettering on paper: darken it by coverage."""
    area, part = _window(pen, block.shape[0], block.shape[1], x, y)
    gray = pen.canvas[area][..., 0]
    np.minimum(gray, np.maximum(255 - block[part], level_of(INK.lightness)).astype(np.uint8), out=gray)
    pen.canvas[area][..., 3] = np.where(block[part] > 0, LETTERING, pen.canvas[area][..., 3])
    pen.canvas[area][..., 1:3][block[part] > 0] = 128


def _lay(pen: Pen, mask: NDArray[np.bool_], x: float, y: float, level: int) -> None:
    area, part = _window(pen, mask.shape[0], mask.shape[1], x, y)
    pen.canvas[area][mask[part]] = (level, 128, 128, LETTERING)


def _window(pen: Pen, high: int, wide: int, x: float, y: float) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return where a block centred on (x, y) meets the canvas.

    The first is the part of the canvas, the second the part of the block.
    """
    height, width = pen.canvas.shape[:2]
    top, left = round(y - high / 2), round(x - wide / 2)
    rows, columns = (max(top, 0), min(top + high, height)), (max(left, 0), min(left + wide, width))
    rows, columns = (rows[0], max(rows)), (columns[0], max(columns))
    area = slice(*rows), slice(*columns)
    return area, (slice(rows[0] - top, rows[1] - top), slice(columns[0] - left, columns[1] - left))
