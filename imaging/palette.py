"""A series' palette, and predicted colours pulled back to it: the same colours on every page.

h, w: pixels of a chroma map.
K: colours in a palette.

A pixel has four features: L of the ink, a and b of its chroma, and the ink's texture (log of the spread of L about it).
Each is weighted so that equal distances count alike.

    palette = build_palette([(gray, chroma), ...])  # pages that are right, or many predictions of one network
    chroma = lock(gray, chroma, palette)
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from imaging.color import F32, U8, lightness_of_level

_WEIGHTS = np.array([0.5, 1.0, 1.0, 3.0], np.float32)  # weights of L, a, b, texture; a and b stay as they are
_TEXTURE_WINDOW = 5  # pixels
_CELL = 6.0  # in weighted features: side of the histogram's cells, which stand for their pixels
_STEPS_OF_MEANS = 12
_BLEND = 12.0  # a pixel is shared by the colours that lie at most so much farther than the nearest
_REACH = 45.0  # a pixel that lies farther from every colour keeps its own
_LEAST = 0.005  # share of a page that must belong to a colour for it to be used there
_TURNS = (0, -10, 10, -20, 20, -30, 30, -40, 40)  # degrees of hue by which a page is turned for a try
_TURN_COST = 0.02  # mean squared distance that a turn must save for each of its degrees squared
_STEPS = 4  # steps of an alignment
_STRAY = 15.0  # distance from its colour at which a cell counts half in an alignment
_HOLD = 2.0  # ab squared: where chroma varies less, a page's turn is not believed
_SHIFT = 0.5  # share of a page's shift that counts as drift; the rest counts as the light of its scene


@dataclass(frozen=True)
class Color:
    """A colour of a series.

    name: the owner's.
    ab: what the series has there, CIELAB.
    centre: (L, a, b, texture) by which the colour's pixels are recognised, unweighted.
    weight: share of the pages that it was found on; those of all colours add up to 1.

    To recolour, edit `ab`. `centre` says what predictions look like there, and stays.
    """

    name: str
    ab: tuple[float, float]
    centre: tuple[float, float, float, float]
    weight: float

    @property
    def is_gray(self) -> bool:
        """Whether the colour shows hardly any hue."""
        return is_gray(*self.ab)


def is_gray(a: float, b: float) -> bool:
    """Return whether hardly any hue is seen in this ab."""
    return bool(np.hypot(a, b) <= 8)


@dataclass(frozen=True)
class Palette:
    """The colours of a series.

    colors: numbered by their order, from 0; `build_palette` puts the most frequent first.
    """

    colors: tuple[Color, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the palette as JSON has it, to be edited by hand."""
        return {
            "colors": [
                {"name": c.name, "ab": list(c.ab), "centre": list(c.centre), "weight": c.weight} for c in self.colors
            ]
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Palette":
        """Make a palette of what `to_dict` returned.

        Raises ValueError, naming the colour, where a number is missing or out of range.
        """
        return cls(tuple(_parsed(number, color) for number, color in enumerate(data["colors"])))

    def edited(self, name: str, ab: tuple[float, float]) -> "Palette":
        """Return the palette with another ab for the colour of this name.

        Raises KeyError where there is no such colour.
        """
        if name not in {color.name for color in self.colors}:
            raise KeyError(f"no colour {name!r}; there are {', '.join(color.name for color in self.colors)}")
        return Palette(tuple(replace(c, ab=ab) if c.name == name else c for c in self.colors))


def _parsed(number: int, color: Mapping[str, Any]) -> Color:
    name = str(color.get("name", f"the {number + 1}th"))
    try:
        ab = tuple(float(value) for value in color["ab"])
        centre = tuple(float(value) for value in color["centre"])
        weight = float(color.get("weight", 0.0))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"palette colour {name}: give ab as [a, b] and centre as [L, a, b, texture]") from error
    if len(ab) != 2 or len(centre) != 4 or not np.isfinite((*ab, *centre, weight)).all() or weight < 0:
        raise ValueError(f"palette colour {name}: give ab as [a, b] and centre as [L, a, b, texture], finite numbers")
    return Color(name, (ab[0], ab[1]), (centre[0], centre[1], centre[2], centre[3]), weight)


def build_palette(pages: Iterable[tuple[U8, F32]], colors: int = 48, rounds: int = 1) -> Palette:
    """Find the colours of a series, by k-means over its pages.

    pages: gray (h, w) and chroma (h, w, 2) ab of each.
    colors: the most that are returned; there are fewer where the pages have fewer.
    rounds: how often the palette is made. Each round takes the pages as locked to the palette of the round before.

    Returns the most frequent colours first, always the same for the same pages in the same order. A palette of
    predictions that drift is wider than the series' own: take fewer colours (12) and more rounds (4) for them. Raises
    ValueError without pages.
    """
    given = list(pages)
    if not given:
        raise ValueError("a palette needs at least one page")
    palette = _clustered(given, colors)
    for _ in range(rounds - 1):
        # Colours that are hardly used take part too: a later round puts these together.
        locked = [(gray, lock_and_tell(gray, chroma, palette, 1.0, least=0.0)[0]) for gray, chroma in given]
        palette = _clustered(locked, colors)
    return palette


