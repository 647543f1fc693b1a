"""The scenes of the generated series: what is behind the cast.

A scene is drawn in a frame as high as the panel: y from 0 (top) to 1 (bottom), x from 0 to `wide`. Scenes keep their
colours over all chapters. Materials of one gray level (40, 50, 62, 72, 80) differ in colour.
"""

from collections.abc import Callable

import numpy as np

from datasets.synthetic.cast import star
from datasets.synthetic.pen import INK, PAPER, Material, Pen, curve, oval

Rng = np.random.Generator

SKY = Material(72, -8, -34)
SKY_LOW = Material(84, -10, -16)
SUN = Material(84, 6, 62)
GRASS = Material(62, -42, 48)
HILL = Material(72, -32, 30)
LEAF = Material(50, -38, 34)
BARK = Material(40, 16, 26)
WALL = Material(80, 6, 28)
ROOF = Material(50, 46, 34)
PATH = Material(72, 8, 30)
SEA = Material(62, -14, -36)
SEA_DEEP = Material(50, -4, -42)
SAND = Material(80, 6, 36)
PLASTER = Material(72, 22, 24)
PLASTER_STRIPE = Material(80, 14, 18)
BOARDS = Material(50, 22, 36)
CURTAIN = Material(62, 40, 12)
NIGHT = Material(40, 16, -46)
NIGHT_LOW = Material(50, 28, -34)
NIGHT_GRASS = Material(40, -18, -6)
NIGHT_WALL = Material(50, 8, -24)
LIGHT = Material(84, 4, 56)
MOSS = Material(50, -30, 40)
GLADE = Material(80, -22, 40)


def draw_scene(pen: Pen, name: str, wide: float, rng: Rng) -> None:
    """Fill the panel with a scene.

    pen: its frame is as high as the panel.
    name: a key of SCENES.
    wide: the panel's width over its height.
    rng: chooses the details.
    """
    SCENES[name](pen, wide, rng)


def draw_burst(pen: Pen, wide: float, focus: tuple[float, float], tint: Material, rng: Rng) -> None:
    """Fill the panel with a flat tint and focus lines from the rim towards a point: a moment, nowhere in particular.

    pen: its frame is as high as the panel.
    wide: the panel's width over its height.
    focus: (x, y) where the lines point.
    tint: of the panel.
    rng: of the lines.
    """
    pen.wash(0, 1, tint, Material(min(tint.lightness + 10, 88), tint.a * 0.6, tint.b * 0.6))
    pen.fade(1, 0.5, 0.45)
    reach = max(wide, 1.0) * 1.3
    for turn in np.linspace(0, 2 * np.pi, 84, endpoint=False) + rng.uniform(-0.03, 0.03, 84):
        near = rng.uniform(0.34, 0.5) * max(1.0, wide * 0.7)
        thick = rng.uniform(0.004, 0.016)
        c, s = np.cos(turn), np.sin(turn)
        x, y = focus
        tip = (x + near * c, y + near * s)
        rim = np.array([(x + reach * c, y + reach * s)]) + np.array([[-s, c], [s, -c]]) * thick * reach
        pen.fill([tip, (rim[0, 0], rim[0, 1]), (rim[1, 0], rim[1, 1])], INK, line=0)


def draw_dash(pen: Pen, wide: float, tint: Material, rng: Rng) -> None:
    """Fill the panel with a flat tint and level speed lines: someone runs.

    pen: its frame is as high as the panel.
    wide: the panel's width over its height.
    tint: of the panel.
    rng: of the lines.
    """
    pen.wash(0, 1, tint, Material(min(tint.lightness + 8, 88), tint.a * 0.7, tint.b * 0.7))
    pen.fade(0, 0.6, 0.4)
    for y in rng.uniform(0.02, 0.98, 46):
        start, length = rng.uniform(-0.2, 0.9) * wide, rng.uniform(0.2, 0.6) * wide
        thick = rng.uniform(0.002, 0.008)
        pen.fill([(start, y - thick), (start + length, y), (start, y + thick)], INK, line=0)


