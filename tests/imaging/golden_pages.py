"""Stored pages, chroma maps and settings, and the pages that were made of them: `data/golden_pages.npz.xz`.

    python -m tests.imaging.golden_pages OUT.npz.xz

This command draws and makes them anew with the present code. What is stored was made by commit 517bbfe.
"""

import io
import lzma
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from datasets.synthetic import Series, draw_page
from imaging.color import U8
from imaging.gate import Thresholds
from imaging.hints import Hint
from imaging.palette import Color, Palette
from imaging.postprocess import PostprocessSettings, postprocess_page

STORED = Path(__file__).resolve().parent / "data/golden_pages.npz.xz"
PALETTE = Palette(
    (
        Color("paper", (0.0, 4.0), (97.0, 0.0, 2.0, 0.5), 0.4),
        Color("skin", (18.0, 24.0), (78.0, 14.0, 18.0, 1.0), 0.2),
        Color("coat", (12.0, -48.0), (45.0, 6.0, -36.0, 1.2), 0.2),
        Color("grass", (-36.0, 34.0), (60.0, -28.0, 30.0, 1.5), 0.2),
    )
)


@dataclass(frozen=True)
class Case:
    """What one page is made of.

    page: name of the stored page.
    chroma: name of the stored chroma map.
    settings: those that differ from the defaults.
    whole_page_chroma: name of the stored chroma map; "" for none.
    hints: those of the page.
    """

    page: str
    chroma: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    whole_page_chroma: str = ""
    hints: tuple[Hint, ...] = ()


CASES = {
    "as they are by default": Case("talk", "patches"),
    "no sides, words coloured": Case("bubble", "patches", {"lines": "off", "text": "colour"}),
    "sides, words coloured": Case("bubble", "patches", {"text": "colour"}),
    "no sides, words neutral": Case("bubble", "patches", {"lines": "off"}),
    "a hint on a bubble": Case("talk", "patches", hints=(Hint(100.5, 96.5, 6.0, (40.0, 30.0)),)),
    "too much colour": Case("bubble", "wild"),
    "too much colour for this gate": Case("bubble", "patches", {"thresholds": Thresholds(wild=30.0)}),
    "screens": Case("screens", "waves"),
    "a palette": Case("bubble", "patches", {"palette": PALETTE}),
    "a palette, the safer one": Case("screens", "dull", {"palette": PALETTE}, whole_page_chroma="patches"),
    "the safer one": Case("screens", "dull", whole_page_chroma="waves"),
    "none that passes": Case("dark", "dull", whole_page_chroma="dull"),
    "the network's shading": Case("dark", "shaded", {"luminance": "blend"}),
    "the network's ink, which spoils it": Case("talk", "shaded", {"luminance": "predict"}),
    "the network's ink, which may": Case(
        "dark", "shaded", {"luminance": "predict", "thresholds": Thresholds(0.0, 0.0)}
    ),
}


def postprocess(arrays: Mapping[str, np.ndarray], case: Case) -> tuple[U8, list[str]]:
    """Return the page made of a case, and what the gate has against it."""
    chroma, whole = (
        arrays[name].astype(np.float32) if name else None for name in (case.chroma, case.whole_page_chroma)
    )
    made = postprocess_page(arrays[case.page], chroma, PostprocessSettings(**case.settings), whole, case.hints)
    return made.page, [fault.code.value for fault in made.faults]


def _pages() -> dict[str, U8]:
    """Return the pages, (240, 160) levels each."""
    talk = draw_page(Series(seed=1, chapters=1, pages=4, width=160, height=240), 1, 4).ink
    return {"talk": talk, "bubble": _bubble(), "screens": _screens(), "dark": _dark()}


