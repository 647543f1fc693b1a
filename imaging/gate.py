"""The gate: what a coloured page must pass before it is published.

H, W: pixels.
Gray levels and sRGB are uint8; chroma and hue are those of CIELAB.

The page's ink must be kept, its text neutral, and its colours those of a comic. A page is examined at half its size, a
large one at about 500 pixels across, so that a verdict costs milliseconds. The default thresholds pass nearly all pages
of colour comics under their own ink. They fail the same pages blurred, shifted, washed out, oversaturated or browned.
"""

from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cache

import cv2
import numpy as np

from imaging.bands import ChromaRows, bands, with_margin
from imaging.color import F32, U8, join_chroma
from imaging.colorfulness import colorfulness
from imaging.components import Mask

_ACROSS = 500  # pixels of the shorter side at which a large page is examined
_LINE_SIZE = 5  # pixels as examined: a line is darker than what surrounds it in this square
_LINE_DEPTH = 40  # of 255 steps of L*: the least that a line is darker
_BLACK = 16  # of 255 steps of L*: raised to this; a rounding below it would count as a change of a third
_CLIPPED_BETWEEN = (32, 223)  # gray levels; nearer to black or white any colour is clipped
_COLORED_BETWEEN = (15 * 2.55, 92 * 2.55)  # L* in 255 steps: what is darker is black, what is lighter is paper
_BRIGHT = 50.0  # L*: a page as bright as this can hold as much colour as any
_WIDE = 0.3  # share that can hold colour; a page with less is expected to show less
_HUE_STEP, _HUE_BAND = 5, 40  # degrees
_LEAST_CHROMA = 3.0  # with less chroma, hue is noise
_REDUCED = 0.9  # share of the limits: chroma reduced on a small sample must hold at full size
_SAMPLE = 256  # pixels of a side: enough to judge colour by
_REDUCE_STEPS = 8  # halvings
_WINDOW = 11  # pixels: side of the Gaussian window that similarity is measured in


class GateCode(StrEnum):
    """What is wrong with a page.

    INK: the ink is not the source's.
    TINT: text has colour.
    GAMUT: colours are clipped.
    DULL: there is hardly any colour.
    HUE: nearly all colour is of one hue; a page with little colour is judged more strictly.
    WILD: there is more colour than comics have.
    """

    INK = "ink"
    TINT = "tint"
    GAMUT = "gamut"
    DULL = "dull"
    HUE = "hue"
    WILD = "wild"


@dataclass(frozen=True)
class Thresholds:
    """What is still good; `Measures` says what each threshold is about.

    ssim: the least.
    lines: the least.
    tint: the most.
    clipped: the most.
    dull: the least colourfulness.
    drab: colourfulness below which `one_hue` applies, and from which `one_hue_alone` does.
    one_hue: the most of the colour in one band of hue, on a page below `drab`.
    one_hue_alone: the same on any other page.
    wild: the most colourfulness.
    room: pages where less than this share could hold colour are not judged by how much they have.

    `dull` and `drab` are lower for dark pages, and for those with little room (`Measures.reach`). Raises ValueError for
    limits that nothing can meet.
    """

    ssim: float = 0.995
    lines: float = 0.95
    tint: float = 8.0
    clipped: float = 0.1
    dull: float = 17.0
    drab: float = 36.0
    one_hue: float = 0.7
    one_hue_alone: float = 0.998
    wild: float = 130.0
    room: float = 0.05

    def __post_init__(self) -> None:
        for field in fields(self):
            highest = np.inf if field.name in ("tint", "dull", "drab", "wild") else 1.0
            value = getattr(self, field.name)
            if not 0 <= value <= highest:
                raise ValueError(f"{field.name} {value}: give a number from 0 to {highest:g}")
        if self.dull >= self.wild:
            raise ValueError(f"dull {self.dull}, wild {self.wild}: dull must be the lower one")