def _clustered(pages: Sequence[tuple[U8, F32]], colors: int) -> Palette:
    parts = [_cells(_features(gray, chroma)) for gray, chroma in pages]
    points = np.concatenate([cells for cells, _ in parts])
    weights = np.concatenate([share / len(parts) for _, share in parts])
    centres = _seeds(points, weights, colors)
    for _ in range(_STEPS_OF_MEANS):
        nearest = _squared(points, centres).argmin(axis=1)
        share = np.bincount(nearest, weights, len(centres))
        sums = np.stack([np.bincount(nearest, weights * column, len(centres)) for column in points.T], axis=1)
        centres = (sums / np.maximum(share, 1e-12)[:, None])[share > 0].astype(np.float32)
    share = np.bincount(_squared(points, centres).argmin(axis=1), weights, len(centres))
    found = [(centres[k] / _WEIGHTS, float(share[k])) for k in np.argsort(-share, kind="stable") if share[k] > 0]
    names = _names([centre for centre, _ in found])
    return Palette(tuple(_color(name, *entry) for name, entry in zip(names, found, strict=True)))


def _color(name: str, centre: F32, share: float) -> Color:
    light, a, b, texture = (round(float(value), 2) for value in centre)
    return Color(name, (a, b), (light, a, b, texture), round(share, 5))


_HUES = ("red", "orange", "yellow", "green", "teal", "cyan", "blue", "violet", "pink")
_HUE_ENDS = (40.0, 72.0, 105.0, 160.0, 200.0, 245.0, 295.0, 325.0, 360.0)  # degrees of ab


def _names(centres: Sequence[F32]) -> list[str]:
    """Return names to begin with: hue and lightness, numbered where they repeat."""
    names: list[str] = []
    for light, a, b, _ in centres:
        light_name = "dark" if light < 35 else "light" if light > 70 else "middle"
        hue = _HUES[int(np.searchsorted(_HUE_ENDS, np.degrees(np.arctan2(b, a)) % 360).clip(0, len(_HUES) - 1))]
        plain = f"{light_name} {'gray' if is_gray(a, b) else hue}"
        same = sum(name == plain or name.startswith(f"{plain} ") for name in names)
        names.append(f"{plain} {same + 1}" if same else plain)
    return names


@dataclass(frozen=True)
class Use:
    """The usage of a palette colour on a page.

    share: of the page's pixels.
    before: their mean ab, unlocked.
    after: their mean ab, locked.
    """

    share: float
    before: tuple[float, float]
    after: tuple[float, float]


def lock(gray: U8, chroma: F32, palette: Palette, strength: float = 0.85) -> F32:
    """Return chroma with the page's drift taken back, as `lock_and_tell` does.

    gray: (h, w) levels.
    chroma: (h, w, 2) ab.
    palette: of the series.
    strength: how much of the drift is taken back, in [0, 1].
    """
    return lock_and_tell(gray, chroma, palette, strength)[0]


def lock_and_tell(
    gray: U8, chroma: F32, palette: Palette, strength: float = 0.85, least: float = _LEAST
) -> tuple[F32, dict[int, Use]]:
    """Return chroma with the page's drift taken back, and the usage of palette colours, by their number.

    gray: (h, w) levels.
    chroma: (h, w, 2) ab.
    palette: of the series.
    strength: how much of the drift is taken back, in [0, 1].
    least: a colour that less than this share of the page belongs to is not used.

    Returns (h, w, 2) ab. First the page as a whole is turned and shifted in ab to lie on the palette. Then the mean of
    what lies at each colour is moved to that colour. Differences within a colour are kept. What is like no colour of
    the palette stays.

    `centre` alone decides whether a colour is used. The `ab` of a colour that is not used may be edited, and the page
    comes out the same bit for bit.
    """
    if not palette.colors or strength == 0:
        return chroma, {}
    features = _features(gray, chroma)
    centres = np.array([color.centre for color in palette.colors], np.float32) * _WEIGHTS
    cells, shares = _cells(features)
    turn, shift = _alignment(cells, shares, centres)
    belongs, known = _memberships(_moved(cells, turn, shift), centres)
    used = np.flatnonzero((shares * known) @ belongs >= least)
    if not len(used):
        return chroma, {}
    moved = _moved(features, turn, shift)
    belongs, known = _memberships(moved, centres[used])
    seen = belongs.sum(axis=0)
    means = (belongs.T @ moved[:, 1:3]) / np.maximum(seen, 1e-6)[:, None]
    wanted = np.array([palette.colors[k].ab for k in used], np.float32)
    out = moved[:, 1:3] + belongs @ (wanted - means)
    step = np.float32(strength) * known[:, None] * (out - features[:, 1:3])
    made = features[:, 1:3] + step
    belongs *= known[:, None]
    return made.reshape(chroma.shape).astype(np.float32), _uses(used, belongs, features[:, 1:3], made)