def _sky(pen: Pen, wide: float, rng: Rng, bottom: float) -> None:
    pen.wash(-0.5, bottom, SKY, SKY_LOW)
    pen.fade(-0.2, bottom * 0.8, 0.55)
    if rng.random() < 0.6:
        _sun(pen, wide * rng.uniform(0.12, 0.88), rng.uniform(0.12, 0.24))
    for _ in range(int(2 + wide * 1.4)):
        _cloud(pen, rng.uniform(0, wide), rng.uniform(0.08, bottom * 0.7), rng.uniform(0.04, 0.09), rng)


def _sun(pen: Pen, x: float, y: float) -> None:
    pen.fill(star_of_rays(x, y, 0.15, 14), SUN, line=0.6)
    pen.disc(x, y, 0.095, 0.095, SUN)


def star_of_rays(x: float, y: float, radius: float, rays: int) -> np.ndarray:
    """Return the points (2 * rays, 2) of a star with this many rays."""
    turns = np.arange(2 * rays) * np.pi / rays
    reach = np.where(np.arange(2 * rays) % 2, 0.74, 1.0) * radius
    return np.stack([x + reach * np.cos(turns), y + reach * np.sin(turns)], axis=1)


def _cloud(pen: Pen, x: float, y: float, r: float, rng: Rng) -> None:
    lobes = [
        (x + k * r * 0.95, y - r * 0.5 * (k in (0, 1)), r * float(rng.uniform(0.75, 1.1))) for k in (-2, -1, 0, 1, 2)
    ]
    pen.puff([(cx, cy, cr * (0.7 if abs(cx - x) > 1.6 * r else 1)) for cx, cy, cr in lobes], PAPER)


def _ridge(pen: Pen, wide: float, y: float, swell: float, material: Material, rng: Rng, *, tone: float = 0.0) -> None:
    xs = np.linspace(-0.2, wide + 0.2, max(5, int(wide * 4)))
    ys = y + rng.uniform(-swell, swell, len(xs))
    top = curve([(float(a), float(b)) for a, b in zip(xs, ys, strict=True)], closed=False)
    pen.fill(np.concatenate([top, [(wide + 0.2, 1.8), (-0.2, 1.8)]]), material, tone=tone)


def _tree(pen: Pen, x: float, y: float, size: float, rng: Rng, leaf: Material = LEAF, bark: Material = BARK) -> None:
    at = pen.placed(x, y, size)
    at.fill([(-0.07, 0), (-0.04, -0.5), (0.04, -0.5), (0.08, 0)], bark, shade=0.04)
    lobes = [
        (-0.2, -0.52, 0.17),
        (0.2, -0.5, 0.17),
        (-0.13, -0.72, 0.18),
        (0.15, -0.73, 0.17),
        (0.0, -0.87, 0.16),
        (0.0, -0.58, 0.2),
    ]
    at.puff([(a + rng.uniform(-0.03, 0.03), b + rng.uniform(-0.03, 0.03), r) for a, b, r in lobes], leaf, shade=0.07)


def _pine(pen: Pen, x: float, y: float, size: float, leaf: Material = MOSS) -> None:
    at = pen.placed(x, y, size)
    at.fill([(-0.04, 0), (-0.04, -0.3), (0.04, -0.3), (0.04, 0)], BARK)
    for top, half in ((-0.55, 0.26), (-0.75, 0.21), (-0.98, 0.15)):
        at.fill(
            [
                (0, top - 0.1),
                (half, top + 0.38),
                (half * 0.4, top + 0.34),
                (0, top + 0.4),
                (-half * 0.4, top + 0.34),
                (-half, top + 0.38),
            ],
            leaf,
            shade=0.08,
        )


def _tufts(pen: Pen, wide: float, top: float, rng: Rng) -> None:
    for _ in range(int(10 + 14 * wide)):
        y = rng.uniform(top, 1.0)
        x, h = rng.uniform(0, wide), 0.018 + 0.03 * (y - top)
        for lean in (-0.6, 0.0, 0.6):
            pen.stroke([(x + lean * h * 0.4, y), (x + lean * h, y - h)], 0.8)


def _flowers(pen: Pen, wide: float, top: float, rng: Rng) -> None:
    for _ in range(int(4 + 5 * wide)):
        x, y = rng.uniform(0, wide), rng.uniform(top, 1.0)
        petal = (SUN, CURTAIN, PAPER)[int(rng.integers(3))]
        pen.puff([(x + dx * 0.011, y + dy * 0.011, 0.009) for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1))], petal)