@dataclass(frozen=True)
class Measures:
    """What was measured on a page.

    ssim: mean structural similarity of L* with the source, at the size examined.
    lines: share of the source's line pixels that are at least half as deep on the page; 1 where there are none.
    tint: 95th percentile of the chroma on text; 0 without text.
    clipped: share of the page's pixels with a channel at 0 or 255, where the source is neither dark nor light.
    room: share of the page that could hold colour: neither black nor paper nor text.
    reach: in (0, 1], how much of the usual colour that part could show, being dark or small.
    colorfulness: of that part (Hasler and Suesstrunk); 0 where there is none.
    one_hue: share of its colour, weighted by chroma, in the fullest 40 degrees of hue.
    """

    ssim: float
    lines: float
    tint: float
    clipped: float
    room: float
    reach: float
    colorfulness: float
    one_hue: float


@dataclass(frozen=True)
class Fault:
    """A measure on the wrong side of its limit.

    code: what is wrong.
    value: what was measured.
    limit: the threshold, in the same unit.
    message: for people.
    """

    code: GateCode
    value: float
    limit: float
    message: str


@dataclass(frozen=True)
class Verdict:
    """What the gate says of a page.

    faults: empty for a page that passes.
    measures: what was measured.
    """

    faults: tuple[Fault, ...]
    measures: Measures

    @property
    def passed(self) -> bool:
        return not self.faults


@dataclass(frozen=True)
class _Color:
    """The colour measures of `Measures`."""

    clipped: float
    room: float
    reach: float
    colorfulness: float
    one_hue: float


