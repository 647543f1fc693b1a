"""Generated series for the training: the same figures with other skin, hair, fur and clothes."""

import colorsys
from collections.abc import Iterator

import numpy as np

from datasets.synthetic import Dyes, Series, draw_page
from datasets.synthetic.body import SKIN
from datasets.synthetic.cast import (
    BLUSH,
    COLLAR,
    DRESS,
    FUR,
    FUR_DARK,
    GOLD,
    GOLD_LIGHT,
    LAMP,
    ROBE,
    ROBE_LIGHT,
    SHELL,
    SHELL_LIGHT,
    TABARD,
)
from datasets.synthetic.pen import Material
from imaging.color import U8, to_lab

CHAPTERS, PAGES, WIDTH, HEIGHT = 2, 5, 448, 640

# CIELAB of skin from light to dark, about those of the Monk scale, and of hair as people and as drawn figures have it.
_SKINS = ((92, 4, 8), (88, 7, 14), (84, 10, 19), (78, 13, 22), (70, 14, 26), (58, 15, 26), (45, 13, 20), (34, 9, 13))
_HAIR = ((14, 1, 2), (20, 3, 5), (32, 10, 16), (44, 16, 26), (62, 10, 38), (80, 4, 36), (90, 0, 6), (46, 38, 40),
         (66, 34, -6), (52, -2, -36), (44, 26, -34), (58, -32, 22))  # fmt: skip


def draw_dyes(rng: np.random.Generator) -> Dyes:
    """Return the colours of a cast."""
    skin = Material(*(np.array(_SKINS[int(rng.integers(len(_SKINS)))]) + rng.normal(0, 1.5, 3)))
    hair = Material(*(np.array(_HAIR[int(rng.integers(len(_HAIR)))]) + rng.normal(0, 2.5, 3)))
    dyes = {SKIN: skin, BLUSH: _moved(skin, -6, 14, 2), FUR: hair, FUR_DARK: _moved(hair, -12, 0, 0)}
    for dark, light in ((DRESS, None), (ROBE, ROBE_LIGHT), (SHELL, SHELL_LIGHT), (TABARD, None), (GOLD, GOLD_LIGHT)):
        dyes[dark] = _cloth(rng)
        if light is not None:
            dyes[light] = _moved(dyes[dark], 10, 0, 0)
    dyes[COLLAR], dyes[LAMP] = _cloth(rng), _cloth(rng)
    return dyes


def draw_series(casts: int, seed: int) -> Iterator[tuple[str, str, U8]]:
    """Draw some pages of each cast. Yields (story, page's name, (H, W, 3) sRGB)."""
    for cast in range(casts):
        dyes = draw_dyes(np.random.default_rng([seed, cast]))
        series = Series(seed=seed * 1000 + cast, chapters=CHAPTERS, pages=PAGES, width=WIDTH, height=HEIGHT, dyes=dyes)
        for chapter in range(1, CHAPTERS + 1):
            for page in range(1, PAGES + 1):
                yield f"cast{cast:02}", f"{chapter:02}-{page:02}", draw_page(series, chapter, page).color


def _moved(material: Material, lightness: float, a: float, b: float) -> Material:
    return Material(float(np.clip(material.lightness + lightness, 5, 98)), material.a + a, material.b + b)


def _cloth(rng: np.random.Generator) -> Material:
    """Return any hue, from dull to bright and from dark to light."""
    rgb = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.15, 0.85), rng.uniform(0.3, 0.95))
    lightness, a, b = to_lab(np.round(np.array([[rgb]]) * 255).astype(np.uint8))[0, 0]
    return Material(float(lightness), float(a), float(b))