def _uses(used: NDArray[np.intp], belongs: F32, before: F32, after: F32) -> dict[int, Use]:
    weight = belongs.sum(axis=0)
    means = [belongs.T @ ab / np.maximum(weight, 1e-6)[:, None] for ab in (before, after)]
    shares = weight / len(belongs)
    return {
        int(k): Use(float(share), (float(b[0]), float(b[1])), (float(a[0]), float(a[1])))
        for k, share, b, a in zip(used, shares, *means, strict=True)
    }


def _features(gray: U8, chroma: F32) -> F32:
    """Return (h * w, 4) weighted features."""
    light = cv2.blur(lightness_of_level()[gray], (3, 3))
    mean = cv2.blur(light, (_TEXTURE_WINDOW,) * 2)
    square = cv2.blur(light * light, (_TEXTURE_WINDOW,) * 2)
    texture = np.log1p(np.sqrt(np.maximum(square - mean * mean, 0)))
    return np.dstack([light, chroma, texture]).reshape(-1, 4).astype(np.float32) * _WEIGHTS


def _cells(features: F32) -> tuple[F32, F32]:
    """Gather pixels in the cells of a grid.

    Returns (N, 4) means, and (N,) shares of the page, which add up to 1.
    """
    keys = np.floor(features / _CELL).astype(np.int64) + 256
    packed = ((keys[:, 0] * 1024 + keys[:, 1]) * 1024 + keys[:, 2]) * 1024 + keys[:, 3]
    _, inverse, count = np.unique(packed, return_inverse=True, return_counts=True)
    sums = np.stack([np.bincount(inverse, column) for column in features.T], axis=1)
    return (sums / count[:, None]).astype(np.float32), (count / len(features)).astype(np.float32)


def _squared(points: F32, centres: F32) -> F32:
    """Return (N, K) squared distances."""
    product = points @ centres.T
    product *= -2
    product += (points**2).sum(axis=1)[:, None]
    product += (centres**2).sum(axis=1)
    return np.maximum(product, 0)


def _seeds(points: F32, weights: F32, count: int) -> F32:
    """Return up to `count` points.

    Each has the most weight times squared distance to those before it.
    """
    chosen = [points[weights.argmax()]]
    apart = ((points - chosen[0]) ** 2).sum(axis=1)
    while len(chosen) < count and (apart * weights).max() > 1e-6:
        chosen.append(points[(apart * weights).argmax()])
        apart = np.minimum(apart, ((points - chosen[-1]) ** 2).sum(axis=1))
    return np.array(chosen, np.float32)


def _memberships(features: F32, centres: F32) -> tuple[F32, F32]:
    """Return how far each pixel belongs to each colour, and how near the nearest colour is.

    The first is (N, K) shares, which add up to 1 and are 0 for all but the nearest colours. The second is (N,) in [0,
    1].
    """
    squared = _squared(features, centres)
    nearest = squared.min(axis=1, keepdims=True)
    belongs = np.maximum(0, 1 - (np.sqrt(squared) - np.sqrt(nearest)) / _BLEND)
    belongs *= belongs
    belongs /= belongs.sum(axis=1, keepdims=True)
    known = np.maximum(0, 1 - nearest[:, 0] / _REACH**2)
    return belongs, known


def _alignment(points: F32, weights: F32, centres: F32) -> tuple[F32, F32]:
    """Return the turn (2, 2) and shift (2,) of ab that lay a page's cells nearest to the palette's colours."""
    tries: list[tuple[float, F32, F32]] = []
    for degrees in _TURNS:
        turn, shift = _rotation(np.radians(degrees)), np.zeros(2, np.float32)
        for _ in range(_STEPS):
            squared = _squared(_moved(points, turn, shift), centres)
            trust = weights / (1 + squared.min(axis=1) / _STRAY**2)
            turn, shift = _fitted(points[:, 1:3], centres[squared.argmin(axis=1)][:, 1:3], trust)
        distance = np.minimum(_squared(_moved(points, turn, shift), centres).min(axis=1), _REACH**2)
        turned = float(np.degrees(np.arctan2(turn[1, 0], turn[0, 0])))
        tries.append((float(weights @ distance) + _TURN_COST * turned**2, turn, shift))
    return min(tries, key=lambda tried: tried[0])[1:]


def _moved(points: F32, turn: F32, shift: F32) -> F32:
    moved = points.copy()
    moved[:, 1:3] = points[:, 1:3] @ turn.T + shift
    return moved


def _rotation(angle: float) -> F32:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32)


def _fitted(source: F32, target: F32, weights: F32) -> tuple[F32, F32]:
    """Return the turn and shift that lay source on target (Kabsch 1976).

    The turn is held back where little colour is seen, and only half of the shift is taken.
    """
    total = float(weights.sum()) + 1e-6
    middle = (weights @ source / total, weights @ target / total)
    cross = ((source - middle[0]) * weights[:, None]).T @ (target - middle[1]) + _HOLD * np.eye(2)
    angle = np.arctan2(cross[0, 1] - cross[1, 0], cross[0, 0] + cross[1, 1])
    turn = _rotation(float(angle))
    return turn, (_SHIFT * (middle[1] - turn @ middle[0])).astype(np.float32)
