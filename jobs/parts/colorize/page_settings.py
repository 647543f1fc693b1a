"""What decides a page's pixels, beside the weights."""

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import Any

from datasets.page import ImageFormat
from imaging.palette import Palette
from imaging.postprocess import PostprocessSettings
from imaging.views import Strategy

GATE_OPTIONS = ("ssim", "lines", "tint", "clipped", "dull", "wild")  # the thresholds that are a job's options


@dataclass(frozen=True)
class PageSettings:
    """What decides a page's pixels, beside the weights.

    image_format: of coloured pages. strategy: what the network is shown of a page. postprocess: what is made of its
    answer.
    """

    image_format: ImageFormat = "jpeg"
    strategy: Strategy = "page"
    postprocess: PostprocessSettings = field(default_factory=PostprocessSettings)

    @property
    def palette(self) -> Palette | None:
        return self.postprocess.palette

    def with_palette(self, palette: Palette | None) -> "PageSettings":
        return replace(self, postprocess=replace(self.postprocess, palette=palette))

    def recorded(self) -> dict[str, Any]:
        """As a job's record tells them."""
        choices = self.postprocess
        limits = {f"gate_{name}": getattr(choices.thresholds, name) for name in GATE_OPTIONS}
        named: dict[str, Any] = {"strategy": self.strategy, "lines": choices.lines, "bubbles": choices.text}
        if choices.palette is not None:
            centres = [color.centre for color in choices.palette.colors]  # `ab` may be edited: it is the same job
            named["palette"] = hashlib.sha256(json.dumps(centres).encode()).hexdigest()[:16]
        if choices.luminance != "keep":
            named["luminance"] = choices.luminance
        return {"format": self.image_format, **named, **limits}