def _house(
    pen: Pen, x: float, y: float, size: float, *, wall: Material = WALL, roof: Material = ROOF, pane: Material = SKY
) -> None:
    at = pen.placed(x, y, size)
    at.fill([(0.13, -0.62), (0.13, -0.86), (0.21, -0.86), (0.21, -0.5)], wall)
    at.fill([(-0.3, 0), (-0.3, -0.42), (0.3, -0.42), (0.3, 0)], wall, shade=0.07)
    top = [(-0.38, -0.4), (-0.17, -0.76), (0.17, -0.76), (0.38, -0.4)]
    at.fill(top, roof)
    at.hatch(top, 0.07, 0, 0.7)
    at.fill([(-0.07, 0), (-0.07, -0.2), (0, -0.25), (0.07, -0.2), (0.07, 0)], BARK)
    for dx in (-0.2, 0.19):
        at.fill([(dx - 0.06, -0.16), (dx - 0.06, -0.3), (dx + 0.06, -0.3), (dx + 0.06, -0.16)], pane)
        at.stroke([(dx, -0.16), (dx, -0.3)], 0.8)
        at.stroke([(dx - 0.06, -0.23), (dx + 0.06, -0.23)], 0.8)


def _meadow(pen: Pen, wide: float, rng: Rng) -> None:
    _sky(pen, wide, rng, 0.62)
    _ridge(pen, wide, 0.52, 0.06, HILL, rng, tone=0.25)
    for x in np.arange(rng.uniform(0, 0.3), wide, 0.42):
        _tree(pen, float(x) + rng.uniform(-0.1, 0.1), rng.uniform(0.58, 0.64), rng.uniform(0.22, 0.42), rng)
    _ridge(pen, wide, 0.62, 0.02, GRASS, rng)
    pen.fade(1.1, 0.66, 0.5)
    if rng.random() < 0.5:
        for y in (0.64, 0.69):
            pen.limb([(-0.1, y), (wide + 0.1, y + 0.01)], 0.012, WALL)
        for x in np.arange(0.06, wide, 0.16):
            pen.limb([(float(x), 0.6), (float(x), 0.74)], 0.02, WALL)
    _tufts(pen, wide, 0.72, rng)
    _flowers(pen, wide, 0.75, rng)


def _village(pen: Pen, wide: float, rng: Rng) -> None:
    _sky(pen, wide, rng, 0.6)
    _ridge(pen, wide, 0.5, 0.04, HILL, rng, tone=0.2)
    _ridge(pen, wide, 0.64, 0.01, GRASS, rng)
    x = rng.uniform(-0.1, 0.2)
    while x < wide + 0.2:
        size = rng.uniform(0.5, 0.72)
        if rng.random() < 0.75:
            _house(
                pen,
                x,
                0.7,
                size,
                wall=(WALL, PLASTER_STRIPE)[int(rng.integers(2))],
                roof=(ROOF, SEA_DEEP, BOARDS)[int(rng.integers(3))],
            )
        else:
            _tree(pen, x, 0.7, size * 0.8, rng)
        x += size * 0.8
    pen.fill([(-0.2, 0.78), (wide + 0.2, 0.74), (wide + 0.2, 1.8), (-0.2, 1.8)], PATH)
    pen.fade(1.1, 0.8, 0.4)
    for _ in range(int(12 * wide)):
        px, py = rng.uniform(0, wide), rng.uniform(0.82, 1)
        pen.stroke(oval(px, py, 0.03, 0.012, 190, 350), 0.8)


