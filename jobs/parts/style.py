"""How pages are coloured, beside the weights: the choices that change pixels, and the finish that they lead to."""

from dataclasses import dataclass
from typing import Any, Literal

from datasets.page import ImageFormat
from imaging.bubbles import find_words, neutral
from imaging.color import F32, U8, join_chroma
from imaging.lines import settle_chroma
from imaging.views import Strategy

Lines = Literal["sides", "off"]
Bubbles = Literal["neutral", "colour"]


@dataclass(frozen=True)
class Style:
    """lines: whether colours are kept to their side of the ink. bubbles: what becomes of words and their paper."""

    image_format: ImageFormat = "jpeg"
    strategy: Strategy = "page"
    lines: Lines = "sides"
    bubbles: Bubbles = "neutral"

    @classmethod
    def of(cls, config: Any) -> "Style":
        """From a job's options."""
        return cls(config.format, config.strategy, config.lines, config.bubbles)

    def settings(self) -> dict[str, str]:
        """As a job's record tells them."""
        return {"format": self.image_format, "strategy": self.strategy, "lines": self.lines, "bubbles": self.bubbles}


def finish_page(gray: U8, chroma: F32, style: Style) -> U8:
    """Lay a predicted chroma map under the page's own ink. gray: (H, W); chroma: (h, w, 2) ab. Returns (H, W, 3)."""
    if style.lines == "sides":
        chroma = settle_chroma(gray, chroma)
    if style.bubbles == "neutral":
        chroma = neutral(chroma, find_words(gray))
    return join_chroma(gray, chroma)
