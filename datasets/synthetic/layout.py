"""The panels of a generated page: bands of panels between gutters, now and then slanted or bleeding off the page."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator


@dataclass(frozen=True)
class Panel:
    """A panel of the page.

    corners: (4, 2) x, y in pixels of the page: top left, top right, bottom right, bottom left.
    """

    corners: NDArray[np.float64]

    @property
    def width(self) -> float:
        """The mean width, in pixels."""
        return float(self.corners[1:3, 0].mean() - self.corners[[0, 3], 0].mean())

    @property
    def height(self) -> float:
        """The mean height, in pixels."""
        return float(self.corners[2:, 1].mean() - self.corners[:2, 1].mean())


def layout(width: int, height: int, rng: Rng, *, splash: bool) -> tuple[Panel, ...]:
    """Return the panels of a page, in reading order.

    width: of the page, in pixels.
    height: of the page, in pixels.
    rng: chooses the layout.
    splash: whether the page is one panel that bleeds off all its edges.
    """
    beyond = 0.03
    if splash:
        return (_panel(-beyond, -beyond, 1 + beyond, 1 + beyond, width, height),)
    margin_x, margin_y = 0.05, 0.05 * min(1.0, width / height)
    gutter_x, gutter_y = 0.022, 0.022 * min(1.5, width / height)
    rows = _rows(rng)
    weights = np.array([weight for weight, _ in rows])
    free = 1 - 2 * margin_y - gutter_y * (len(rows) - 1)
    panels: list[Panel] = []
    top = margin_y
    bleeding = int(rng.integers(len(rows))) if rng.random() < 0.35 else -1
    for i, (weight, kind) in enumerate(rows):
        bottom = top + free * weight / weights.sum()
        box = [margin_x, top, 1 - margin_x, bottom]
        if i == bleeding and kind == "1":
            box[0], box[2] = -beyond, 1 + beyond
            box[1] = -beyond if i == 0 else box[1]
            box[3] = 1 + beyond if i == len(rows) - 1 else box[3]
        panels += _band(box, kind, gutter_x, gutter_y, width, height, rng)
        top = bottom + gutter_y
    return tuple(panels)


def _rows(rng: Rng) -> list[tuple[float, str]]:
    """Return weight and kind of each band.

    A kind is how many panels stand side by side, or on which side ("left", "right") a tall one stands beside two.
    """
    pages = (
        (("1", 1.0), ("2", 1.1), ("2", 0.9)),
        (("2", 1.0), ("1", 0.95), ("2", 1.1)),
        (("1", 1.5), ("2", 1.0)),
        (("2", 1.0), ("3", 0.9), ("1", 1.0)),
        (("left", 1.7), ("1", 0.9)),
        (("1", 0.85), ("right", 1.7)),
        (("2", 0.9), ("right", 1.6)),
        (("1", 0.8), ("2", 1.0), ("1", 0.8)),
        (("3", 0.8), ("1", 1.5)),
    )
    chosen = pages[int(rng.integers(len(pages)))]
    return [(weight * float(rng.uniform(0.92, 1.08)), kind) for kind, weight in chosen]


def _band(
    box: list[float], kind: str, gutter_x: float, gutter_y: float, width: int, height: int, rng: Rng
) -> list[Panel]:
    left, top, right, bottom = box
    if kind in ("left", "right"):
        cut = left + (right - left) * float(rng.uniform(0.4, 0.46) if kind == "left" else rng.uniform(0.54, 0.6))
        middle = (top + bottom) / 2 + float(rng.uniform(-0.03, 0.03))
        tall = (left, cut) if kind == "left" else (cut + gutter_x, right)
        small = (cut + gutter_x, right) if kind == "left" else (left, cut)
        stack = [
            _panel(small[0], top, small[1], middle, width, height),
            _panel(small[0], middle + gutter_y, small[1], bottom, width, height),
        ]
        first = _panel(tall[0], top, tall[1], bottom, width, height)
        return [first, *stack] if kind == "left" else [*stack, first]
    count = int(kind)
    cuts = np.linspace(left, right, count + 1)[1:-1] + rng.uniform(-0.05, 0.05, count - 1)
    slants = rng.choice([0.0, 0.0, 0.022, -0.022], count - 1)
    edges = [(left, left), *((c - s, c + s) for c, s in zip(cuts, slants, strict=True)), (right, right)]
    panels = []
    for i in range(count):
        (a_top, a_bottom), (b_top, b_bottom) = edges[i], edges[i + 1]
        shift_a, shift_b = (gutter_x / 2 if i else 0), (gutter_x / 2 if i < count - 1 else 0)
        corners = [
            (a_top + shift_a, top),
            (b_top - shift_b, top),
            (b_bottom - shift_b, bottom),
            (a_bottom + shift_a, bottom),
        ]
        panels.append(Panel(np.array(corners) * (width, height)))
    return panels


def _panel(left: float, top: float, right: float, bottom: float, width: int, height: int) -> Panel:
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    return Panel(corners * (width, height))
