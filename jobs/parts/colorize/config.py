"""The options of jobs/colorize.py."""

from dataclasses import dataclass
from typing import Literal

from datasets.errors import BadUsageError
from datasets.limits import Limits
from datasets.page import ImageFormat
from imaging.gate import Thresholds
from imaging.luminance import Luminance
from imaging.postprocess import Lines, PostprocessSettings, TextColor
from imaging.views import Strategy
from jobs.parts.colorize.page_settings import GATE_OPTIONS, PageSettings
from jobs.parts.model.backends.choice import BACKEND_HELP, BackendName
from jobs.parts.model.folder import BUNDLED
from jobs.parts.runtime.options import DEVICE_HELP, Device, check_actors, option, require
from jobs.parts.runtime.runner import RUNNER_HELP, RunnerName
from jobs.parts.source.policy import Policy

PagesShown = Literal["all", "flagged"]  # of which pages a job keeps previews


@dataclass(frozen=True, kw_only=True)
class ColorizeConfig:
    """Colour whole chapters: each archive in gives an archive out, with the same path and names. A rerun does only what
    is missing.
    """

    model: str = option("Model folder that train.py published (RUN/model); bundled: the model that comes with "
                        "mangahue.", group="Model", default=BUNDLED, metavar="URI")  # fmt: skip
    source: str = option("Chapters: a folder tree of ZIP, RAR, 7z, tar, PDF, EPUB and image folders, one of "
                         "these, or a picture.",
                         group="Source", metavar="URI")  # fmt: skip
    out: str = option("Folder of the coloured chapters; it belongs to one model and its settings.", group="Output",
                      metavar="URI")  # fmt: skip
    replace: bool = option("Take over an --out that other weights or settings made, chapter by chapter.",
                           group="Output", default=False)  # fmt: skip
    format: Literal[ImageFormat] = option(
        "Format of coloured pages: JPEG quality 92 4:4:4, PNG, or WebP quality 92.", group="Output", default="jpeg"
    )
    reference: str = option("Coloured pages of the series, a chapter or a folder of chapters: their colours are "
                            "followed.", group="Colour", default="", metavar="URI")  # fmt: skip
    adapt: int = option("Steps by which the network is fitted to the pages of --reference first, two at least, as far "
                        "as those of them that are held out gain by it; for models of the exemplar variant. 50 take "
                        "some minutes on two cores; fewer than 20 teach little.",
                        group="Colour", default=0)  # fmt: skip
    palette: str = option("Colours that predicted ones are pulled towards. off: none; auto: those of --reference, as "
                          "edited by hand in OUT/_mangahue/palette.json; URI: those of such a file.", group="Colour",
                          default="off", metavar="off|auto|URI")  # fmt: skip
    hints: str = option("Colour hints for pages: a CSV file of page,x,y,radius,colour, in pixels; for models of the "
                        "exemplar variant. Not given: those in OUT/_mangahue/hints.csv, if it is there.",
                        group="Colour", default="", metavar="URI")  # fmt: skip
    cast: str = option("Colours that have a name, which hints may give in the place of a colour: a CSV file of "
                       "name,colour. Not given: OUT/_mangahue/cast.csv, if it is there.",
                       group="Colour", default="", metavar="URI")  # fmt: skip
    strategy: Literal[Strategy] = option(
        "What the network is shown of a page. page: all of it; tiles, panels: these too; auto: strips and spreads in "
        "parts; squares: parts without overlap, as a warning.", group="Colour", default="page")  # fmt: skip
    lines: Literal[Lines] = option("sides: colours are kept to their side of the ink.", group="Colour", default="sides")
    bubbles: Literal[TextColor] = option("Text and what it stands on: left neutral, or coloured like all else.",
                                       group="Colour", default="neutral")  # fmt: skip
    luminance: Literal[Luminance] = option(
        "Luminance of a page. keep: its own; blend: with the shading of a network whose target is rgb; predict: that "
        "network's, its ink too.", group="Colour", default="keep")  # fmt: skip
    gate_ssim: float = option("Least similarity (SSIM) of a page's luminance to its source's.", group="Gate",
                              default=Thresholds.ssim)  # fmt: skip
    gate_lines: float = option("Least share of the source's lines that must be kept.", group="Gate",
                               default=Thresholds.lines)  # fmt: skip
    gate_tint: float = option("Most chroma on text (95th percentile, CIELAB).", group="Gate", default=Thresholds.tint)
    gate_clipped: float = option("Largest share of a page that may be out of gamut.", group="Gate",
                                 default=Thresholds.clipped)  # fmt: skip
    gate_dull: float = option("Least colourfulness of what can hold colour.", group="Gate", default=Thresholds.dull)
    gate_wild: float = option("Most colourfulness of what can hold colour.", group="Gate", default=Thresholds.wild)
    strict: bool = option("Quarantine a chapter with a page that can't be read, instead of publishing it as partial.",
                          group="Bad input", default=False)  # fmt: skip
    salvage: bool = option("Publish what is there of a ZIP archive whose end is missing, as partial.",
                           group="Bad input", default=False)  # fmt: skip
    max_unpacked_mb: int = option("Most that a chapter may unpack to, MB.", group="Limits",
                                  default=Limits.unpacked_bytes // 2**20)  # fmt: skip
    max_member_mb: int = option("Most that one file of a chapter may unpack to, MB.", group="Limits",
                                default=Limits.member_bytes // 2**20)  # fmt: skip
    max_ratio: int = option("Most that a chapter may unpack to, in times its own size.", group="Limits",
                            default=Limits.ratio)  # fmt: skip
    max_members: int = option("Most files, or pages, in a chapter.", group="Limits", default=Limits.members)
    max_pixels: int = option("Most pixels of a page.", group="Limits", default=Limits.pixels)
    page_seconds: float = option("Longest that a stage may work on a page, seconds; opening a chapter may take ten "
                                 "times that.", group="Limits", default=Limits.seconds)  # fmt: skip
    keep_format: bool = option("A PDF becomes a PDF and an EPUB an EPUB, their other contents kept, instead of a CBZ.",
                               group="Output", default=False)  # fmt: skip
    previews: Literal[PagesShown] = option("Small pictures of pages, kept beside the manifests. all: of every page; "
                                           "flagged: of those that the report shows.", group="Output",
                                           default="all")  # fmt: skip
    runner: Literal[RunnerName] = option(RUNNER_HELP, group="Cluster", default="auto")
    batch_size: int = option("Pages the network sees at once.", group="Cluster", default=8)
    num_actors: str = option("Workers that hold the network; auto: one per GPU, those that join later included, or one "
                             "per 4 CPUs.", group="Cluster", default="auto", metavar="N|auto")  # fmt: skip
    gpus_per_actor: float = option("GPUs for each worker on Ray; below 1 several workers share one.", group="Cluster",
                                   default=1.0)  # fmt: skip
    device: Literal[Device] = option(DEVICE_HELP, group="Cluster", default="auto")
    backend: Literal["auto", BackendName] = option(BACKEND_HELP, group="Cluster", default="auto")

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "batch_size", self.batch_size, "it must be at least 1 page")
        require(0 <= self.adapt <= 10_000, "adapt", self.adapt, "give 0 to 10,000 steps")
        if self.adapt and not self.reference:
            raise BadUsageError(f"--adapt {self.adapt}: there is nothing to adapt to; give --reference too")
        for name in ("max_unpacked_mb", "max_member_mb", "max_ratio", "max_members", "max_pixels"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "it must be at least 1")
        require(0.1 <= self.page_seconds <= 86400, "page_seconds", self.page_seconds, "give 0.1 s to a day")
        try:
            _ = self.pages
        except ValueError as error:
            raise BadUsageError(f"--gate-{error}") from error
        check_actors(self.num_actors, self.runner)
        fits = 0 < self.gpus_per_actor < 1 or self.gpus_per_actor in range(1, 65)
        require(fits, "gpus_per_actor", self.gpus_per_actor, "give a part of a GPU below 1, or whole GPUs")

    @property
    def policy(self) -> Policy:
        """The limits of a chapter, and what is done with bad input."""
        limits = Limits(
            unpacked_bytes=self.max_unpacked_mb * 2**20,
            member_bytes=self.max_member_mb * 2**20,
            ratio=self.max_ratio,
            members=self.max_members,
            pixels=self.max_pixels,
            seconds=self.page_seconds,
        )
        memory = f"{self.device}, {self.gpus_per_actor:g} GPUs, batch {self.batch_size}"
        return Policy(limits, self.strict, self.salvage, self.keep_format, memory)

    @property
    def pages(self) -> PageSettings:
        """What decides a page's pixels, without the palette. Raises ValueError naming a bad threshold of the gate."""
        thresholds = Thresholds(**{name: getattr(self, f"gate_{name}") for name in GATE_OPTIONS})
        postprocess = PostprocessSettings(self.lines, self.bubbles, thresholds, luminance=self.luminance)
        return PageSettings(self.format, self.strategy, postprocess)
