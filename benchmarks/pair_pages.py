"""Two editions of a series whose pairs are known, drawn from pages of one: what `benchmarks.pairs` measures on.

H, W: pixels of a page.
x, y: pixels, pixel centres at halves.

Each gray page is made from a colour page: its own form (equal lightness, luma, or drawn anew with screens), crop,
scale, rotation, margins, a slight warp, lettering and JPEG. Some colour pages have no gray partner, some gray pages no
colour one, some colour pictures are parts cut out of their page, and some pages come twice, half of the second another
page's.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

from datasets.page import encode
from imaging.color import F32, U8, gray_of_equal_lightness, luma
from imaging.screentone import to_screentone

WAVE = 2.0  # pixels at a height of 1,600: the most that a line is moved by the slight warp
UNLIKE = 30  # levels of a channel by which lettering differs from what is under it
_LETTERS = ("NO!", "WAIT A MINUTE", "WHAT IS THAT?", "LATER...", "I KNOW", "COME HERE", "OF COURSE", "HA HA HA")


@dataclass(frozen=True)
class MadePair:
    """A colour picture and the gray page made for it.

    color: encoded colour picture; None where the gray page has no colour partner.
    gray: encoded gray page; None where the colour picture has no gray partner.
    where: (h, w, 2) float32, where on the gray page a point of the colour picture lies, sampled every `step` pixels.
    kind: "page", "part", "alike" or "alone".
    differs: (h, w) 255 where the gray page shows other lettering than the colour picture.
    frame: pixels of the gray page's blank margins: left, right, top, bottom.
    """

    name: str
    color: bytes | None
    gray: bytes | None
    kind: str
    differs: U8 = field(default_factory=lambda: np.zeros((0, 0), np.uint8))
    where: F32 = field(default_factory=lambda: np.zeros((0, 0, 2), np.float32))
    step: int = 16
    frame: tuple[int, int, int, int] = (0, 0, 0, 0)


def make_pair(name: str, lettered: U8, art: U8, other: U8 | None, rng: np.random.Generator, part: bool) -> MadePair:
    """Make the gray page of a colour page.

    lettered: (H, W, 3) sRGB, the page that the gray one is made from.
    art: (H, W, 3) sRGB, the colour picture: the same page, with other lettering or none.
    other: (H, W, 3) sRGB, a page whose half replaces this page's in both: two pages look alike. None for none.
    part: the colour picture is a part cut out of the page.
    """
    kind = "part" if part else "page"
    if other is not None:
        kind = "alike"
        lettered, art = _half_of(lettered, other), _half_of(art, other)
    color, corner, scale = _cut_out(art, rng) if part else (art, np.zeros(2), 1.0)
    gray, differs, frame, matrix, wave = _printed(lettered, _differing(lettered, art), rng)
    columns, rows = np.meshgrid(np.arange(0, color.shape[1], 16), np.arange(0, color.shape[0], 16))
    points = (np.stack([columns, rows], axis=-1) + 0.5) / scale + corner
    where = _moved(points.reshape(-1, 2), matrix, wave).reshape(*points.shape)
    return MadePair(name, encode(color, "jpeg"), _jpeg(gray, rng), kind, differs, where.astype(np.float32), frame=frame)


def _half_of(page: U8, other: U8) -> U8:
    """Return the page with its lower half taken from another."""
    height, width = page.shape[:2]
    mixed = page.copy()
    mixed[height // 2 :] = cv2.resize(other, (width, height), interpolation=cv2.INTER_AREA)[height // 2 :]
    return mixed


def _cut_out(page: U8, rng: np.random.Generator) -> tuple[U8, np.ndarray, float]:
    """Return a part of a page at another scale, its corner on the page, and the scale."""
    height, width = page.shape[:2]
    size = (np.array([width, height]) * rng.uniform(0.4, 0.65, 2)).astype(int)
    corner = (rng.uniform(0, 1, 2) * (np.array([width, height]) - size)).astype(int)
    cut = page[corner[1] : corner[1] + size[1], corner[0] : corner[0] + size[0]]
    wide = round(cut.shape[1] * rng.uniform(0.8, 1.5))
    scale = wide / cut.shape[1]
    high = round(cut.shape[0] * scale)
    return cv2.resize(cut, (wide, high), interpolation=cv2.INTER_CUBIC), corner.astype(float), scale


def _differing(lettered: U8, art: U8) -> U8:
    """Return 255 where two versions of a page show different things."""
    away = np.abs(lettered.astype(np.int16) - art).max(axis=2) > UNLIKE
    return cv2.morphologyEx(away.astype(np.uint8) * 255, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))


def _printed(
    page: U8, differs: U8, rng: np.random.Generator
) -> tuple[U8, U8, tuple[int, int, int, int], np.ndarray, tuple]:
    """Return the gray page, where it differs, its blank margins, the (3, 3) matrix from the colour page to it, and its
    slight warp.
    """
    inked = _lettered(_gray_form(page, rng), differs, rng)
    height, width = inked.shape
    scale, angle = rng.uniform(0.75, 1.3), np.radians(rng.uniform(-3, 3))
    crop, margin = rng.uniform(0, 0.05, 4), rng.uniform(0, 0.07, 4) * (rng.random() < 0.6)
    wide = round(width * scale * (1 - crop[0] - crop[1] + margin[0] + margin[1]))
    high = round(height * scale * (1 - crop[2] - crop[3] + margin[2] + margin[3]))
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([width, height]) / 2
    shift = centre * scale - turn @ centre + scale * np.array([
        width * (margin[0] - crop[0]), height * (margin[2] - crop[2])
    ])  # fmt: skip
    matrix = np.vstack([np.column_stack([turn, shift]), [0, 0, 1]])
    wave = rng.uniform(-1, 1, (2, 3)), WAVE * high / 1600
    paper = 255 if rng.random() < 0.8 else 0
    columns, rows = np.meshgrid(np.arange(wide) + 0.5, np.arange(high) + 0.5)
    target = np.stack([columns, rows], axis=-1).reshape(-1, 2)
    back = target - _wave(target, wave, (wide, high))  # the warp is slight: its inverse is its opposite
    source = (back - shift) @ np.linalg.inv(turn).T
    source = source.reshape(high, wide, 2).astype(np.float32) - 0.5
    printed = cv2.remap(inked, source[..., 0], source[..., 1], cv2.INTER_CUBIC, borderValue=paper)
    moved_differs = cv2.remap(differs, source[..., 0], source[..., 1], cv2.INTER_NEAREST)
    left, right, top, bottom = (margin * np.array([width, width, height, height]) * scale).astype(int).tolist()
    frame = left, right, top, bottom
    blank(printed, frame, paper)
    return printed, moved_differs, frame, matrix, (wave[0], wave[1], (wide, high))  # type: ignore[return-value]


def blank(page: U8, frame: tuple[int, int, int, int], paper: int) -> None:
    """Set the margins of a page.

    frame: of `MadePair`.
    paper: their level.
    """
    left, right, top, bottom = frame
    page[:top], page[:, :left] = paper, paper
    page[page.shape[0] - bottom :], page[:, page.shape[1] - right :] = paper, paper


def _wave(points: np.ndarray, wave: tuple, size: tuple[int, int]) -> np.ndarray:
    """Return how far the slight warp moves points of the gray page."""
    weights, most = wave[0], wave[1]
    at = 2 * np.pi * points / np.array(size)
    basis = np.stack([np.sin(at[:, 0]), np.sin(at[:, 1]), np.sin(at[:, 0] + at[:, 1])], axis=1)
    return most / 3 * basis @ weights.T


def _moved(points: np.ndarray, matrix: np.ndarray, wave: tuple) -> np.ndarray:
    """Return where points of the colour page lie on the gray page."""
    straight = points @ matrix[:2, :2].T + matrix[:2, 2]
    return straight + _wave(straight, wave, wave[2])


def _gray_form(page: U8, rng: np.random.Generator) -> U8:
    chance = rng.random()
    if chance < 0.5:
        return to_screentone(page, int(rng.integers(2**31)))
    return gray_of_equal_lightness(page) if chance < 0.75 else luma(page)


def _lettered(gray: U8, differs: U8, rng: np.random.Generator) -> U8:
    """Return the page with bubbles of its own: another edition's lettering. They are added to `differs`."""
    height, width = gray.shape
    page = gray.copy()
    for _ in range(int(rng.integers(1, 4))):
        text = str(rng.choice(_LETTERS))
        size = max(0.4, width / 1100)
        (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, size, 1)
        at = (int(rng.uniform(0.15, 0.85) * width), int(rng.uniform(0.1, 0.9) * height))
        axes = (int(wide * 0.65), int(high * 1.8))
        cv2.ellipse(page, at, axes, 0, 0, 360, 255, -1, cv2.LINE_AA)
        cv2.ellipse(differs, at, axes, 0, 0, 360, 255, -1)
        cv2.ellipse(page, at, axes, 0, 0, 360, 0, 2, cv2.LINE_AA)
        origin = (at[0] - wide // 2, at[1] + high // 2)
        cv2.putText(page, text, origin, cv2.FONT_HERSHEY_DUPLEX, size, 0, 1, cv2.LINE_AA)
    return page


def _jpeg(gray: U8, rng: np.random.Generator) -> bytes:
    quality = int(rng.integers(55, 96))
    return cv2.imencode(".jpg", gray, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