def _shore(pen: Pen, wide: float, rng: Rng) -> None:
    _sky(pen, wide, rng, 0.5)
    pen.wash(0.5, 0.8, SEA_DEEP, SEA)
    pen.stroke([(-0.1, 0.5), (wide + 0.1, 0.5)])
    x = wide * rng.uniform(0.15, 0.85)
    boat = pen.placed(x, 0.53, min(1.0, wide) * rng.uniform(0.5, 1.1), flip=bool(rng.random() < 0.5))
    boat.fill([(0, -0.08), (0, -0.3), (0.13, -0.09)], PAPER)
    boat.fill([(-0.02, -0.09), (-0.02, -0.24), (-0.09, -0.09)], CURTAIN)
    boat.fill([(-0.13, -0.07), (0.15, -0.07), (0.1, 0.0), (-0.09, 0.0)], ROOF)
    for _ in range(int(16 + 18 * wide)):
        y = rng.uniform(0.54, 0.76)
        at, size = rng.uniform(0, wide), 0.02 + 0.14 * (y - 0.5)
        pen.stroke(oval(at, y, size, size * 0.3, 190, 350), 1.1, PAPER if rng.random() < 0.6 else INK)
    foam = curve(
        [(float(a), 0.8 + float(rng.uniform(-0.02, 0.02))) for a in np.arange(-0.2, wide + 0.4, 0.16)], closed=False
    )
    pen.fill(np.concatenate([foam, [(wide + 0.5, 1.8), (-0.3, 1.8)]]), PAPER)
    pen.fill(np.concatenate([foam + np.array([0, 0.035]), [(wide + 0.5, 1.8), (-0.3, 1.8)]]), SAND, line=0.8)
    pen.fade(1.2, 0.86, 0.4)
    for _ in range(3):
        gx, gy = rng.uniform(0, wide), rng.uniform(0.1, 0.4)
        pen.stroke([(gx - 0.035, gy - 0.02), (gx, gy), (gx + 0.035, gy - 0.02)], 1.3)


def _room(pen: Pen, wide: float, rng: Rng) -> None:
    pen.wash(-0.5, 0.8, PLASTER, PLASTER)
    for x in np.arange(0.04, wide, 0.14):
        pen.fill(
            [(float(x), -0.5), (float(x) + 0.05, -0.5), (float(x) + 0.05, 0.8), (float(x), 0.8)], PLASTER_STRIPE, line=0
        )
    pen.fade(-0.1, 0.5, 0.5)
    _window(pen, wide * rng.uniform(0.2, 0.4))
    _shelf(pen, wide * rng.uniform(0.68, 0.85), rng)
    pen.fill([(-0.1, 0.74), (wide + 0.1, 0.74), (wide + 0.1, 0.79), (-0.1, 0.79)], WALL)
    floor = [(-0.1, 0.79), (wide + 0.1, 0.79), (wide + 0.1, 1.8), (-0.1, 1.8)]
    pen.fill(floor, BOARDS)
    for x in np.arange(-1.5, 2.5, 0.22):
        pen.stroke([(wide * 0.5 + float(x) * 0.8, 0.79), (wide * 0.5 + float(x) * 2.2, 1.8)], 0.8)
    pen.fill(oval(wide * 0.5, 0.97, wide * 0.36, 0.09), CURTAIN)
    pen.stroke(oval(wide * 0.5, 0.97, wide * 0.32, 0.07), 0.8)


def _window(pen: Pen, x: float) -> None:
    at = pen.placed(x, 0.36, 0.42)
    at.fill([(-0.4, -0.5), (0.4, -0.5), (0.4, 0.5), (-0.4, 0.5)], WALL)
    at.fill([(-0.34, -0.44), (0.34, -0.44), (0.34, 0.44), (-0.34, 0.44)], SKY)
    at.puff([(-0.18, -0.14, 0.08), (-0.06, -0.18, 0.1), (0.07, -0.14, 0.08)], PAPER)
    at.fill(np.concatenate([oval(0.0, 0.44, 0.34, 0.26, 180, 360)]), GRASS)
    at.stroke([(0, -0.44), (0, 0.44)], 2.2)
    at.stroke([(-0.34, 0), (0.34, 0)], 2.2)
    for side in (-1, 1):
        drape = at.placed(0, 0, flip=side < 0)
        drape.fill(
            curve([(0.2, -0.56), (0.52, -0.56), (0.54, 0.5), (0.36, 0.52), (0.38, 0.1)], steps=5), CURTAIN, shade=0.08
        )
        drape.stroke([(0.4, -0.5), (0.46, 0.46)], 0.8)
    at.limb([(-0.6, -0.57), (0.6, -0.57)], 0.04, BARK)


