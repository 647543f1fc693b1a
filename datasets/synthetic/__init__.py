"""A generated comic series: the default of the demo, and a ground truth for the tests.

H, W: pixels.

Each page is drawn once, as ink and as chroma together. The colour edition is the ink edition with its chroma joined on,
so both have the same luminance. Five characters keep shape, pattern and colours over all chapters. Chapters and pages
count from 1, as in an archive's names.
"""

import io
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasets.errors import BadUsageError
from datasets.synthetic.body import Pose
from datasets.synthetic.cast import CAST
from datasets.synthetic.layout import Panel, layout
from datasets.synthetic.lettering import Box, bubble, caption, sound
from datasets.synthetic.pen import INK, LETTERING, Material, Pen, blank, halftone, lay, level_of
from datasets.synthetic.scenes import SCENES, draw_scene
from datasets.synthetic.script import LINES, SERIES_TITLE, TITLES
from datasets.synthetic.stage import Figure, Shot, draw_figure, stage
from imaging.color import join_chroma

U8 = NDArray[np.uint8]
Rng = np.random.Generator
Dyes = Mapping[Material, Material]

__all__ = ["CAST", "DrawnPage", "Panel", "Series", "draw_page", "layout_page", "write_series"]

_OVER = 2  # how many times larger than the page the canvas is, per side
_LIMITS = {"seed": (0, 2**32 - 1), "chapters": (1, 999), "pages": (1, 999), "width": (96, 8000), "height": (96, 8000)}


@dataclass(frozen=True)
class Series:
    """What is generated.

    seed: of all that is drawn by chance.
    chapters: number of chapters.
    pages: number of pages of each chapter.
    width: of a page, in pixels.
    height: of a page, in pixels.
    dyes: materials that another one is drawn for: the same figures in other colours.

    Raises BadUsageError for a number out of range.
    """

    seed: int = 0
    chapters: int = 6
    pages: int = 8
    width: int = 800
    height: int = 1200
    dyes: Dyes = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            _check(name, getattr(self, name), low, high)


@dataclass(frozen=True)
class DrawnPage:
    """A page in both editions, and what is on it.

    ink: (H, W) gray levels.
    color: (H, W, 3) sRGB of the same luminance.
    cast: (H, W), i where the i-th of CAST can be seen, 0 where nobody can.
    bubbles: (H, W) bool, the text: speech bubbles, captions and lettering.
    """

    ink: U8
    color: U8
    cast: U8
    bubbles: NDArray[np.bool_]


def layout_page(series: Series, chapter: int, page: int) -> tuple[Panel, ...]:
    """Return the panels of a page; the first page is a splash.

    series: what is generated.
    chapter: from 1.
    page: from 1.

    Corners are in pixels; those of a bleeding panel lie beyond the edge. Raises BadUsageError for a page out of range.
    """
    _check("chapter", chapter, 1, series.chapters)
    _check("page", page, 1, series.pages)
    rng = np.random.default_rng([series.seed, chapter, page, 1])
    return layout(series.width, series.height, rng, splash=page == 1)


def draw_page(series: Series, chapter: int, page: int) -> DrawnPage:
    """Draw one page, alone; the same arguments give the same bytes.

    series: what is generated.
    chapter: from 1.
    page: from 1.

    Raises BadUsageError for a page out of range.
    """
    panels = layout_page(series, chapter, page)
    rng = np.random.default_rng([series.seed, chapter, page, 2])
    places = _places(series, chapter)
    canvas = blank(series.height * _OVER, series.width * _OVER)
    if page == 1:
        _draw_splash(canvas, panels[0], chapter, places[0], series.dyes, rng)
    else:
        first = (page - 1) * len(places) // series.pages
        for panel, shot in zip(panels, _shots(panels, places[first:] + places[:first], rng), strict=True):
            _draw_panel(canvas, panel, shot, series.dyes, rng)
    return _develop(canvas)


def write_series(series: Series, folder: Path, *, compress_level: int = 3) -> None:
    """Write both editions: folder/color/chNN.cbz and folder/ink/chNN.cbz.

    series: what is generated.
    folder: where to write.
    compress_level: of the PNGs, 0 to 9.

    An archive holds pages 001.png on, and a ComicInfo.xml. It appears whole or not at all. The same series gives the
    same bytes.
    """
    _check("compress_level", compress_level, 0, 9)
    for edition in ("color", "ink"):
        (folder / edition).mkdir(parents=True, exist_ok=True)
    for chapter in range(1, series.chapters + 1):
        drawn = [draw_page(series, chapter, page) for page in range(1, series.pages + 1)]
        name = f"ch{chapter:0{max(2, len(str(series.chapters)))}}.cbz"
        for edition, images in (("color", [p.color for p in drawn]), ("ink", [p.ink for p in drawn])):
            members = {"ComicInfo.xml": _comic_info(series, chapter, gray=edition == "ink")}
            members |= {f"{i:03}.png": _png(image, compress_level) for i, image in enumerate(images, 1)}
            _publish(folder / edition / name, members)


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise BadUsageError(f"{name} is {value}: give a whole number from {low} to {high}")


