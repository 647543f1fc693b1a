"""The last step of a page's way: a predicted chroma map is laid under the page's own ink, and the gate is asked."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np

from imaging.color import F32, U8, join_chroma
from imaging.components import Mask
from imaging.gate import Fault, GateCode, Thresholds, judge, reduce_chroma
from imaging.hints import Hint, without_hinted
from imaging.lines import refine_chroma
from imaging.luminance import Luminance, relight
from imaging.palette import Palette, Use, lock_and_tell
from imaging.text import find_text, neutral

Lines = Literal["sides", "off"]
TextColor = Literal["neutral", "colour"]


@dataclass(frozen=True)
class PostprocessSettings:
    """How predicted colours become a page.

    lines: whether colours are kept to their side of the ink.
    text: what becomes of words and their paper.
    thresholds: of the gate that every page passes before it is published.
    palette: the series' colours, which predicted ones are pulled back to.
    luminance: the page's own, or what the network says too.
    """

    lines: Lines = "sides"
    text: TextColor = "neutral"
    thresholds: Thresholds = field(default_factory=Thresholds)
    palette: Palette | None = None
    luminance: Luminance = "keep"


@dataclass(frozen=True)
class Postprocessed:
    """A page (H, W, 3) as it is to be published. faults: what the gate still has against it; empty if it passes.
    colors: of the palette, those that it hangs on."""

    page: U8
    faults: tuple[Fault, ...] = ()
    colors: dict[int, Use] = field(default_factory=dict)


def postprocess_page(
    gray: U8,
    chroma: F32,
    settings: PostprocessSettings,
    whole_page_chroma: F32 | None = None,
    hints: Sequence[Hint] = (),
) -> Postprocessed:
    """Lay a predicted chroma map under the page's own ink, and ask the gate.

    gray: (H, W).
    chroma: (h, w, 2) ab; (h, w, 3) with L last where the luminance is not the page's own.
    whole_page_chroma: what the network said of the page as a whole, (S, S, 2 or 3), where it was shown more than that.
    hints: those of the page; text and paper that one lies on are coloured too.

    A page that the gate refuses is tried again: with `whole_page_chroma`, then with less chroma where there is too much
    of it. The first that passes is taken, else the last that was tried. Where the network's luminance spoils the ink,
    the page keeps its own, and the fault stays with it.
    """
    text = without_hinted(find_text(gray), hints)
    predictions = [prediction for prediction in (chroma, whole_page_chroma) if prediction is not None]
    made = _best(gray, predictions, text, settings)
    spoilt = [fault for fault in made.faults if fault.code is GateCode.INK]
    if settings.luminance == "keep" or not spoilt:
        return made
    fault = replace(spoilt[0], message=f"{spoilt[0].message} in the network's luminance; the page has its own")
    kept = _best(gray, predictions, text, replace(settings, luminance="keep"))
    return replace(kept, faults=(fault, *kept.faults), colors=made.colors | kept.colors)


def _best(gray: U8, predictions: Sequence[F32], text: Mask, settings: PostprocessSettings) -> Postprocessed:
    """The first of the predictions that the gate passes; the last where it passes none."""
    tried: Postprocessed | None = None
    used: dict[int, Use] = {}
    for prediction in predictions:
        chroma, light = np.ascontiguousarray(prediction[..., :2]), gray
        if settings.luminance != "keep":
            untouched = text if settings.text == "neutral" else None
            light = relight(gray, np.ascontiguousarray(prediction[..., 2]), settings.luminance, untouched)
        if settings.palette is not None:
            small = cv2.resize(gray, chroma.shape[1::-1], interpolation=cv2.INTER_AREA)
            chroma, used_here = lock_and_tell(small, chroma, settings.palette)
            used |= used_here  # one that was refused counts too: with another colour it might have passed
        laid = refine_chroma(gray, chroma) if settings.lines == "sides" else chroma
        if settings.text == "neutral":
            laid = neutral(laid, text, overwrite=settings.lines == "sides")
        tried = _judged(gray, light, laid, text, settings)
        if tried.faults and {GateCode.WILD, GateCode.GAMUT} & {fault.code for fault in tried.faults}:
            tried = _judged(gray, light, reduce_chroma(light, laid, text, settings.thresholds), text, settings)
        if not tried.faults:
            break
    assert tried is not None
    return replace(tried, colors=used)


def _judged(gray: U8, light: U8, chroma: F32, text: Mask, settings: PostprocessSettings) -> Postprocessed:
    page = join_chroma(light, chroma)
    neutral_text = text if settings.text == "neutral" else None
    return Postprocessed(page, judge(gray, page, neutral_text, settings.thresholds).faults)