def _shelf(pen: Pen, x: float, rng: Rng) -> None:
    for y in (0.3, 0.52):
        left = x - 0.17
        while left < x + 0.12:
            thick, tall = rng.uniform(0.02, 0.04), rng.uniform(0.09, 0.15)
            book = (ROOF, SEA, LEAF, SUN, NIGHT)[int(rng.integers(5))]
            pen.fill([(left, y), (left, y - tall), (left + thick, y - tall), (left + thick, y)], book, line=0.8)
            left += thick
        pen.fill([(x - 0.2, y), (x + 0.2, y), (x + 0.2, y + 0.025), (x - 0.2, y + 0.025)], BARK)


def _night(pen: Pen, wide: float, rng: Rng) -> None:
    pen.wash(-0.5, 0.7, NIGHT, NIGHT_LOW)
    pen.fade(-0.3, 0.45, 0.75)
    for _ in range(int(18 + 14 * wide)):
        x, y, r = rng.uniform(0, wide), rng.uniform(0, 0.5), rng.uniform(0.004, 0.014)
        pen.fill(star(x, y, r), PAPER if rng.random() < 0.6 else LIGHT, line=0)
    mx, my = wide * rng.uniform(0.15, 0.85), rng.uniform(0.14, 0.24)
    pen.disc(mx, my, 0.1, 0.1, LIGHT)
    for dx, dy, r in ((-0.03, -0.02, 0.018), (0.03, 0.03, 0.024), (0.02, -0.045, 0.012)):
        pen.disc(mx + dx, my + dy, r, r, SAND, line=0.6)
    _ridge(pen, wide, 0.55, 0.06, NIGHT_LOW, rng, tone=0.5)
    x = rng.uniform(0, 0.3)
    while x < wide + 0.2:
        if rng.random() < 0.6:
            _house(pen, x, 0.7, 0.5, wall=NIGHT_WALL, roof=NIGHT, pane=LIGHT)
        else:
            _pine(pen, x, 0.7, 0.42, NIGHT_GRASS)
        x += 0.45
    _ridge(pen, wide, 0.69, 0.015, NIGHT_GRASS, rng)
    pen.fade(1.1, 0.7, 0.7, 0.1)
    _tufts(pen, wide, 0.74, rng)


def _forest(pen: Pen, wide: float, rng: Rng) -> None:
    pen.wash(-0.5, 0.7, LEAF, GLADE)
    pen.fade(-0.2, 0.5, 0.7)
    for x in np.arange(rng.uniform(0, 0.15), wide, 0.2):
        _pine(pen, float(x), rng.uniform(0.62, 0.7), rng.uniform(0.4, 0.6), (LEAF, MOSS)[int(rng.integers(2))])
    _ridge(pen, wide, 0.68, 0.02, GRASS, rng)
    pen.fade(1.1, 0.7, 0.5)
    for x in np.arange(rng.uniform(0.05, 0.25), wide + 0.1, 0.5):
        foot, half = rng.uniform(0.76, 0.84), rng.uniform(0.05, 0.075)
        trunk = [
            (x - half * 1.7, foot),
            (x - half, foot - 0.12),
            (x - half, -0.6),
            (x + half, -0.6),
            (x + half, foot - 0.12),
            (x + half * 1.9, foot),
            (x, foot + 0.02),
        ]
        pen.fill(trunk, BARK, shade=0.04)
        for y in (0.15, 0.34, 0.52):
            pen.stroke([(x - half * 0.5, y), (x - half * 0.3, y + 0.09)], 0.9)
    lobes = [
        (float(x), float(rng.uniform(-0.06, 0.03)), float(rng.uniform(0.09, 0.14)))
        for x in np.arange(-0.1, wide + 0.2, 0.13)
    ]
    pen.puff(lobes, LEAF, shade=0.05)
    for _ in range(int(2 + 3 * wide)):
        x, y = rng.uniform(0, wide), rng.uniform(0.8, 0.96)
        pen.fill(curve([(x - 0.012, y), (x - 0.01, y - 0.04), (x + 0.01, y - 0.04), (x + 0.012, y)]), PAPER, line=0.8)
        pen.fill(oval(x, y - 0.035, 0.035, 0.035, 180, 360), ROOF, line=0.8)
    _tufts(pen, wide, 0.75, rng)


SCENES: dict[str, Callable[[Pen, float, Rng], None]] = {
    "meadow": _meadow,
    "village": _village,
    "shore": _shore,
    "room": _room,
    "night": _night,
    "forest": _forest,
}
