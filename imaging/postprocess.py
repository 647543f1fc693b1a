"""Postprocessing: a predicted chroma map is laid under the page's own ink, and the gate judges the page."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np

from imaging.bands import ChromaRows, resized_chroma
from imaging.color import F32, U8, join_chroma
from imaging.components import Mask
from imaging.gate import Fault, GateCode, Thresholds, judge, reduce_chroma
from imaging.hints import Hint, without_hinted
from imaging.lines import refined_rows
from imaging.luminance import Luminance, relight
from imaging.palette import Palette, Use, lock_and_tell
from imaging.text import find_text, neutral

Lines = Literal["sides", "off"]
TextColor = Literal["neutral", "colour"]


@dataclass(frozen=True)
class PostprocessSettings:
    """How predicted colours become a page.

    lines: "sides" keeps colours to their own side of the ink; "off" does not.
    text: "neutral" takes the colour off text and its paper; "colour" leaves it.
    thresholds: of the gate that every page passes before it is published.
    palette: the series' colours, which predicted ones are pulled back to; None for none.
    luminance: the page's own, or one that the network has a part in (imaging.luminance).
    """

    lines: Lines = "sides"
    text: TextColor = "neutral"
    thresholds: Thresholds = field(default_factory=Thresholds)
    palette: Palette | None = None
    luminance: Luminance = "keep"


@dataclass(frozen=True)
class Postprocessed:
    """A page as it is to be published.

    page: (H, W, 3) sRGB.
    text: (H, W) where text is that no hint lies on.
    faults: what the gate still has against it; empty if it passes.
    colors: usage of the palette's colours that the page depends on, by their number.
    """

    page: U8
    text: Mask
    faults: tuple[Fault, ...] = ()
    colors: dict[int, Use] = field(default_factory=dict)


def postprocess_page(
    gray: U8,
    chroma: F32,
    settings: PostprocessSettings,
    whole_page_chroma: F32 | None = None,
    hints: Sequence[Hint] = (),
) -> Postprocessed:
    """Lay a predicted chroma map under the page's own ink, and have the gate judge the page.

    gray: (H, W) levels of the page.
    chroma: (h, w, 2) ab; (h, w, 3) with L last where the luminance is not the page's own.
    settings: how colours become a page.
    whole_page_chroma: (S, S, 2 or 3), predicted from the page as a whole, where the network was shown more than that.
    hints: those of the page; text and paper that one lies on are coloured too.

    Where the gate finds too much chroma, the page is tried again with less. A page that it still refuses is tried with
    `whole_page_chroma` in the same way. The first page that passes is taken, else the last that was tried. Where the
    network's luminance spoils the ink, the page keeps its own luminance, and the fault stays with it.
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
    """Return the page of the first prediction that the gate passes; of the last where it passes none."""
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
            used |= used_here  # a refused try counts too: with another colour it might have passed
        refined = refined_rows(gray, chroma) if settings.lines == "sides" else resized_chroma(chroma, gray.shape)
        laid = neutral(refined, text) if settings.text == "neutral" else refined
        tried = _judged(gray, light, laid, text, settings)
        if tried.faults and {GateCode.WILD, GateCode.GAMUT} & {fault.code for fault in tried.faults}:
            tried = _judged(gray, light, reduce_chroma(light, laid, text, settings.thresholds), text, settings)
        if not tried.faults:
            break
    assert tried is not None
    return replace(tried, colors=used)


def _judged(gray: U8, light: U8, chroma: ChromaRows, text: Mask, settings: PostprocessSettings) -> Postprocessed:
    page = join_chroma(light, chroma)
    neutral_text = text if settings.text == "neutral" else None
    return Postprocessed(page, text, judge(gray, page, neutral_text, settings.thresholds).faults)