def _bubble() -> U8:
    """Draw a bubble with two lines of text over two panels."""
    page = np.full((240, 160), 255, np.uint8)
    cv2.rectangle(page, (6, 6), (153, 112), 170, -1)
    cv2.rectangle(page, (6, 120), (153, 233), 205, -1)
    for top, bottom in ((6, 112), (120, 233)):
        cv2.rectangle(page, (6, top), (153, bottom), 0, 2)
    cv2.ellipse(page, (80, 60), (62, 32), 0, 0, 360, 255, -1, cv2.LINE_AA)
    cv2.ellipse(page, (80, 60), (62, 32), 0, 0, 360, 0, 1, cv2.LINE_AA)
    for row, text in enumerate(("WHO IS THERE", "IN THE RAIN")):
        cv2.putText(page, text, (34, 58 + 14 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 20, 1, cv2.LINE_AA)
    cv2.circle(page, (60, 180), 34, 120, -1, cv2.LINE_AA)
    cv2.circle(page, (60, 180), 34, 0, 2, cv2.LINE_AA)
    cv2.line(page, (100, 130), (148, 225), 0, 2, cv2.LINE_AA)
    return page


def _screens() -> U8:
    """Draw screens of two pitches, hatching, and a plain gray."""
    y, x = np.mgrid[:240, :160]
    page = np.full((240, 160), 255, np.uint8)
    for top, left, pitch, share in ((8, 8, 5.0, 0.4), (8, 84, 7.0, 0.25)):
        dots = np.cos(2 * np.pi * (x + y) / (pitch * 1.414)) + np.cos(2 * np.pi * (x - y) / (pitch * 1.414))
        part = np.s_[top : top + 100, left : left + 68]
        page[part] = np.where(dots > 2 - 4 * share, 0, 255)[part]
    page[124:232, 8:76] = 150
    page[124:232, 84:152] = np.where((x + 2 * y) % 9 < 2, 30, 255)[124:232, 84:152]
    for top, left in ((8, 8), (8, 84), (124, 8), (124, 84)):
        cv2.rectangle(page, (left, top), (left + 68, top + (100 if top == 8 else 108)), 0, 2)
    return page


def _dark() -> U8:
    """Draw a night: a light figure on near black, with a slope of grays."""
    page = np.repeat(np.linspace(12, 110, 240).astype(np.uint8)[:, None], 160, axis=1)
    cv2.circle(page, (80, 90), 40, 200, -1, cv2.LINE_AA)
    cv2.circle(page, (80, 90), 40, 0, 2, cv2.LINE_AA)
    cv2.rectangle(page, (52, 132), (108, 239), 150, -1)
    cv2.rectangle(page, (52, 132), (108, 239), 0, 2)
    return page


def _chromas(pages: Mapping[str, U8]) -> dict[str, np.ndarray]:
    """Return the chroma maps, (h, w, 2) ab; `shaded` has L as a third channel."""
    y, x = (axis.astype(np.float32) / 48 for axis in np.mgrid[:48, :48])
    waves = np.stack([34 * np.cos(5 * x + 3 * y), 34 * np.sin(4 * y - 2 * x)], axis=-1)
    colors = np.array([(20, 26), (8, -40), (-30, 32), (42, 20), (4, 30), (-2, -2)], np.float32)
    patches = colors[(3 * x).astype(int) + 3 * (2 * y).astype(int)]
    patches = cv2.GaussianBlur(patches, (0, 0), 1.2)
    light = cv2.resize(pages["dark"], (48, 48), interpolation=cv2.INTER_AREA) / 2.55
    shaded = np.dstack([patches, np.clip(light + np.where(x < 0.5, 12, -12), 0, 100)])
    made = {"patches": patches, "waves": waves, "wild": 3 * patches, "dull": 0.02 * waves[::2, ::2], "shaded": shaded}
    return {name: chroma.astype(np.float16) for name, chroma in made.items()}


def stored() -> tuple[dict[str, np.ndarray], dict[str, tuple[U8, list[str]]]]:
    """Return what `postprocess` takes, and by case the page that it made and what the gate had against that."""
    with np.load(io.BytesIO(lzma.decompress(STORED.read_bytes()))) as file:
        arrays = {name: file[name] for name in file.files}
    added, names, faults = (arrays.pop(name) for name in ("added", "cases", "faults"))
    made = {name: arrays[CASES[name].page][..., None] + page for name, page in zip(names.tolist(), added, strict=True)}
    return arrays, {name: (made[name], found.split()) for name, found in zip(made, faults.tolist(), strict=True)}


def write(path: Path) -> None:
    pages = _pages()
    arrays = {**pages, **_chromas(pages)}
    made = {name: postprocess(arrays, case) for name, case in CASES.items()}
    # A page is stored as what was added to its ink, modulo 256, which packs better.
    added = np.stack([page - pages[CASES[name].page][..., None] for name, (page, _) in made.items()])
    faults = np.array([" ".join(found) for _, found in made.values()])
    plain = io.BytesIO()
    np.savez(plain, added=added, cases=np.array(list(made)), faults=faults, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lzma.compress(plain.getvalue(), preset=9))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
