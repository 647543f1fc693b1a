"""The settings that, with the weights, decide a page's pixels."""

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import Any

from datasets.page import ImageFormat
from imaging.palette import Palette
from imaging.postprocess import PostprocessSettings
from imaging.views import Strategy

GATE_OPTIONS = ("ssim", "lines", "tint", "clipped", "dull", "wild")  # the thresholds that a job has options for


@dataclass(frozen=True)
class PageSettings:
    """The settings that, with the weights, decide a page's pixels.

    image_format: the format of coloured pages.
    strategy: what the network is shown of a page.
    postprocess: how the network's prediction becomes a page.
    """

    image_format: ImageFormat = "jpeg"
    strategy: Strategy = "page"
    postprocess: PostprocessSettings = field(default_factory=PostprocessSettings)

    @property
    def palette(self) -> Palette | None:
        return self.postprocess.palette

    def with_palette(self, palette: Palette | None) -> "PageSettings":
        """The same settings with this palette."""
        return replace(self, postprocess=replace(self.postprocess, palette=palette))

    def recorded(self) -> dict[str, Any]:
        """The settings as job.json records them."""
        choices = self.postprocess
        limits = {f"gate_{name}": getattr(choices.thresholds, name) for name in GATE_OPTIONS}
        named: dict[str, Any] = {"strategy": self.strategy, "lines": choices.lines, "bubbles": choices.text}
        if choices.palette is not None:
            centres = [color.centre for color in choices.palette.colors]  # not `ab`: after an edit the job is the same
            named["palette"] = hashlib.sha256(json.dumps(centres).encode()).hexdigest()[:16]
        if choices.luminance != "keep":
            named["luminance"] = choices.luminance
        return {"format": self.image_format, **named, **limits}