def _places(series: Series, chapter: int) -> list[str]:
    """Return two or three scenes that a chapter happens in; chapters in a row differ."""
    rng = np.random.default_rng([series.seed, chapter, 3])
    names = list(SCENES)
    start = (2 * chapter + series.seed) % len(names)
    others = rng.permutation([n for n in names if n != names[start]])
    return [names[start], *(str(n) for n in others[: int(rng.integers(1, 3))])]


def _shots(panels: tuple[Panel, ...], places: list[str], rng: Rng) -> list[Shot]:
    """Return what each panel shows, mostly in the first of the scenes.

    Somebody speaks in the first panel. Everybody has a turn before anybody has two.
    """
    deck = [int(who) for _ in range(8) for who in rng.permutation(len(CAST)) + 1]
    lines = [list(rng.permutation(len(own))) for own in LINES]
    shots = []
    for i, panel in enumerate(panels):
        place = places[0] if i == 0 or rng.random() < 0.7 else places[1]
        aspect = panel.width / panel.height
        room = 1 if aspect < 0.75 else 2 if aspect < 1.7 else 3
        count = int(rng.integers(1, room + 1)) if aspect < 1.7 else int(rng.integers(2, room + 1))
        cast = tuple(dict.fromkeys(deck[:count]))
        deck = deck[count:]
        framing = str(rng.choice(["medium", "medium", "close", "full"] if aspect > 0.7 else ["full", "full", "medium"]))
        framing = (
            str(rng.choice(["full", "full", "far"]))
            if i == 0
            else "medium"
            if len(cast) > 1 and framing == "close"
            else framing
        )
        backdrop = str(rng.choice(["burst", "dash"])) if i and len(cast) == 1 and rng.random() < 0.35 else "scene"
        talk = i == 0 or rng.random() < 0.8
        speakers = tuple(int(s) for s in rng.permutation(len(cast))[: 1 + int(rng.random() < 0.6)]) if talk else ()
        narrated = i == 0 and rng.random() < 0.7
        noisy = backdrop != "scene" or not talk
        spoken = tuple(_next_line(lines[cast[s] - 1]) for s in sorted(speakers))
        sounds = noisy and bool(rng.random() < 0.8)
        shots.append(Shot(place, cast, framing, backdrop, tuple(sorted(speakers)), spoken, narrated, sounds))
    return shots


def _next_line(deck: list[int]) -> int:
    """Return the next of a shuffled deck, which goes round."""
    deck.append(deck.pop(0))
    return int(deck[-1])


def _draw_panel(canvas: U8, panel: Panel, shot: Shot, dyes: Dyes, rng: Rng) -> None:
    pen, corners = _panel_pen(canvas, panel, dyes, rng)
    slant = max(abs(corners[0, 0] - corners[3, 0]), abs(corners[1, 0] - corners[2, 0]))
    unit = _unit(canvas)
    stage(pen, shot, round(float(slant)), unit * 0.0165, rng)
    _mount(canvas, pen, panel, unit)


def _draw_splash(canvas: U8, panel: Panel, chapter: int, place: str, dyes: Dyes, rng: Rng) -> None:
    """Draw the title page: all of the cast, the title, and one of them talking."""
    pen, _ = _panel_pen(canvas, panel, dyes, rng)
    height, width = pen.canvas.shape[:2]
    unit = _unit(canvas)
    draw_scene(replace(pen, line=pen.line * 0.85).placed(0, 0, height), place, width / height, rng)
    back, front = rng.permutation([2, 4]), rng.permutation([1, 3, 5])
    marks = [(int(w), x, 0.77) for w, x in zip(back, (0.335, 0.675), strict=True)]
    marks += [(int(w), x, 0.955) for w, x in zip(front, (0.18, 0.51, 0.82), strict=True)]
    scale = min(0.37 * height, 0.52 * width)
    figures = [Figure(w, x * width, y * height, scale, x > 0.5) for w, x, y in marks]
    speaker = int(rng.integers(len(figures)))
    lines = LINES[figures[speaker].who - 1]
    mood, kind, text = lines[int(rng.integers(len(lines)))]
    for i, figure in enumerate(figures):
        own = mood if i == speaker else str(rng.choice(["happy", "calm", "wink"]))
        draw_figure(pen, figure, Pose(own, (float(rng.choice([25, 120])), 25.0), 0.3, float(rng.uniform(-6, 6))))
    title = TITLES[(chapter - 1) % len(TITLES)]
    rows = _in_two(title)
    size = min(unit * 0.062, 1.5 * width / max(len(line) for line in rows), height * 0.09)
    for i, line in enumerate(rows):
        sound(pen, line, size, width / 2, height * 0.085 + i * size * 1.25, 0.0, rng)
    taken: list[Box] = [(0, 0, width, height * 0.085 + size * 2.1)] * 3
    taken += [box for figure in figures for box in figure.boxes]
    taken += [caption(pen, f"{SERIES_TITLE}, chapter {chapter}", unit * 0.017, "bottom right", rng)] * 3
    bubble(pen, text, unit * 0.017, figures[speaker].head, taken, rng, kind=kind)
    _mount(canvas, pen, panel, unit)