def judge(gray: U8, colored: U8, text: Mask | None = None, thresholds: Thresholds | None = None) -> Verdict:
    """Decide whether a coloured page may be published.

    gray: (H, W) levels of the source.
    colored: (H, W, 3) sRGB as it would be encoded, not after a JPEG.
    text: (H, W) mask of what must be neutral; None for no text.
    thresholds: None for the defaults.

    Raises ValueError where the shapes differ, or there are no pixels.
    """
    if not gray.size or colored.shape != (*gray.shape, 3) or (text is not None and text.shape != gray.shape):
        found = [array.shape for array in (gray, colored, text) if array is not None]
        raise ValueError(f"a page, its colours and its words must be (H, W), (H, W, 3), (H, W), not {found}")
    times = max(2, min(gray.shape) // _ACROSS)
    size = (max(1, gray.shape[1] // times), max(1, gray.shape[0] // times))
    # The odd rows and columns at the end are left out: whole factors are ten times as fast.
    whole = np.s_[: size[1] * times, : size[0] * times]
    source = cv2.LUT(cv2.resize(gray[whole], size, interpolation=cv2.INTER_AREA), _steps_of_level())
    small = cv2.resize(colored[whole], size, interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2Lab)
    lettered = np.zeros(source.shape, dtype=bool)
    if text is not None:  # pixels wholly of text only: those at its rim hold some of what lies beyond
        lettered = cv2.resize(text[whole] * np.uint8(255), size, interpolation=cv2.INTER_AREA) == 255
    color = _color(source, small, lab, lettered, _clipped(_every_other(gray), _every_other(colored)))
    measures = Measures(
        ssim=_ssim(source, lab[..., 0]),
        lines=_lines_kept(source, lab[..., 0]),
        tint=_tint(lab, lettered),
        **vars(color),
    )
    return Verdict(_faults(measures, thresholds or Thresholds()), measures)


def reduce_chroma(
    gray: U8, chroma: ChromaRows, text: Mask | None = None, thresholds: Thresholds | None = None
) -> ChromaRows:
    """Reduce a page's chroma where it is WILD or leaves the GAMUT; return other chroma as it is.

    gray: (H, W) levels.
    chroma: of the page.
    text: (H, W) mask of what must be neutral; None for no text.
    thresholds: None for the defaults.

    All of it is scaled down by one factor, the largest at which the page stays well within these two limits.
    """
    limits = thresholds or Thresholds()
    scale = min(1.0, _SAMPLE / max(gray.shape))
    size = (max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale)))
    level = cv2.resize(gray, size, interpolation=cv2.INTER_NEAREST)  # a sample, since means are clipped less
    map_ = _sampled(chroma, gray.shape, level.shape)
    lettered = np.zeros(level.shape, dtype=bool)
    if text is not None:
        lettered = cv2.resize(text.view(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    if _bounded(level, map_, lettered, limits, 1.0):
        return chroma
    low, high = 0.0, 1.0
    for _ in range(_REDUCE_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if _bounded(level, map_ * middle, lettered, limits, _REDUCED) else (low, middle)
    return lambda rows: chroma(rows) * np.float32(low)


def _sampled(chroma: ChromaRows, shape: tuple[int, int], size: tuple[int, ...]) -> F32:
    """Return a sample (h, w, 2) ab of the chroma of a page.

    shape: (H, W).
    size: (h, w).
    """
    y, x = (((np.arange(few) + 0.5) * (many / few)).astype(np.int64) for few, many in zip(size, shape, strict=True))
    parts = []
    for rows in bands(shape):
        here = y[(y >= rows.start) & (y < rows.stop)] - rows.start
        parts.append(chroma(rows)[:, here[:, None], x])
    sample: F32 = np.concatenate(parts, axis=1).transpose(1, 2, 0)
    return np.ascontiguousarray(sample)


def _bounded(gray: U8, chroma: F32, text: Mask, limits: Thresholds, share: float) -> bool:
    """Return whether a page with this chroma stays within this share of the limits of WILD and GAMUT."""
    page = join_chroma(gray, chroma.astype(np.float32))
    lab = cv2.cvtColor(page, cv2.COLOR_RGB2Lab)
    color = _color(cv2.LUT(gray, _steps_of_level()), page, lab, text, _clipped(gray, page))
    wild = color.room >= limits.room and color.colorfulness > share * limits.wild
    return not wild and color.clipped <= share * limits.clipped


@cache
def _steps_of_level() -> U8:
    """Return (256,) L* of each gray level, in 255 steps.

    It is OpenCV's own, so that a gray page differs from its source nowhere.
    """
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    steps: U8 = cv2.cvtColor(ramp, cv2.COLOR_RGB2Lab)[0, :, 0]
    return steps


def _ssim(one: U8, other: U8) -> float:
    """Return the mean structural similarity of two maps of L* in 255 steps.

    Wang et al. 2004, with a Gaussian window of 11 pixels and sigma 1.5.
    """
    total = 0.0
    for rows in bands(one.shape):
        wide, inner = with_margin(rows, _WINDOW // 2, one.shape[0])
        total += cv2.sumElems(_similarity(one[wide], other[wide])[inner])[0]
    return total / one.size


def _similarity(one: U8, other: U8) -> F32:
    """Return the structural similarity around each pixel."""
    x, y = (cv2.max(plane, _BLACK).astype(np.float32) for plane in (one, other))
    mean_x, mean_y = _window(x), _window(y)
    together, both = 2 * _window(x * y), 2 * mean_x * mean_y
    spread, squares = _window(cv2.add(x * x, y * y)), cv2.add(mean_x * mean_x, mean_y * mean_y)
    c1, c2 = np.float32((0.01 * 255) ** 2), np.float32((0.03 * 255) ** 2)
    together -= both
    spread -= squares
    for plane, least in ((both, c1), (squares, c1), (together, c2), (spread, c2)):
        plane += least
    together *= both
    spread *= squares
    similarity: F32 = cv2.divide(together, spread)
    return similarity


def _window(plane: F32) -> F32:
    mean: F32 = cv2.GaussianBlur(plane, (_WINDOW, _WINDOW), 1.5, borderType=cv2.BORDER_REFLECT)
    return mean


def _lines_kept(source: U8, ours: U8) -> float:
    """Return the share of line pixels that are still there.

    Lines are the pixels that a closing fills deep enough (the black top-hat).
    """
    square = np.ones((_LINE_SIZE, _LINE_SIZE), np.uint8)
    depth = cv2.morphologyEx(source, cv2.MORPH_BLACKHAT, square)
    line = depth >= _LINE_DEPTH
    if not line.any():
        return 1.0
    kept = cv2.morphologyEx(ours, cv2.MORPH_BLACKHAT, square)[line]
    return float((kept >= depth[line] // 2).mean())


def _tint(lab: U8, text: Mask) -> float:
    if not text.any():
        return 0.0
    a, b = (lab[..., i][text].astype(np.float32) - 128 for i in (1, 2))
    return float(np.percentile(np.hypot(a, b), 95))


def _clipped(gray: U8, page: U8) -> float:
    low, high = _CLIPPED_BETWEEN
    inside = cv2.inRange(page, (1, 1, 1), (254, 254, 254))
    asked = cv2.inRange(gray, low, high)
    return cv2.countNonZero(cv2.subtract(asked, inside)) / gray.size


def _every_other(picture: U8) -> U8:
    """Return every other pixel of every other row.

    OpenCV does it five times as fast as a slice.
    """
    size = (-(-picture.shape[1] // 2), -(-picture.shape[0] // 2))
    return cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST)


def _color(source: U8, page: U8, lab: U8, text: Mask, clipped: float) -> _Color:
    """Measure the colour of a page; of a large page, every other pixel.

    source: (h, w) L* in 255 steps.
    page: (h, w, 3) sRGB.
    lab: (h, w, 3) CIELAB, in 8 bits.
    text: (h, w) mask.
    clipped: share of clipped pixels, which is passed on.
    """
    if min(source.shape) >= _SAMPLE:
        source, page, lab = _every_other(source), _every_other(page), _every_other(lab)
        text = _every_other(text.view(np.uint8)).view(np.bool_)
    dark, light = _COLORED_BETWEEN
    can = (source > dark) & (source < light) & ~text
    room = float(can.mean())
    if not room:
        return _Color(clipped, 0.0, 1.0, 0.0, 0.0)
    bright = float(source[can].mean()) / 2.55
    reach = min(1.0, bright / _BRIGHT) * min(1.0, room / _WIDE)
    return _Color(clipped, room, reach, colorfulness(page[can]), _one_hue(lab[can]))


def _one_hue(lab: U8) -> float:
    """Return the share of the chroma of (N, 3) pixels in the fullest band of hue; 0 where none has any."""
    a, b = (lab[:, i].astype(np.float32) - 128 for i in (1, 2))
    chroma, hue = (plane.ravel() for plane in cv2.cartToPolar(a, b, angleInDegrees=True))
    colored = chroma >= _LEAST_CHROMA
    if not colored.any():
        return 0.0
    bins = 360 // _HUE_STEP
    step = (hue[colored] / _HUE_STEP).astype(np.int64) % bins
    held = np.bincount(step, weights=chroma[colored], minlength=bins)
    width = _HUE_BAND // _HUE_STEP
    around = np.convolve(np.concatenate([held, held[: width - 1]]), np.ones(width), mode="valid")
    return float(around.max() / held.sum())


def _faults(found: Measures, limits: Thresholds) -> tuple[Fault, ...]:
    faults = []

    def ask(bad: bool, code: GateCode, value: float, limit: float, message: str) -> None:
        if bad:
            faults.append(Fault(code, value, limit, message))

    ssim, lines, tint, clipped = found.ssim, found.lines, found.tint, found.clipped
    ask(ssim < limits.ssim, GateCode.INK, ssim, limits.ssim, f"the ink is like the source's to {ssim:.3f} only")
    ask(lines < limits.lines, GateCode.INK, lines, limits.lines, f"{lines:.0%} of the source's lines are kept")
    ask(tint > limits.tint, GateCode.TINT, tint, limits.tint, f"words have colour: chroma {tint:.1f}")
    ask(
        clipped > limits.clipped, GateCode.GAMUT, clipped, limits.clipped, f"colours are clipped on {clipped:.1%} of it"
    )
    if found.room >= limits.room:
        much, hue = found.colorfulness, found.one_hue
        dull, drab = limits.dull * found.reach, limits.drab * found.reach
        most = limits.one_hue if much < drab else limits.one_hue_alone
        of = f"colourfulness {much:.1f} on the {found.room:.0%} of it that could hold colour"
        ask(much < dull, GateCode.DULL, much, dull, f"hardly any colour: {of}")
        ask(hue > most, GateCode.HUE, hue, most, f"{hue:.0%} of the colour is of one hue: {of}")
        ask(much > limits.wild, GateCode.WILD, much, limits.wild, f"more colour than comics have: {of}")
    return tuple(faults)
