"""How pages are coloured, beside the weights: the choices that change pixels, and the finish that they lead to."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import cv2
import numpy as np

from datasets.page import ImageFormat
from imaging.bubbles import find_words, neutral
from imaging.color import F32, U8, join_chroma
from imaging.gate import Code, Fault, Thresholds, judge, tame
from imaging.hints import Spot, without_told
from imaging.lines import settle_chroma
from imaging.luminance import Luminance, relight
from imaging.palette import Palette, Use, lock_and_tell
from imaging.pieces import Mask
from imaging.views import Strategy

GATE_OPTIONS = ("ssim", "lines", "tint", "clipped", "dull", "wild")  # the thresholds that are a job's options
Lines = Literal["sides", "off"]
Bubbles = Literal["neutral", "colour"]


@dataclass(frozen=True)
class Style:
    """lines: whether colours are kept to their side of the ink. bubbles: what becomes of words and their paper.

    thresholds: of the gate that every page passes before it is published. palette: the series' colours, which predicted
    ones are pulled back to. luminance: the page's own, or what the network says too.
    """

    image_format: ImageFormat = "jpeg"
    strategy: Strategy = "page"
    lines: Lines = "sides"
    bubbles: Bubbles = "neutral"
    thresholds: Thresholds = field(default_factory=Thresholds)
    palette: Palette | None = None
    luminance: Luminance = "keep"

    @classmethod
    def of(cls, config: Any) -> "Style":
        """From a job's options."""
        limits = {name: getattr(config, f"gate_{name}") for name in GATE_OPTIONS}
        choices = (config.format, config.strategy, config.lines, config.bubbles)
        return cls(*choices, Thresholds(**limits), luminance=config.luminance)

    def settings(self) -> dict[str, Any]:
        """As a job's record tells them."""
        limits = {f"gate_{name}": getattr(self.thresholds, name) for name in GATE_OPTIONS}
        named: dict[str, Any] = {"strategy": self.strategy, "lines": self.lines, "bubbles": self.bubbles}
        if self.palette is not None:
            told_by = [color.centre for color in self.palette.colors]  # `ab` may be edited: it is the same job
            named["palette"] = hashlib.sha256(json.dumps(told_by).encode()).hexdigest()[:16]
        if self.luminance != "keep":
            named["luminance"] = self.luminance
        return {"format": self.image_format, **named, **limits}


@dataclass(frozen=True)
class Finished:
    """A page (H, W, 3) as it is to be published. faults: what the gate still has against it; empty if it passes.
    colors: of the palette, those that it hangs on."""

    page: U8
    faults: tuple[Fault, ...] = ()
    colors: dict[int, Use] = field(default_factory=dict)


def finish_page(gray: U8, chroma: F32, style: Style, safer: F32 | None = None, spots: Sequence[Spot] = ()) -> Finished:
    """Lay a predicted chroma map under the page's own ink, and ask the gate.

    gray: (H, W). chroma: (h, w, 2) ab; (h, w, 3) with L last where the luminance is not the page's own. safer: what the
    network said of the page as a whole, (S, S, 2 or 3), where the strategy has shown it more than that. A page that the
    gate refuses is tried again: with `safer`, then with its chroma scaled down where there is too much of it. The first
    that passes is taken; else the last that was tried. Where the network's luminance is what spoils the ink, the page
    keeps its own, and the fault stays with it. spots: hints for the page: words and paper that one lies on are coloured
    too.
    """
    words = without_told(find_words(gray), spots)
    predictions = [prediction for prediction in (chroma, safer) if prediction is not None]
    made = _best(gray, predictions, words, style)
    spoilt = [fault for fault in made.faults if fault.code is Code.INK]
    if style.luminance == "keep" or not spoilt:
        return made
    told = replace(spoilt[0], message=f"{spoilt[0].message} in the network's luminance; the page has its own")
    kept = _best(gray, predictions, words, replace(style, luminance="keep"))
    return replace(kept, faults=(told, *kept.faults), colors=made.colors | kept.colors)


def _best(gray: U8, predictions: Sequence[F32], words: Mask, style: Style) -> Finished:
    """The first of the predictions that the gate passes; the last where it passes none."""
    tried: Finished | None = None
    used: dict[int, Use] = {}
    for prediction in predictions:
        chroma, light = np.ascontiguousarray(prediction[..., :2]), gray
        if style.luminance != "keep":
            untouched = words if style.bubbles == "neutral" else None
            light = relight(gray, np.ascontiguousarray(prediction[..., 2]), style.luminance, untouched)
        if style.palette is not None:
            small = cv2.resize(gray, chroma.shape[1::-1], interpolation=cv2.INTER_AREA)
            chroma, used_here = lock_and_tell(small, chroma, style.palette)
            used |= used_here  # one that was refused counts too: with another colour it might have passed
        laid = settle_chroma(gray, chroma) if style.lines == "sides" else chroma
        if style.bubbles == "neutral":
            laid = neutral(laid, words, overwrite=style.lines == "sides")
        tried = _judged(gray, light, laid, words, style)
        if tried.faults and {Code.WILD, Code.GAMUT} & {fault.code for fault in tried.faults}:
            tried = _judged(gray, light, tame(light, laid, words, style.thresholds), words, style)
        if not tried.faults:
            break
    assert tried is not None
    return replace(tried, colors=used)


def _judged(gray: U8, light: U8, chroma: F32, words: Mask, style: Style) -> Finished:
    page = join_chroma(light, chroma)
    neutral_words = words if style.bubbles == "neutral" else None
    return Finished(page, judge(gray, page, neutral_words, style.thresholds).faults)
