"""How pages are coloured, beside the weights: the choices that change pixels, and the finish that they lead to."""

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import cv2

from datasets.page import ImageFormat
from imaging.bubbles import find_words, neutral
from imaging.color import F32, U8, join_chroma
from imaging.gate import Code, Fault, Mask, Thresholds, judge, tame
from imaging.lines import settle_chroma
from imaging.palette import Palette, Use, lock_and_tell
from imaging.views import Strategy

GATE_OPTIONS = ("ssim", "lines", "tint", "clipped", "dull", "wild")  # the thresholds that are a job's options
Lines = Literal["sides", "off"]
Bubbles = Literal["neutral", "colour"]


@dataclass(frozen=True)
class Style:
    """lines: whether colours are kept to their side of the ink. bubbles: what becomes of words and their paper.

    thresholds: of the gate that every page passes before it is published. palette: the series' colours, which predicted
    ones are pulled back to.
    """

    image_format: ImageFormat = "jpeg"
    strategy: Strategy = "page"
    lines: Lines = "sides"
    bubbles: Bubbles = "neutral"
    thresholds: Thresholds = field(default_factory=Thresholds)
    palette: Palette | None = None

    @classmethod
    def of(cls, config: Any) -> "Style":
        """From a job's options."""
        limits = {name: getattr(config, f"gate_{name}") for name in GATE_OPTIONS}
        return cls(config.format, config.strategy, config.lines, config.bubbles, Thresholds(**limits))

    def settings(self) -> dict[str, Any]:
        """As a job's record tells them."""
        limits = {f"gate_{name}": getattr(self.thresholds, name) for name in GATE_OPTIONS}
        named: dict[str, Any] = {"strategy": self.strategy, "lines": self.lines, "bubbles": self.bubbles}
        if self.palette is not None:
            told_by = [color.centre for color in self.palette.colors]  # `ab` may be edited: it is the same job
            named["palette"] = hashlib.sha256(json.dumps(told_by).encode()).hexdigest()[:16]
        return {"format": self.image_format, **named, **limits}


@dataclass(frozen=True)
class Finished:
    """A page (H, W, 3) as it is to be published. faults: what the gate still has against it; empty if it passes.
    colors: of the palette, those that it hangs on."""

    page: U8
    faults: tuple[Fault, ...] = ()
    colors: dict[int, Use] = field(default_factory=dict)


def finish_page(gray: U8, chroma: F32, style: Style, safer: F32 | None = None) -> Finished:
    """Lay a predicted chroma map under the page's own ink, and ask the gate.

    gray: (H, W). chroma: (h, w, 2) ab. safer: what the network said of the page as a whole, (S, S, 2), where the
    strategy has shown it more than that. A page that the gate refuses is tried again: with `safer`, then with its
    chroma scaled down where there is too much of it. The first that passes is taken; else the last that was tried.
    """
    words = find_words(gray)
    tried: Finished | None = None
    used: dict[int, Use] = {}
    for prediction in (chroma, safer):
        if prediction is None:
            continue
        if style.palette is not None:
            size = prediction.shape[1::-1]
            small = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
            prediction, used_here = lock_and_tell(small, prediction, style.palette)
            used |= used_here  # one that was refused counts too: with another colour it might have passed
        laid = settle_chroma(gray, prediction) if style.lines == "sides" else prediction
        if style.bubbles == "neutral":
            laid = neutral(laid, words)
        tried = _judged(gray, laid, words, style)
        if tried.faults and {Code.WILD, Code.GAMUT} & {fault.code for fault in tried.faults}:
            tried = _judged(gray, tame(gray, laid, words, style.thresholds), words, style)
        if not tried.faults:
            break
    assert tried is not None
    return replace(tried, colors=used)


def _judged(gray: U8, chroma: F32, words: Mask, style: Style) -> Finished:
    page = join_chroma(gray, chroma)
    neutral_words = words if style.bubbles == "neutral" else None
    return Finished(page, judge(gray, page, neutral_words, style.thresholds).faults)