def _in_two(title: str) -> list[str]:
    words = title.split()
    cut = min(range(1, len(words)), key=lambda i: abs(len(" ".join(words[:i])) - len(" ".join(words[i:]))))
    return [" ".join(words[:cut]), " ".join(words[cut:])]


def _unit(canvas: U8) -> float:
    """Return the page's size as one number, which lines and letters are measured by."""
    return float(canvas.shape[0] * canvas.shape[1]) ** 0.5 * 1.1


def _panel_pen(canvas: U8, panel: Panel, dyes: Dyes, rng: Rng) -> tuple[Pen, NDArray[np.float64]]:
    """Return a pen on a canvas of the panel's own, and the panel's corners in pixels of that canvas."""
    left, top, right, bottom = _box(canvas, panel)
    own = blank(bottom - top, right - left)
    unit = _unit(canvas)
    screen = halftone(bottom - top, right - left, max(unit * float(rng.choice([0.0046, 0.0052, 0.006])), 4.0))
    return Pen(own, screen, max(unit * 0.0021, 1.0), dyes=dyes), panel.corners * _OVER - (left, top)


def _mount(canvas: U8, pen: Pen, panel: Panel, unit: float) -> None:
    """Cut a drawn panel to its frame and lay it on the page."""
    left, top, right, bottom = _box(canvas, panel)
    corners = np.round(panel.corners * _OVER).astype(np.int32)
    inside = np.zeros((bottom - top, right - left), dtype=np.uint8)
    cv2.fillPoly(inside, [corners - np.array([left, top], dtype=np.int32)], 1)
    lay(canvas[top:bottom, left:right], pen.canvas, inside > 0)
    cv2.polylines(canvas, [corners], True, (level_of(INK.lightness), 128, 128, 0), max(2, round(unit * 0.0034)))


def _box(canvas: U8, panel: Panel) -> tuple[int, int, int, int]:
    height, width = canvas.shape[:2]
    low, high = panel.corners.min(axis=0) * _OVER, panel.corners.max(axis=0) * _OVER
    left, top = max(int(low[0]), 0), max(int(low[1]), 0)
    return left, top, max(min(int(high[0]) + 1, width), left + 1), max(min(int(high[1]) + 1, height), top + 1)


def _develop(canvas: U8) -> DrawnPage:
    """Make the page of a canvas of twice its size."""
    height, width = canvas.shape[0] // _OVER, canvas.shape[1] // _OVER
    page = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    lettered = page[..., 3] == LETTERING  # the mean is the greatest label only where all four pixels have it
    cast = canvas[::_OVER, ::_OVER, 3]
    ink = np.ascontiguousarray(page[..., 0])
    chroma = page[..., 1:3].astype(np.float32) - 128
    return DrawnPage(ink, join_chroma(ink, chroma), np.where(cast == LETTERING, 0, cast).astype(np.uint8), lettered)


def _png(image: U8, compress_level: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG", compress_level=compress_level)
    return out.getvalue()


def _comic_info(series: Series, chapter: int, *, gray: bool) -> bytes:
    """Return the ComicInfo.xml, in the order of the schema of ComicRack 2.0."""
    root = ElementTree.Element("ComicInfo")
    fields = {
        "Title": TITLES[(chapter - 1) % len(TITLES)],
        "Series": SERIES_TITLE,
        "Number": str(chapter),
        "Count": str(series.chapters),
        "Notes": f"Generated by mangahue, seed {series.seed}",
        "PageCount": str(series.pages),
        "LanguageISO": "en",
        "BlackAndWhite": "Yes" if gray else "No",
        "Manga": "No",
    }
    for name, value in fields.items():
        ElementTree.SubElement(root, name).text = value
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def _publish(path: Path, members: dict[str, bytes]) -> None:
    """Write a stored zip that holds nothing of the clock or the machine.

    It appears at its path in one go.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, data)
    partial.replace(path)
